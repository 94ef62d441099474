"""Defences: one file per method, found by its file name."""
