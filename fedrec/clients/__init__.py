"""Clients: training pairs, optimisers of local parameters, and local computation."""
