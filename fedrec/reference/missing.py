"""The error for methods that have no plain version."""


class NoPlainVersion(Exception):
    """A cell has a method that the plain federation cannot play."""


def no_plain(method: object, what: str = "") -> NoPlainVersion:
    """Return the error for a method; `what` says which of its settings or abilities is meant."""
    name = " ".join([type(method).__name__, *what.split()])
    return NoPlainVersion(
        f"there is no plain version of {name}: leave out --reference, or register one in "
        "fedrec/reference"
    )
