"""Datasets: from raw files to leave-one-out splits."""
