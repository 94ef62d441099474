"""Defences: one file a method, found by its file name."""
