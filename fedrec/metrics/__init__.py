"""Measurements of a run: ranking metrics, detection of malicious uploads, single uploads."""
