"""Matrix factorisation trained with BPR (Rendle et al. 2009; paper, Eq. 1)."""

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.sums import inner_products
from fedrec.kernels.threads import client_ranges, spread
from fedrec.models.base import (
    Batch,
    LocalGradients,
    Sequences,
    Shared,
    dropout_masks,
    dropped_below,
    xavier_uniform,
)
from fedrec.rng import Streams
from fedrec.settings import Presets, settings
from fedrec.updates import Updates

# Gradients added up by item row and by client, and the clients' losses
Sums = tuple[Float[Tensor, "rows d"], Float[Tensor, "clients d"], Float[Tensor, " clients"]]


@settings
class MF:
    """score(u, i) = u · v_i, with both embeddings under dropout while training.

    A client's loss is the mean BPR loss of its pairs plus λ‖Θ‖² over the whole item table and
    its own user embedding (Eq. 1). The gradient is written out, so a cohort costs a few gathers
    and scatters.
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
        """A parameter's share in its own gradient: 2λ, or λ where the penalty is halved."""
        return self.l2 if self.l2_half else 2 * self.l2

    def init_shared(self, n_items: int, streams: Streams) -> Shared:
        """A Xavier-uniform item table."""
        items = xavier_uniform(n_items, self.dim, streams.generator("init-items"))
        return Shared(items=items, dense=torch.zeros(0))

    def init_local(self, n_users: int, streams: Streams) -> Float[Tensor, "users d"]:
        """A Xavier-uniform table of user embeddings, one row for each client to keep."""
        return xavier_uniform(n_users, self.dim, streams.generator("init-users"))

    def gradients(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: Batch, streams: Streams
    ) -> LocalGradients:
        """Each client's gradient of Eq. 1 over all its pairs, in closed form."""
        sums = self._compiled_sums if on_cpu(shared.items) else self._tensor_sums
        rows, to_user, loss = sums(shared, local, batch, streams)
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
        """u · v_i for all items, the same at all pairs of a client."""
        return inner_products(local[batch.owner[pairs]], shared.items)

    def scores(
        self, shared: Shared, local: Float[Tensor, "clients d"], past: Sequences
    ) -> Float[Tensor, "clients items"]:
        """u · v_i for all items, without dropout."""
        return inner_products(local, shared.items)

    @property
    def _scale(self) -> float:
        """A score is a product of two embeddings, each scaled by 1 / (1 − rate)."""
        return (1 - self.dropout) ** -2

    def _tensor_sums(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: Batch, streams: Streams
    ) -> Sums:
        """The gradients of all pairs, added up by row and by client."""
        to_user, to_positive, to_negative, loss = bpr_gradients(
            local.index_select(0, batch.owner),
            shared.items.index_select(0, batch.positive),
            shared.items.index_select(0, batch.negative),
            dropout_masks(streams, batch, (3, self.dim), self.dropout),
            scale=self._scale,
            size=batch.sizes.index_select(0, batch.owner),
        )
        rows = local.new_zeros(len(batch.row_item), self.dim)
        rows.index_add_(0, batch.positive_row, to_positive)
        rows.index_add_(0, batch.negative_row, to_negative)
        return (
            rows,
            torch.zeros_like(local).index_add_(0, batch.owner, to_user),
            local.new_zeros(len(local)).index_add_(0, batch.owner, loss),
        )

    def _compiled_sums(
        self, shared: Shared, local: Float[Tensor, "clients d"], batch: Batch, streams: Streams
    ) -> Sums:
        """The same on the CPU, in one pass over the pairs."""
        from fedrec.kernels.vectors import add_bpr

        seeds = streams.seeds("dropout", batch.clients.numpy())
        bounds = np.concatenate([[0], batch.sizes.cumsum(0).numpy()])
        pairs = (batch.positive, batch.negative, batch.positive_row, batch.negative_row)
        rows = local.new_zeros(len(batch.row_item), self.dim)
        to_user, loss = torch.zeros_like(local), local.new_zeros(len(local))
        given = (local, shared.items, *pairs)
        sums = (rows, to_user, loss)
        arguments: list[Any] = [
            bounds,
            *(tensor.numpy() for tensor in given),
            seeds,
            dropped_below(self.dropout),
            self._scale,
            *(tensor.numpy() for tensor in sums),
        ]
        spread(lambda part: add_bpr(*[*arguments, *part]), client_ranges(bounds))
        return sums

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


def bpr_gradients(
    user: Float[Tensor, "pairs d"],
    positive: Float[Tensor, "pairs d"],
    negative: Float[Tensor, "pairs d"],
    masks: Float[Tensor, "pairs 3 d"],
    scale: float,
    size: Int[Tensor, " pairs"],
) -> tuple[
    Float[Tensor, "pairs d"],
    Float[Tensor, "pairs d"],
    Float[Tensor, "pairs d"],
    Float[Tensor, " pairs"],
]:
    """Gradients of −log σ(x) / size for user, positive and negative of each pair, and the loss.

    x = scale · û·(p̂ − n̂), the hats being 0/1 masks m. With s = −scale · σ(−x) / size, the
    gradients are s·m_u∘(p̂ − n̂), s·m_p∘û and −s·m_n∘û. The first three arguments are overwritten.
    """
    for_user, for_positive, for_negative = masks.unbind(1)
    user.mul_(for_user)
    margin = positive.mul_(for_positive).sub_(negative.mul_(for_negative))
    x = (user * margin).sum(1).mul_(scale)
    slope = torch.sigmoid(-x).div_(size).mul_(-scale)[:, None]
    to_user = margin.mul_(for_user).mul_(slope)
    user.mul_(slope)
    return to_user, user * for_positive, (user * for_negative).neg_(), logsigmoid(x).div_(-size)
