"""Is a record the same to the bit when its cell is run again?"""

import json
import random
from collections.abc import Sequence
from typing import Any

from fedrec.plan.cells import cell_path
from fedrec.records import Record


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
    parted = first_parting(kept, again)
    if parted:
        number, name, here, there = parted
        return f"in round {number}, {name}: {here} kept, {there} now"
    return f"in {', '.join(name for name in mine if mine[name] != other[name])}"


def first_parting(one: Record, other: Record) -> tuple[int, str, Any, Any] | None:
    """The first round and measure in which two trajectories differ, and both values."""
    here, there = (_measures(_readable(record)["trajectory"]) for record in (one, other))
    parted = [key for key in sorted({**here, **there}) if here.get(key) != there.get(key)]
    if not parted:
        return None
    values = (found.get(parted[0], "nothing") for found in (here, there))
    return (*parted[0], *values)


def _readable(record: Record) -> dict[str, Any]:
    """As a file holds it, where a number that is none equals itself."""
    values: dict[str, Any] = json.loads(json.dumps(record.science()), parse_constant=str)
    return values


def _measures(track: dict[str, Any]) -> dict[tuple[int, str], Any]:
    """Every number of a trajectory, by its round and its name."""
    groups = {name: track[name] for name in ("validation", "test", "attack", "defense")}
    columns = {f"{group}.{name}": x for group, own in groups.items() for name, x in own.items()}
    columns["loss"] = track["loss"]
    return {
        (number, name): value
        for name, column in columns.items()
        for number, value in zip(track["round"], column, strict=True)
    }
