"""FedAttack: train on the hardest samples (Wu et al. 2022)."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from fedrec.attacks._poisoned_data import OwnRow, trained_on
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.models._resident import GpuModel, ResidentBatch
from fedrec.models.base import Batch
from fedrec.rng import Streams
from fedrec.settings import settings

# Items of the pairs: positives, negatives
Targets = tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]


@settings
class FedAttack:
    """Uploads honest gradients of the hardest pairs that a user's current embedding allows.

    By the model's scores (inner products with the user embedding, in MF and SASRec), the farthest
    item becomes the positive of all pairs of a client, and the n nearest items, for its n pairs,
    become the negatives, in random order (first upload). Where scores change along a sequence,
    those at the latest pair count.
    """

    hardest: Literal["client", "pair"] = Field(
        default="client",
        description="One farthest item and the n nearest for a client (first upload), or the "
        "farthest and the nearest for each pair's own user embedding.",
    )
    own_row: OwnRow = Field(
        default="poisoned",
        description="A malicious client's own parameters follow its hardest pairs (first upload), "
        "or its true ones.",
    )

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """The gradients of each malicious client's hardest pairs."""
        devices = view.devices
        batch = devices.pairs.batch(view.selected, streams)
        own = devices.local[view.selected]
        if isinstance(batch, ResidentBatch) and self.hardest == "client":
            return self._on_device(batch, own, view, streams)
        ends = batch.sizes.cumsum(0)
        everywhere = torch.arange(len(batch.owner), device=ends.device)
        at = ends - 1 if self.hardest == "client" else everywhere
        scores = devices.model.scores_at(view.shared, own, batch, at)
        found = (
            hardest_pairs(scores)
            if self.hardest == "pair"
            else hardest_of_clients(scores, batch, streams)
        )
        return trained_on(batch.retargeted(*found), view, streams, self.own_row)

    def _on_device(
        self,
        batch: ResidentBatch,
        own: Float[Tensor, "m k"],
        view: AttackerView,
        streams: Streams,
    ) -> Forgery[None]:
        """The same where nobody waits to hear how many pairs a client has."""
        lengths, room = view.devices.pairs.lengths, batch.resident.longest
        model = view.devices.model
        assert isinstance(model, GpuModel)  # others are given no resident batch
        order = model.latest_scores(view.shared, own, batch).argsort(dim=1, stable=True)
        n_items = order.shape[1]

        def places(streams: Streams, client: int) -> np.ndarray:
            shuffled = streams.generator("fed-attack", client).permutation(lengths[client])
            return np.pad(n_items - 1 - shuffled % n_items, (0, room - len(shuffled)))

        nearest = order.gather(1, view.drawn(streams, places))
        farthest = order[:, :1].expand_as(nearest)
        hard = batch.with_targets(farthest, nearest)
        return trained_on(hard, view, streams, self.own_row)


def hardest_of_clients(
    scores: Float[Tensor, "clients items"], batch: Batch, streams: Streams
) -> Targets:
    """The farthest item of each client, for all its n pairs, and its n nearest ones, shuffled.

    A client with more pairs than there are items takes the nearest ones again.
    """
    positive, negative = torch.empty_like(batch.positive), torch.empty_like(batch.negative)
    sizes, ends = batch.sizes.tolist(), batch.sizes.cumsum(0).tolist()
    orders = scores.argsort(dim=1, stable=True)
    for client, size, end, order in zip(batch.clients.tolist(), sizes, ends, orders, strict=True):
        shuffled = streams.generator("fed-attack", client).permutation(size) % len(order)
        positive[end - size : end] = order[0]
        negative[end - size : end] = order.flip(0)[torch.from_numpy(shuffled).to(order.device)]
    return positive, negative


def hardest_pairs(scores: Float[Tensor, "pairs items"]) -> Targets:
    """The farthest item of each pair, as positive, and the nearest, as negative.

    Two different items: where all are equally near, the first two. `scores` is overwritten.
    """
    positive = scores.argmin(1)
    scores.scatter_(1, positive[:, None], -torch.inf)
    return positive, scores.argmax(1)
