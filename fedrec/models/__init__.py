"""Recommenders: one file per model, found by its file name."""
