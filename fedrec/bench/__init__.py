"""Benchmarks: the time of a round and of its parts, the machine's limits, and peak memory."""
