"""Matrix factorisation trained with BPR (Rendle et al. 2009; paper, Eq. 1)."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from fedrec.kernels.bpr import Embeddings, Pairs, Sums, summed_gradients
from fedrec.kernels.device.gradients import bpr
from fedrec.kernels.sums import inner_products
from fedrec.models._resident import ResidentBatch
from fedrec.models.base import (
    Batch,
    LocalGradients,
    Sequences,
    Shared,
    xavier_uniform,
)
from fedrec.rng import Streams
from fedrec.settings import Presets, settings
from fedrec.updates import Updates


@settings
class MF:
    """score(u, i) = u · v_i, with dropout on both embeddings during training.

    A client's loss is the mean BPR loss of its pairs plus λ‖Θ‖² over the whole item table and
    its own user embedding (Eq. 1). The gradient is computed in closed form, so a cohort costs only
    a few gathers and scatters.
    """

    PRESETS: ClassVar[Presets] = {"paper": {"l2_half": False}}
    sequential: ClassVar[bool] = False

    dim: int = Field(default=64, ge=1, description="Embedding size d (section 5.1).")
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Dropout of every gathered embedding (Appendix A)."
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="Adam's η (Table 6).")
    l2: float = Field(default=1e-5, ge=0, description="L2 coefficient λ (Eq. 1, Table 6).")
    l2_half: bool = Field(
        default=True, description="Penalty ½λ‖Θ‖² (both uploads) instead of λ‖Θ‖² (Eq. 1)."
    )

    @property
    def ridge(self) -> float:
        """The factor of the L2 gradient: 2λ, or λ if the penalty is halved."""
        return self.l2 if self.l2_half else 2 * self.l2

    def init_shared(self, n_items: int, streams: Streams) -> Shared:
        """Draw a Xavier-uniform item table."""
        items = xavier_uniform(n_items, self.dim, streams.generator("init-items"))
        return Shared(items=items, dense=torch.zeros(0))

    def init_local(self, n_users: int, streams: Streams) -> Float[Tensor, "users d"]:
        """Draw Xavier-uniform user embeddings, one row per client."""
        return xavier_uniform(n_users, self.dim, streams.generator("init-users"))

    def gradients(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: Batch, streams: Streams
    ) -> LocalGradients:
        """Compute each client's gradient of Eq. 1 over all its pairs, in closed form."""
        if isinstance(batch, ResidentBatch):
            return self._on_device(shared, local, batch, streams)
        rows, to_user, loss = self._summed(shared, local, batch, streams)
        return LocalGradients(
            updates=self._upload(shared, batch, rows),
            local=to_user.add_(local * self.ridge),
            loss=loss,
        )

    def scores_at(
        self,
        shared: Shared,
        local: Float[Tensor, "clients d"],
        batch: Batch,
        pairs: Int[Tensor, " some"],
    ) -> Float[Tensor, "some items"]:
        """Return u · v_i for all items; it is the same at all pairs of a client."""
        return inner_products(local[batch.owner[pairs]], shared.items)

    def latest_scores(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: ResidentBatch
    ) -> Float[Tensor, "clients items"]:
        """Return u · v_i for all items; the sequence does not matter."""
        return inner_products(local, shared.items)

    def scores(
        self, shared: Shared, local: Float[Tensor, "clients d"], past: Sequences
    ) -> Float[Tensor, "clients items"]:
        """Return u · v_i for all items, without dropout."""
        return inner_products(local, shared.items)

    def _summed(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: Batch, streams: Streams
    ) -> Sums:
        """Sum the gradients of all pairs, without L2, by row and by client."""
        embeddings, own = Embeddings(user=local, table=shared.items), streams.of_clients("dropout")
        return summed_gradients(embeddings, pairs_of(batch), len(batch.row_item), own, self.dropout)

    def _on_device(
        self,
        shared: Shared,
        local: Float[Tensor, "clients d"],
        batch: ResidentBatch,
        streams: Streams,
    ) -> LocalGradients:
        own, stream = batch.resident, streams.of_clients("dropout")
        found = bpr(local, shared.items, own, stream, self.dropout, self.ridge)
        items, to_user, loss = found
        none = local.new_empty(len(local), 0)
        return LocalGradients(
            updates=Updates.in_stack(shared.items, items, none, own.sizes.to(items.dtype)),
            local=to_user.add_(local, alpha=self.ridge),
            loss=loss,
        )

    def _upload(self, shared: Shared, batch: Batch, rows: Float[Tensor, "rows d"]) -> Updates:
        n = len(batch.clients)
        return Updates(
            table=shared.items,
            owner=batch.row_owner,
            item=batch.row_item,
            value=rows,
            ridge=rows.new_full((n,), self.ridge),
            dense=rows.new_zeros(n, 0),
            weight=batch.sizes.to(rows.dtype),
        )


def pairs_of(batch: Batch) -> Pairs:
    """Return the columns of a batch that matrix factorisation trains on."""
    return Pairs(
        clients=batch.clients,
        sizes=batch.sizes,
        owner=batch.owner,
        positive=batch.positive,
        negative=batch.negative,
        positive_row=batch.positive_row,
        negative_row=batch.negative_row,
    )
