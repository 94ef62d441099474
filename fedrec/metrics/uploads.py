"""Observation of single uploads: those of the first rounds (paper, section 5.7, Figure 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn.functional import pad

from fedrec.records import Uploads
from fedrec.updates import Updates

BLOCK = 256  # items whose dense gradients are built at a time


@dataclass(frozen=True)
class LabelledUploads:
    """The uploads of one round as the server received them, with what no defence sees: the labels.

    `kept` is true where the defence's filters kept an upload. It is true for all uploads if the
    defence has no filter, and also if its filters dropped every upload.
    """

    round: int
    received: Updates
    user: Int[np.ndarray, " n"]
    malicious: Bool[Tensor, " n"]
    kept: Bool[Tensor, " n"]
    scores: Mapping[str, Float[Tensor, " n"]]  # what the filters measured


@runtime_checkable
class Watcher(Protocol):
    """Sees the uploads of some rounds, before the server's step. It must not change them."""

    def watches(self, number: int) -> bool:
        """Tell whether to show it a round. On a GPU, such a round is not recorded."""

    def see(self, uploads: LabelledUploads) -> None:
        """Look at the uploads of a round that it watches."""


class Observer:
    """Describes each upload of the first `rounds` rounds, in windows of `window` rounds."""

    def __init__(self, rounds: int, window: int) -> None:
        self._rounds, self._window = rounds, window
        self._pending: list[Updates] = []
        self.columns: dict[str, list[float]] = {}

    def watches(self, number: int) -> bool:
        """Tell whether a round is to be observed."""
        return number <= self._rounds

    def see(self, uploads: LabelledUploads) -> None:
        """Observe the uploads of one more round."""
        number, received, malicious = uploads.round, uploads.received, uploads.malicious
        # A copy, because the server updates its table in place.
        self._pending.append(replace(received, table=received.table.clone()))
        columns = {"round": torch.full_like(malicious, number, dtype=torch.int64)}
        self._extend({**columns, "malicious": malicious, **uploads.scores})
        if number % self._window == 0 or number == self._rounds:
            first, second = principal_components(self._pending).unbind(1)
            self._extend({"component_1": first, "component_2": second})
            self._pending = []

    @property
    def settled(self) -> bool:
        """Whether `columns` has all observed uploads: after each window, and at the end."""
        return not self._pending

    @property
    def uploads(self) -> Uploads | None:
        """The observed uploads; None if no round was observed."""
        return Uploads.model_validate(self.columns) if self.columns else None

    def _extend(self, columns: Mapping[str, Tensor]) -> None:
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(values.tolist())


def principal_components(
    rounds: Sequence[Updates], components: int = 2
) -> Float[Tensor, "uploads components"]:
    """Return each upload's coordinates along the first principal components of all uploads.

    They are computed from the inner products of the centred uploads, one block of items at a time.
    The sign of a component makes its coordinate of largest magnitude positive.
    """
    gram = _gram([updates.written_out() for updates in rounds])
    gram = gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()
    values, vectors = torch.linalg.eigh(gram)  # ascending
    values, vectors = values[-components:].flip(0), vectors[:, -components:].flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    found = (vectors * largest.sign() * values.clamp(min=0).sqrt()).float()
    return pad(found, (0, components - found.shape[1]))  # fewer uploads span fewer components


def _gram(rounds: Sequence[Updates]) -> Float64[Tensor, "uploads uploads"]:
    dense = torch.cat([updates.dense for updates in rounds]).double()
    gram = dense @ dense.T
    for items in torch.arange(len(rounds[0].table), device=dense.device).split(BLOCK):
        part = torch.cat([updates.gather(items).flatten(1) for updates in rounds])
        gram += (part @ part.T).double()
    return gram
