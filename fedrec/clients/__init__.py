"""Devices of the federation: which pairs they train on, by which optimiser, and what else they do."""
