"""Progress in bytes: a bar on a terminal, or a line every ten seconds in a log."""

import sys
from typing import NoReturn

from tqdm import tqdm


def byte_bar(
    name: str, start: int = 0, total: int | None = None, delay: float = 0
) -> "tqdm[NoReturn]":
    """Make a progress bar that counts up from `start`; `total` is None if the end is unknown.

    Nothing is shown for work that takes less than `delay` seconds.
    """
    watched = sys.stderr.isatty()
    return tqdm(
        desc=name,
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        mininterval=0.1 if watched else 10,
        delay=delay,
        bar_format=None if watched else "{desc}: {n_fmt} of {total_fmt} B\n",
    )
