"""Checkpoints: the state of a run between two rounds, from which it resumes bit for bit.

A checkpoint file has one line with the format's version and the sha256 of the rest, followed by an
`.npz` archive. The archive is read only after the checksum has matched, and it cannot contain code.
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

MAGIC, FORMAT = b"fedrec-checkpoint", b"2"  # FORMAT covers the file and a snapshot's contents
NOTES = "notes"  # the array that holds JSON

Identity = Mapping[str, Any]  # the cell and data of a checkpoint, and the versions that made it


class CheckpointError(Exception):
    """A file is not a checkpoint from which this run can resume; the message says why."""


@dataclass(frozen=True)
class Snapshot:
    """All state that changes from round to round.

    Random streams need no saved position: each draw depends only on (seed, purpose, round, client)
    (`fedrec.rng`), so the round number is the position of every stream.
    """

    arrays: Mapping[str, np.ndarray]
    values: Mapping[str, Any]  # any values that JSON can hold


def save(path: Path, snapshot: Snapshot, identity: Identity) -> None:
    """Write a checkpoint atomically."""
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
        CheckpointError: the file is damaged, has another format, or belongs to another run.
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
        raise CheckpointError(f"its contents cannot be read ({error})") from None
    other = [key for key in identity if made_of.get(key) != identity[key]]
    if other:
        there, here = made_of.get(other[0]), identity[other[0]]
        raise CheckpointError(f"its {other[0]} is {there}, and this run's is {here}")
    return Snapshot(arrays, values)


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used, so that it can be inspected; return its new path."""
    names = (path.with_name(f"{path.name}.corrupt-{n}") for n in count(1))
    free = next(name for name in names if not name.exists())
    return path.rename(free)


def _first_line(archive: bytes | memoryview) -> bytes:
    return b"%s %s %s" % (MAGIC, FORMAT, hashlib.sha256(archive).hexdigest().encode())


def _mismatch(first_line: bytes) -> str:
    words = first_line.split(b" ")
    if words[0] == MAGIC and words[1:2] != [FORMAT]:
        return "it has another format, written by another version of fedrec"
    return "it is damaged: checksum mismatch"
