"""The bytes that clients upload, counted on the CPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from fedrec.metrics.uploads import LabelledUploads
from fedrec.updates import Updates

ID, NUMBER = 8, 4  # bytes of an item's id (int64) and of a number (float32), as `Updates` has them
ONCE = 2 * NUMBER  # an upload's sample count, and its factor of the L2 gradient


def upload_bytes(updates: Updates) -> Int[np.ndarray, " n"]:
    """Return the bytes of each upload, as the engine stores it on a CPU; nothing is compressed.

    An upload has the id and the numbers of each row, the gradient of all other shared parameters,
    the sample count and the factor of the L2 gradient. Noise of FL-WBC covers all coordinates, so
    a noisy upload has the rows of all items, without ids. For uploads on a CPU.
    """
    n_items, d = updates.table.shape[-2:]
    bounds = np.searchsorted(updates.owner.numpy(), np.arange(len(updates) + 1))
    rows = np.diff(bounds) * (ID + NUMBER * d)
    if updates.noise:
        rows[[noise is not None for noise in updates.noise]] = n_items * NUMBER * d
    return rows + NUMBER * updates.dense.shape[1] + ONCE


class UploadSizes:
    """Watches the uploads of all rounds, and sums the bytes of benign and of malicious clients.

    It watches nothing if `counts` is false. On a GPU every upload has a row for each item, and the
    host does not know which of them a client would send.
    """

    def __init__(self, counts: bool) -> None:
        self._counts = counts
        self._uploads, self._bytes = [0, 0], [0, 0]  # of benign clients, of malicious clients

    def watches(self, number: int) -> bool:
        """Tell whether uploads are counted at all."""
        return self._counts

    def see(self, uploads: LabelledUploads) -> None:
        """Count the uploads of one more round."""
        sizes, malicious = upload_bytes(uploads.received), uploads.malicious.numpy()
        for which, some in enumerate((sizes[~malicious], sizes[malicious])):
            self._uploads[which] += len(some)
            self._bytes[which] += int(some.sum())

    @property
    def benign(self) -> float | None:
        """The mean bytes that a benign client uploads in a round; None if none was counted."""
        return self._mean(0)

    @property
    def malicious(self) -> float | None:
        """The mean bytes that a malicious client uploads in a round; None if none was counted."""
        return self._mean(1)

    def state(self) -> dict[str, list[int]]:
        """Return the sums, for a checkpoint."""
        return {"uploads": [*self._uploads], "bytes": [*self._bytes]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the sums saved in `state`."""
        self._uploads, self._bytes = [*state["uploads"]], [*state["bytes"]]

    def _mean(self, which: int) -> float | None:
        uploads = self._uploads[which]
        return self._bytes[which] / uploads if uploads else None
