"""Lines to be read in a terminal."""

from collections.abc import Iterator, Sequence


def columns(
    rows: Sequence[Sequence[str]], right: Sequence[int] = (), indent: str = ""
) -> Iterator[str]:
    """Yield the rows with aligned columns; the columns in `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text.rjust(width) if i in right else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield indent + "  ".join(cells).rstrip()


def short(text: str, width: int = 88) -> str:
    """Return the first line of a text, cut to `width` characters."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= width else f"{first[: width - 1].rstrip()}…"
