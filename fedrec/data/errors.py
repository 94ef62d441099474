"""The error of this package."""


class DataError(Exception):
    """Data that cannot be used: the message names the file or the numbers, and the remedy."""
