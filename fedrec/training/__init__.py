"""A run from its settings to its record: simulation, checkpoints, resuming."""
