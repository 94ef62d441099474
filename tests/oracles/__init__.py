"""Slow, obvious reference versions of what the package does fast."""
