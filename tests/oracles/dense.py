"""Updates as the dense (n, items, d) stack that the package never builds."""

from fedrec.testing.uploads import dense_items, random_updates

__all__ = ["dense_items", "random_updates"]
