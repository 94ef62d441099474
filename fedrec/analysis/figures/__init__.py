"""One file a figure. Each is a function of records; nothing is simulated here."""
