"""Item gradients of clients as dense stacks: one row for every item of every client.

Many places add to the same row. On a GPU they add at the same time, as integer multiples of 2⁻⁴⁰,
whose sum does not depend on the order.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.bpr import bpr_gradients
from fedrec.kernels.device.operation import operation
from fedrec.kernels.device.resident import Resident
from fedrec.kernels.dropout import Dropout, pair_masks, product_scale
from fedrec.kernels.info_nce import candidate_masks, draw_candidates, info_nce_gradient
from fedrec.kernels.philox import ClientStreams

# (items, d) if all clients share a table, (n, items, d) if each has its own
Tables = Float[Tensor, "*n items d"]


@operation("bpr")
def bpr(
    local: Float[Tensor, "n d"],
    table: Tables,
    resident: Resident,
    streams: ClientStreams,
    rate: float,
    ridge: float,
) -> tuple[Float[Tensor, "n items d"], Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Return `kernels.bpr.summed_gradients`, with ridge · table added to the item gradients."""
    tables, (owner, number, at) = table.expand(len(local), *table.shape[-2:]), resident.places()
    positive, negative = resident.positive[at], resident.negative[at]
    masks = pair_masks(streams, resident.ids[owner], number, (3, table.shape[-1]), rate)
    to_user, to_positive, to_negative, loss = bpr_gradients(
        local[owner],
        tables[owner, positive],
        tables[owner, negative],
        masks,
        scale=product_scale(rate),
        size=resident.sizes[owner],
    )
    value = tables * ridge
    value.index_put_((owner, positive), to_positive, accumulate=True)
    value.index_put_((owner, negative), to_negative, accumulate=True)
    user = torch.zeros_like(local).index_add_(0, owner, to_user)
    return value, user, local.new_zeros(len(local)).index_add_(0, owner, loss)


@operation("info_nce")
def with_info_nce(
    base: Tables,
    table: Float[Tensor, "items d"],
    resident: Resident,
    draws: ClientStreams,
    dropout: ClientStreams,
    rate: float,
    negatives: int,
    weight: float,
    mean: bool,
) -> Float[Tensor, "n items d"]:
    """Return base + weight · ∂L_cl/∂v of each client: see `clients.contrastive.Contrastive`.

    L_cl is the mean over a client's anchors if `mean`, else their sum.
    """
    ids, starts, sizes = (x.numpy() for x in (resident.ids, resident.pasts, resident.sizes))
    value = base.expand(len(ids), *table.shape).clone()
    given = Dropout.of(dropout, ids, rate)
    for c, seed in enumerate(draws.seeds(ids)):
        if sizes[c] > 1:
            history = resident.history[starts[c] : starts[c] + sizes[c]].numpy()
            items = torch.from_numpy(draw_candidates(history, len(table), negatives, seed))
            shape = (*items.shape, table.shape[1])
            kept = candidate_masks(given.seeds[c], shape, given.below, table.device)
            share = weight / sizes[c] if mean else weight
            gradient = info_nce_gradient(table[items], kept, given.scale, float(share))
            value[c].index_add_(0, items.view(-1), gradient.view(-1, table.shape[1]))
    return value


@operation("scatter")
def scattered(
    table: Tables,
    places: Int[Tensor, "n places"],
    gradient: Float[Tensor, "n places d"],
    ridge: float,
) -> Float[Tensor, "n items d"]:
    """Sum gradients by client and item, and add ridge · table; places below 0 are ignored."""
    value = (table * ridge).expand(len(places), *table.shape[-2:]).clone()
    owner, some = (places >= 0).nonzero().unbind(1)
    value.index_put_((owner, places[owner, some]), gradient[owner, some], accumulate=True)
    return value


@operation("trimmed")
def trimmed_mean(
    value: Float[Tensor, "n items d"], kept: Tensor, trims: Int[Tensor, " n_plus_1"]
) -> Float[Tensor, "items d"]:
    """Return the coordinate-wise trimmed mean over the clients kept.

    If k clients are kept, the trims[k] lowest and the trims[k] highest values are left out.
    """
    ordered = value[kept].sort(dim=0).values
    trim = int(trims[len(ordered)])
    return ordered[trim : len(ordered) - trim].mean(0)


@operation("rows")
def put_rows(
    target: Float[Tensor, "rows k"], place: Int[Tensor, " some"], rows: Float[Tensor, "some k"]
) -> None:
    """target[place] = rows; places are distinct."""
    target[place] = rows
