"""Readers of raw files: one file a format, and what they share."""
