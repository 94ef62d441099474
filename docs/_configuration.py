"""The reference of the configuration, from its types."""


def pages() -> dict[str, str]:
    """Nothing yet."""
    return {}
