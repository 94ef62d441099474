"""A run from its settings to its record: simulated, kept, and gone on with."""
