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
    """Uploads honest gradients of the hardest pairs for each user's current embedding.

    Near and far are measured by the model's scores (inner products with the user embedding, in MF
    and SASRec). For a client with n pairs, the farthest item becomes the positive of all pairs, and
    the n nearest items become the negatives, in random order (first upload). If scores change
    along a sequence, the scores at the latest pair count.
    """

    hardest: Literal["client", "pair"] = Field(
        default="client",
        description="The farthest item and the n nearest items of a client (first upload), or the "
        "farthest and the nearest item for the user embedding of each pair.",
    )
    own_row: OwnRow = Field(
        default="poisoned",
        description="Train a malicious client's own parameters on its hardest pairs (first "
        "upload), or on its true pairs.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the gradients of each malicious client's hardest pairs."""
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
        """Do the same on a GPU, without waiting for the number of pairs of each client."""
        lengths, room = view.devices.pairs.lengths, batch.resident.longest
        model = view.devices.model
        assert isinstance(model, GpuModel)  # only these get a resident batch
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
    """Return the farthest item of each client, for all its n pairs, and its n nearest, shuffled.

    A client with more pairs than there are items uses the nearest items again.
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
    """Return the farthest item of each pair, as positive, and the nearest, as negative.

    The two items differ. If all items are equally near, they are the first two. `scores` is
    overwritten.
    """
    positive = scores.argmin(1)
    scores.scatter_(1, positive[:, None], -torch.inf)
    return positive, scores.argmax(1)
