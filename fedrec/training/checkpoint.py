"""Checkpoints: what a run is between two rounds, on disk, so that it can go on to the bit.

A file is a line with the format's version and the sha256 of all after it, then an `.npz` archive.
No byte of the archive is looked at before the sum holds, and nothing in it can be code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.data.npz import DAMAGE
from fedrec.files import replaced

MAGIC, FORMAT = b"fedrec-checkpoint", b"2"  # of the file, and of what a snapshot holds
NOTES = "notes"  # the array that holds JSON

Identity = Mapping[str, Any]  # what a checkpoint is of, and what made it


class CheckpointError(Exception):
    """A file is no checkpoint that this run may go on from; the message says why."""


@dataclass(frozen=True)
class Snapshot:
    """All that changes from round to round.

    A random stream has no position of its own: each draw depends on (seed, purpose, round, client)
    alone (`fedrec.rng`), so the number of the round is the position of every stream.
    """

    arrays: Mapping[str, np.ndarray]
    values: Mapping[str, Any]  # whatever JSON can hold


def save(path: Path, snapshot: Snapshot, identity: Identity) -> None:
    """Write a checkpoint, whole or not at all."""
    notes = json.dumps({"identity": identity, "values": snapshot.values}).encode()
    archive = BytesIO()
    arrays = {**snapshot.arrays, NOTES: np.frombuffer(notes, np.uint8)}
    np.savez(archive, allow_pickle=False, **arrays)
    with replaced(path) as file:
        file.write(_first_line(archive.getbuffer()) + b"\n")
        file.write(archive.getbuffer())


def load(path: Path, identity: Identity) -> Snapshot:
    """Read a checkpoint of the same cell, data, versions and device.

    Raises:
        CheckpointError: it is damaged, of another format, or of something else.
    """
    first_line, _, archive = path.read_bytes().partition(b"\n")
    if first_line != _first_line(archive):
        raise CheckpointError(_mismatch(first_line))
    try:
        with np.load(BytesIO(archive), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        notes = json.loads(arrays.pop(NOTES).tobytes())
        made_of, values = notes["identity"], notes["values"]
    except DAMAGE as error:
        raise CheckpointError(f"it holds something else ({error})") from None
    other = [key for key in identity if made_of.get(key) != identity[key]]
    if other:
        there, here = made_of.get(other[0]), identity[other[0]]
        raise CheckpointError(f"its {other[0]} is {there}, and this run's is {here}")
    return Snapshot(arrays, values)


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used, for somebody to look at; returns its new name."""
    names = (path.with_name(f"{path.name}.corrupt-{n}") for n in count(1))
    free = next(name for name in names if not name.exists())
    return path.rename(free)


def _first_line(archive: bytes | memoryview) -> bytes:
    return b"%s %s %s" % (MAGIC, FORMAT, hashlib.sha256(archive).hexdigest().encode())


def _mismatch(first_line: bytes) -> str:
    words = first_line.split(b" ")
    if words[0] == MAGIC and words[1:2] != [FORMAT]:
        return "it is of another format, which another version of fedrec wrote"
    return "it is damaged: its checksum does not hold"
