"""Batches whose data are on a GPU, and models that train on them."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding

from fedrec.kernels.device.resident import Resident
from fedrec.models.base import Batch, Model, Shared


class ResidentBatch(Batch):
    """All pairs of some clients, kept on a GPU, where kernels look them up.

    The other columns of a batch are computed at their first use, for which the host waits.
    """

    resident: Resident

    def __init__(self, resident: Resident) -> None:
        vars(self)["resident"] = resident

    def __getattr__(self, name: str) -> Tensor:
        """Compute the columns of a batch at their first use, and return one."""
        if name not in Batch.__dataclass_fields__:
            raise AttributeError(name)
        vars(self).update(vars(self._written_out()))
        found: Tensor = vars(self)[name]
        return found

    @property
    def clients(self) -> Int[Tensor, " clients"]:
        """User ids."""
        return self.resident.ids

    @property
    def sizes(self) -> Int[Tensor, " clients"]:
        """Pairs per client."""
        return self.resident.sizes

    def flipped(self) -> "ResidentBatch":
        """Swap positive and negative in all pairs."""
        own = self.resident
        return ResidentBatch(own._replace(positive=own.negative, negative=own.positive))

    def retargeted(
        self, positive: Int[Tensor, " pairs"], negative: Int[Tensor, " pairs"]
    ) -> "ResidentBatch":
        """Replace the items of the pairs; clients and histories are unchanged."""
        owner, number, _ = self.resident.places()
        room = torch.zeros(len(self.sizes), self.resident.longest).to(positive)
        return self.with_targets(
            *(room.index_put((owner, number), x) for x in (positive, negative))
        )

    def with_targets(
        self, positive: Int[Tensor, "clients longest"], negative: Int[Tensor, "clients longest"]
    ) -> "ResidentBatch":
        """Replace the items of the pairs, given as one padded row per client."""
        n, longest = positive.shape
        entry = self.resident.entry.clone()
        entry[:, 1] = torch.arange(n, device=entry.device) * longest
        return ResidentBatch(
            self.resident._replace(
                entry=entry, positive=positive.reshape(-1), negative=negative.reshape(-1)
            )
        )

    def halves(self) -> tuple["ResidentBatch", "ResidentBatch"]:
        """Split each client's pairs into an earlier and a later half.

        If the number is odd, the earlier half has one more.
        """
        earlier, later = self.resident.entry.clone(), self.resident.entry.clone()
        half = (self.sizes + 1) // 2
        earlier[:, 2], later[:, 2] = half, self.sizes - half
        later[:, [1, 5]] += half[:, None]
        first, second = (ResidentBatch(self.resident._replace(entry=x)) for x in (earlier, later))
        return first, second

    def _written_out(self) -> Batch:
        own = self.resident
        owner, number, at = own.places()
        positive, negative = own.positive[at], own.negative[at]
        history = own.history[own.pasts[owner] + number]
        nothing = torch.zeros_like(owner)
        plain = Batch(self.clients, self.sizes, owner, positive, negative, history, *[nothing] * 5)
        return plain.retargeted(positive, negative)


@runtime_checkable
class GpuModel(Model, Protocol):
    """A model that can also train on a `ResidentBatch`, without waiting for the GPU."""

    def latest_scores(
        self, shared: Shared, local: Float[Tensor, "clients k"], batch: ResidentBatch
    ) -> Float[Tensor, "clients items"]:
        """Return the scores of all items at the latest pair of each client; see `scores_at`."""


def looked_up(
    table: Float[Tensor, "*tables items d"], items: Int[Tensor, "clients time"]
) -> Float[Tensor, "clients time d"]:
    """Look up the embeddings of items, in one shared table or in each client's own table."""
    if table.dim() == 2:
        return embedding(items, table)
    n, size, d = table.shape
    first = torch.arange(n, device=items.device)[:, None] * size
    return embedding(items + first, table.view(n * size, d))
