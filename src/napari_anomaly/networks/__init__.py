"""The networks: 2D on slices, 3D on the volume, their joint embedding, the memory of the proxy method."""
