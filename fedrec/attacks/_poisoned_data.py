"""Helper of attacks that poison their clients' data and train on it."""

from typing import Literal

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.models.base import Batch
from fedrec.rng import Streams

OwnRow = Literal["poisoned", "benign"]


def trained_on(
    batch: Batch, view: AttackerView, streams: Streams, own_row: OwnRow
) -> Forgery[None]:
    """Train on a poisoned batch; `own_row` selects the gradient of the clients' own parameters."""
    found = view.devices.train(view.shared, view.selected, batch, streams)
    return Forgery(found.updates, None, local=found.local if own_row == "poisoned" else None)
