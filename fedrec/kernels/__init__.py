"""Loops compiled for the CPU, each beside plain code with the same result."""
