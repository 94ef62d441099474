"""Figures, one per file. Each is a function of records; nothing is simulated here."""
