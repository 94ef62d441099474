"""Untargeted poisoning of federated recommenders, and defences: ClusterAttack and UNION."""

from importlib.metadata import version

__version__ = version("fedrec")
