"""Loops compiled for the CPU, each beside its plain twin: callers ask for a result."""
