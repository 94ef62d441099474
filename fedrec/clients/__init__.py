"""What a client does: its training pairs, its own optimiser, its local computation."""
