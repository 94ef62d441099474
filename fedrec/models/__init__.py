"""Recommenders: one file a model, found by its file name."""
