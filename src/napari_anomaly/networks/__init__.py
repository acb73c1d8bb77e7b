"""Find what is unusual in a 3D scan."""
