"""A number or two for each method."""


def of(group: str, kind: str, cls: type) -> str:
    """Nothing yet."""
    return ""
