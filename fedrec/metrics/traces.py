"""Traces: the labelled uploads of chosen rounds, for research on detectors."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from torch import Tensor

from fedrec.data.npz import load_arrays, save_arrays
from fedrec.errors import ConfigError
from fedrec.metrics.uploads import LabelledUploads

SCHEMA = 1  # of the file; it must change when an array changes its meaning
MB = 1_000_000
FIELDS = (
    *("round", "user", "malicious", "kept", "weight", "ridge", "dense", "scores"),
    *("offsets", "item", "value", "rounds", "tables"),
)


@dataclass(frozen=True, eq=False)
class UploadTrace:
    """The uploads of some rounds of one run, with the labels that no defence sees.

    Uploads are in the order in which the server received them, round after round. The item rows of
    upload u are those from `offsets[u]` to `offsets[u + 1]`. Its whole item gradient is the sum of
    its rows and of `ridge[u]` times the table that the server had broadcast (`gradient`). Uploads
    from a GPU, noisy uploads (FL-WBC) and those of most attacks have a row for every item and no
    ridge.
    """

    about: Mapping[str, Any]
    """The cell's settings (`config`), the names of the `scores`, checksum and provenance."""
    round: Int32[np.ndarray, " uploads"]
    """The round of each upload, from 1."""
    user: Int32[np.ndarray, " uploads"]
    """The client that sent it, as a user of the split."""
    malicious: Bool[np.ndarray, " uploads"]
    """The label, true if the client is malicious."""
    kept: Bool[np.ndarray, " uploads"]
    """The verdict of the defence's filters; true for all uploads if it has none or kept none."""
    weight: Float32[np.ndarray, " uploads"]
    """The number of samples, as the client states it."""
    ridge: Float32[np.ndarray, " uploads"]
    """The multiple of the broadcast table that L2 regularisation adds to the gradient."""
    dense: Float32[np.ndarray, "uploads params"]
    """The gradient of the shared parameters other than item embeddings; MF has none."""
    scores: Float32[np.ndarray, "uploads scores"]
    """What the filters measured, such as UNION's uniformity; NaN where they did not."""
    offsets: Int64[np.ndarray, " uploads_plus_1"]
    """Where the rows of each upload begin."""
    item: Int32[np.ndarray, " rows"]
    """The item of each row, as an item of the split."""
    value: Float32[np.ndarray, "rows d"]
    """The gradient of that item's embedding, without the ridge."""
    rounds: Int32[np.ndarray, " rounds"]
    """The rounds that have a table."""
    tables: Float32[np.ndarray, "rounds items d"]
    """The item embeddings that the server had broadcast in these rounds."""

    def __len__(self) -> int:
        """The number of uploads."""
        return len(self.round)

    def table(self, upload: int) -> Float32[np.ndarray, "items d"]:
        """Return the item embeddings that the server had broadcast to the sender of an upload."""
        return self.tables[np.searchsorted(self.rounds, self.round[upload])]

    def gradient(self, upload: int) -> Float32[np.ndarray, "items d"]:
        """Return the whole item gradient of an upload, ridge included."""
        rows = slice(self.offsets[upload], self.offsets[upload + 1])
        whole: np.ndarray = self.ridge[upload] * self.table(upload)
        whole[self.item[rows]] += self.value[rows]
        return whole

    def save(self, path: Path | str) -> None:
        """Write to an `.npz` file atomically; equal traces give equal bytes."""
        about = np.array(json.dumps(self.about, sort_keys=True))
        arrays = {name: getattr(self, name) for name in FIELDS}
        save_arrays(Path(path), {"schema": np.array(SCHEMA), "about": about, **arrays})


def read_trace(path: Path | str) -> UploadTrace:
    """Read a file that `UploadTrace.save` or `fedrec traces` wrote.

    Raises:
        DataError: the file is missing, damaged, or has other contents.
    """
    arrays = load_arrays(Path(path), ("about", *FIELDS), SCHEMA)
    return UploadTrace(about=json.loads(str(arrays.pop("about"))), **arrays)


class Tracer:
    """Keeps the uploads of chosen rounds, up to a number of bytes.

    `table` is the size in bytes of the item embeddings, which a trace has for each round.

    Raises:
        ConfigError: the embeddings alone would be too large.
    """

    def __init__(self, rounds: Collection[int], at_most: int, table: int = 0) -> None:
        self._rounds, self._at_most, self._size = set(rounds), at_most, 0
        self._parts: list[Mapping[str, np.ndarray]] = []
        self._scores: list[Mapping[str, np.ndarray]] = []
        self._check(table * len(self._rounds), at_most // max(table, 1))

    def watches(self, number: int) -> bool:
        """Tell whether a round is one of the chosen rounds."""
        return number in self._rounds

    def see(self, uploads: LabelledUploads) -> None:
        """Keep the uploads of one more round.

        Raises:
            ConfigError: the trace would be too large.
        """
        part = _arrays(uploads)
        scores = {name: _copied(score) for name, score in uploads.scores.items()}
        self._size += sum(array.nbytes for array in (*part.values(), *scores.values()))
        self._check(self._size, len(self._parts))
        self._parts.append(part)
        self._scores.append(scores)

    def trace(self, about: Mapping[str, Any]) -> UploadTrace:
        """Return the uploads kept so far; at least one round must have been seen."""
        names = list(dict.fromkeys(name for scores in self._scores for name in scores))
        both = zip(self._parts, self._scores, strict=True)
        parts = [{**part, "scores": _columns(scores, names, part)} for part, scores in both]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in FIELDS}
        arrays["offsets"] = np.concatenate(([0], np.cumsum(arrays["offsets"])))
        return UploadTrace(about={**about, "scores": names}, **arrays)

    def _check(self, size: int, fit: int) -> None:
        """Raise an error if a size in bytes is too large; `fit` is how many rounds are not."""
        if size > self._at_most:
            raise ConfigError(
                f"the trace would have {size / MB:,.1f} MB or more, and {fit} of its "
                f"{len(self._rounds)} rounds fit in {self._at_most / MB:g} MB: choose fewer rounds "
                "or a higher limit (--at-most)"
            )


def _columns(
    scores: Mapping[str, np.ndarray], names: Collection[str], part: Mapping[str, np.ndarray]
) -> Float32[np.ndarray, "n scores"]:
    """Arrange a round's scores as columns; NaN for those that were not measured in it."""
    columns = np.full((len(part["round"]), len(names)), np.nan, np.float32)
    for place, name in enumerate(names):
        if name in scores:
            columns[:, place] = scores[name]
    return columns


def _arrays(uploads: LabelledUploads) -> dict[str, np.ndarray]:
    """Copy the arrays of one round to the host; `offsets` are the numbers of rows as yet."""
    received, n = uploads.received.written_out(), len(uploads.received)
    return {
        "round": np.full(n, uploads.round, np.int32),
        "user": uploads.user.astype(np.int32),
        "malicious": _copied(uploads.malicious, np.bool_),
        "kept": _copied(uploads.kept, np.bool_),
        "weight": _copied(received.weight),
        "ridge": _copied(received.ridge),
        "dense": _copied(received.dense),
        "offsets": np.bincount(_copied(received.owner, np.int64), minlength=n),
        "item": _copied(received.item, np.int32),
        "value": _copied(received.value),
        "rounds": np.array([uploads.round], np.int32),
        "tables": _copied(received.table)[None],
    }


def _copied(tensor: Tensor, kind: type = np.float32) -> np.ndarray:
    """Copy a tensor to an array on the host, because the next round may reuse its memory."""
    return np.array(tensor.detach().cpu().numpy(), dtype=kind)
