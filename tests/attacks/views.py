"""Small attacker views for the tests of attacks."""

from fedrec.testing.federation import attacker_view

__all__ = ["attacker_view"]
