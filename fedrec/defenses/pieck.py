"""PIECK's defence: terms against cold items that look popular (Zhang et al., ICDE 2024)."""

from dataclasses import replace
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ClientView
from fedrec.errors import ConfigError
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device.resident import Resident
from fedrec.kernels.divergence import divergence_gradients
from fedrec.kernels.rows import weighted_sum, with_shares
from fedrec.kernels.sums import inner_products, squared_norms
from fedrec.models._resident import ResidentBatch
from fedrec.models.base import Batch, LocalGradients, Model
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates


class Mined(NamedTuple):
    """Popular items, the most popular first, and their weights, which sum to 1."""

    items: Int[Tensor, " k"]
    weight: Float[Tensor, " k"]


@settings
class PIECK:
    """Honest clients draw their items towards popular ones, and themselves away from these.

    To a client's loss L two terms are added, with p_k the embedding of the k-th most popular item,
    w_k its weight, v_j the client's other items (the positives and negatives of its pairs) and u
    its own embedding of d numbers:

    L − λ_v · mean_j Σ_k w_k cos(p_k, v_j) − λ_u · Σ_k w_k KL(softmax(u) ‖ softmax(p_k)) / d

    Popular items are taken as given: only v_j and u get gradients. The terms are made against
    attacks that promote a cold item by making it look like popular ones, or like what users want.
    They follow the authors' code (MF-FRS/client.py; for NCF, DL-FRS/client.py).

    A client of the source keeps the item table of its first round. In its second round, which comes
    after one pass over all clients, it takes the items that have changed most for popular, for
    good. Clients keep nothing here: the first table is that of the run's first round, popular items
    are found anew in each round, and the terms begin in the same round for all. A model without
    user embeddings (SASRec) has the first term only.
    """

    popular: int = Field(
        default=10, ge=1, description="Number of popular items (`regula_size` of the code)."
    )
    items_weight: float = Field(
        default=1.0,
        ge=0,
        description="λ_v (`ipe_mu` of the code: 1 for matrix factorisation, 45 for NCF).",
    )
    user_weight: float = Field(
        default=1.0,
        ge=0,
        description="λ_u (`uea_mu` of the code: 1 for matrix factorisation, 45 for NCF).",
    )
    falling: Literal["squares", "exponentials"] = Field(
        default="squares",
        description="Weights of the K popular items, before they are made to sum to 1: "
        "(K − k + 1)² (code for matrix factorisation) or exp(K − k + 1) (code for NCF).",
    )
    begins: int = Field(
        default=121,
        ge=2,
        description="First round with the terms (ours: after one pass over the clients of ML-1M, "
        "⌈6,040/50⌉ rounds, as in the code).",
    )

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """Return the honest gradients of the loss with both terms."""
        begun = view.streams.drawn(lambda own: np.array([own.round >= self.begins], np.float32))
        if on_cpu(begun) and not begun:
            return honest
        table, mined = view.shared.items, self.mined(view)
        pull = -self.items_weight * begun * pulls(table, mined)
        local = honest.local
        if local.shape[1] and self.user_weight:
            local = local + begun * self._of_users(view, mined)
        return replace(honest, updates=_added(honest.updates, view.batch, pull, mined), local=local)

    def mined(self, view: ClientView) -> Mined:
        """Return the items that have changed most since the run began."""
        table, model = view.shared.items, view.devices.model
        given = len(table), view.streams.seed, table.device
        first = first_table(model, *given)  # type: ignore[arg-type]  # settings can be hashed
        count = min(self.popular, len(table))
        items = squared_norms(table - first).topk(count).indices
        return Mined(items, falling_weights(count, self.falling, table.device))

    def _of_users(self, view: ClientView, mined: Mined) -> Float[Tensor, "clients d"]:
        """Return the second term's gradients by the clients' own embeddings."""
        popular, own = view.shared.items[mined.items], view.devices.local[view.positions]
        d = popular.shape[1]
        if own.shape[1] != d:
            raise ConfigError(
                f"pieck: users have {own.shape[1]} numbers of their own and items {d}, so they "
                "cannot be compared; set user_weight: 0"
            )
        return divergence_gradients(own, weighted_sum(mined.weight, popular)) * (
            -self.user_weight / d
        )


@cache
def first_table(
    model: Model, n_items: int, seed: int, device: torch.device
) -> Float[Tensor, "items d"]:
    """Return the item table that the server broadcasts in the first round of a run."""
    return model.init_shared(n_items, Streams(seed)).items.to(device)


@cache
def falling_weights(count: int, how: str, device: torch.device) -> Float[Tensor, " count"]:
    """Return weights that fall from the most popular item on and sum to 1."""
    places = np.arange(count, 0, -1.0)
    falling = places**2 if how == "squares" else np.exp(places - count)
    return torch.tensor(falling / falling.sum(), dtype=torch.float32, device=device)


def pulls(table: Float[Tensor, "items d"], mined: Mined) -> Float[Tensor, "items d"]:
    """Return ∂/∂v Σ_k w_k cos(p_k, v) for each item v.

    With q = Σ_k w_k p_k / ‖p_k‖ and e = v / ‖v‖ it is (q − (q · e) e) / ‖v‖.
    """
    norms = squared_norms(table).sqrt().clamp(min=1e-8)[:, None]
    unit = table / norms
    towards = weighted_sum(mined.weight, unit[mined.items])
    along = inner_products(towards[None], unit)[0]
    return (towards - along[:, None] * unit) / norms


def _added(honest: Updates, batch: Batch, pull: Float[Tensor, "items d"], mined: Mined) -> Updates:
    """Add to each upload its client's mean pull over the other items of its pairs."""
    if isinstance(batch, ResidentBatch):
        found = occurrences(batch.resident, len(pull)).index_fill(1, mined.items, 0)
        share = found / found.sum(1, keepdim=True).clamp(min=1)
        stack = honest.in_whole().stack + share[:, :, None] * pull
        return Updates.in_stack(honest.table, stack, honest.dense, honest.weight)
    rows = torch.cat([batch.positive_row, batch.negative_row])
    found = torch.bincount(rows, minlength=len(batch.row_item)).float()
    found[torch.isin(batch.row_item, mined.items)] = 0
    whole = torch.bincount(batch.row_owner, weights=found, minlength=len(honest)).float()
    share = found / whole.clamp(min=1)[batch.row_owner]
    given = _places(honest, batch), batch.row_item, share, pull
    return replace(honest, value=with_shares(honest.value, *given))


def _places(honest: Updates, batch: Batch) -> Int[Tensor, " rows"]:
    """Return the rows of uploads that are a batch's rows; another task may have added rows."""
    n_items, rows = len(honest.table), len(batch.row_item)
    if len(honest.item) == rows:
        return torch.arange(rows, device=honest.item.device)
    here, there = (
        owner * n_items + item
        for owner, item in ((honest.owner, honest.item), (batch.row_owner, batch.row_item))
    )
    return torch.searchsorted(here, there)


def occurrences(own: Resident, n_items: int) -> Float[Tensor, "n items"]:
    """Count each item among the positives and negatives of each client, on a GPU."""
    number = torch.arange(own.longest, device=own.entry.device)
    there = number < own.sizes[:, None]
    place = (own.starts[:, None] + number).where(there, 0)
    found = there.new_zeros(len(there), n_items, dtype=torch.float32)
    for item in (own.positive, own.negative):
        found.scatter_add_(1, item[place], there.float())  # whole numbers: in any order
    return found
