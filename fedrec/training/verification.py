"""Verification: does a second run of a cell give the same record, bit for bit?"""

import json
import random
from collections.abc import Sequence
from typing import Any

from fedrec.plan.cells import cell_path
from fedrec.records import Record


def some_of(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Choose `count` records at random, or all if there are fewer, in the order of their cells."""
    ordered = sorted(records, key=lambda record: cell_path(record.cell))
    chosen = random.Random(seed).sample(range(len(ordered)), min(count, len(ordered)))
    return [ordered[i] for i in sorted(chosen)]


def first_difference(kept: Record, again: Record) -> str | None:
    """Describe the first difference between two records of a cell: round and measure, or field.

    Versions, machine and cost may differ. Return None if everything else is equal.
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
    """Return the first round and measure in which two trajectories differ, and both values."""
    here, there = (_measures(_readable(record)["trajectory"]) for record in (one, other))
    parted = [key for key in sorted({**here, **there}) if here.get(key) != there.get(key)]
    if not parted:
        return None
    values = (found.get(parted[0], "nothing") for found in (here, there))
    return (*parted[0], *values)


def _readable(record: Record) -> dict[str, Any]:
    """Convert a record to JSON values, in which NaN is a string and equals itself."""
    values: dict[str, Any] = json.loads(json.dumps(record.science()), parse_constant=str)
    return values


def _measures(track: dict[str, Any]) -> dict[tuple[int, str], Any]:
    """Return every number of a trajectory, by round and name."""
    groups = {name: track[name] for name in ("validation", "test", "attack", "defense")}
    columns = {f"{group}.{name}": x for group, own in groups.items() for name, x in own.items()}
    columns["loss"] = track["loss"]
    return {
        (number, name): value
        for name, column in columns.items()
        for number, value in zip(track["round"], column, strict=True)
    }
