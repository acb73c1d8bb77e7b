"""How good a detector is: figures, the protocol that makes them, and the report."""
