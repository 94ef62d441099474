"""Text for a terminal: columns, durations, sizes."""

from collections.abc import Iterator, Sequence

UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


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


def duration(seconds: float) -> str:
    """Format seconds in the largest unit that fits, such as `2.5 h`."""
    unit, length = next((u for u in UNITS if seconds >= 2 * u[1]), UNITS[-1])
    value = seconds / length
    return f"{value:.0f} {unit}" if value >= 10 or unit == "s" else f"{value:.1f} {unit}"


def size(count: float) -> str:
    """Format a number of bytes in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def short(text: str, width: int = 88) -> str:
    """Return the first line of a text, cut to `width` characters."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= width else f"{first[: width - 1].rstrip()}…"
