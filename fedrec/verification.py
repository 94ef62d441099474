"""Is a record the same to the bit when its cell is run again?"""

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from fedrec.records import Record, cell_path


def some_of(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """`count` records at random, all if there are fewer, in the order of their cells."""
    ordered = sorted(records, key=lambda record: cell_path(record.cell))
    chosen = random.Random(seed).sample(range(len(ordered)), min(count, len(ordered)))
    return [ordered[i] for i in sorted(chosen)]


def first_difference(kept: Record, again: Record) -> str | None:
    """Where a record and that of a second run part first: round and measure, or another field.

    None if all is the same that must be, which versions, machine and cost are not part of.
    """
    mine, other = (_readable(record) for record in (kept, again))
    if mine == other:
        return None
    tracks = mine.pop("trajectory"), other.pop("trajectory")
    parted = [
        (number, f"in round {number}, {name}: {here} kept, {there} now")
        for (name, here, number), (_, there, _) in zip(*map(_measures, tracks), strict=False)
        if here != there
    ]
    if parted:
        return min(parted)[1]
    names = [name for name in mine if mine[name] != other[name]] or ["its evaluations"]
    return f"in {', '.join(names)}"


def _readable(record: Record) -> dict[str, Any]:
    """As a file holds it, where a number that is none equals itself."""
    values: dict[str, Any] = json.loads(json.dumps(record.science(), sort_keys=True), **_NANS)
    return values


_NANS: dict[str, Any] = {"parse_constant": str}


def _measures(track: dict[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """Every number of a trajectory: its name, its value and its round."""
    for group in ("validation", "test", "attack", "defense"):
        for name, column in sorted(track[group].items()):
            yield from (
                (f"{group}.{name}", x, n) for x, n in zip(column, track["round"], strict=True)
            )
    yield from (("loss", x, n) for x, n in zip(track["loss"], track["round"], strict=True))
