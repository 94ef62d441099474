"""The statistics of normal gradients that model poisoning attacks imitate."""

import torch
from jaxtyping import Float
from torch import Tensor

from fedrec.updates import Gradient, Updates


def item_norm_statistics(
    updates: Updates, over_all_items: bool
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean μ and standard deviation σ of the L2 norms of item-embedding gradients (section 4.1).

    Over all (client, item) pairs, or over those that the clients' data touch. Elsewhere a
    gradient is ridge[c]·v_i, so its norm needs no dense gradient.
    """
    norms = updates.row_norms().double()
    count, total, squares = len(norms), norms.sum(), norms.square().sum()
    if over_all_items:
        table, ridge = updates.table.norm(dim=1).double(), updates.ridge.double().abs()
        untouched = ridge[updates.owner] * table[updates.item]
        count = len(updates) * len(table)
        total = total + ridge.sum() * table.sum() - untouched.sum()
        squares = squares + ridge.square().sum() * table.square().sum() - untouched.square().sum()
    mean = total / count
    variance = (squares - count * mean.square()) / (count - 1)
    return mean.float(), variance.clamp(min=0).sqrt().float()


def coordinate_statistics(updates: Updates) -> tuple[Gradient, Gradient]:
    """Mean μ and standard deviation σ of each coordinate over the clients.

    σ divides by n − 1, as in the norms above; a single client has none, and σ is 0.
    """
    n = len(updates)
    center = updates.ridge.mean()
    excess = updates.ridge - center
    # Deviations from center·table: where all ridges are equal, only touched rows have any.
    untouched = excess[updates.owner][:, None] * updates.table[updates.item]
    touched = updates.value + untouched
    total = torch.zeros_like(updates.table).index_add_(0, updates.item, updates.value)
    squares = updates.table.square() * excess.square().sum()
    squares.index_add_(0, updates.item, touched.square_().sub_(untouched.square_()))
    variance = squares.sub_(total.square() / n).div_(max(n - 1, 1)).clamp_(min=0)
    dense = updates.dense
    # std() warns of a single client, and of an empty tensor.
    spread = dense.std(0) if n > 1 and dense.numel() else torch.zeros_like(dense[0])
    mean = Gradient(total.div_(n).add_(updates.table * center), dense.mean(0))
    return mean, Gradient(variance.sqrt_(), spread)
