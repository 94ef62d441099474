"""Helpers of attacks that forge uploads: normal gradients, their statistics, forged copies."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from fedrec.attacks.base import AttackerView
from fedrec.errors import ConfigError
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device import draws
from fedrec.kernels.philox import Stream
from fedrec.kernels.sums import mean_row, squared_norms, total
from fedrec.rng import Streams
from fedrec.updates import Gradient, Updates


def item_norm_statistics(
    updates: Updates, over_all_items: bool
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return mean μ and standard deviation σ of the item gradients' L2 norms (section 4.1).

    They are taken over all (client, item) pairs, or over the pairs that the clients' data touch.
    The gradient of an untouched pair is ridge[c]·v_i, so its norm needs no dense gradient.
    """
    if updates.whole and not over_all_items:
        raise ConfigError(
            "norms_over: touched_items: on a GPU the touched items are not recorded; "
            "run this cell with --device cpu"
        )
    norms = updates.row_norms().double()
    if updates.whole:
        return norms.mean().float(), norms.std().float()
    count, whole, squares = len(norms), total(norms), total(norms.square())
    if over_all_items:
        table = squared_norms(updates.table).sqrt().double()
        ridge = updates.ridge.double().abs()
        untouched = ridge[updates.owner] * table[updates.item]
        count = len(updates) * len(table)
        whole = whole + total(ridge) * total(table) - total(untouched)
        of_all = total(ridge.square()) * total(table.square())
        squares = squares + of_all - total(untouched.square())
    mean = whole / count
    variance = (squares - count * mean.square()) / (count - 1)
    return mean.float(), variance.clamp(min=0).sqrt().float()


def coordinate_statistics(updates: Updates) -> tuple[Gradient, Gradient]:
    """Return mean μ and standard deviation σ of each coordinate over the clients.

    σ divides by n − 1, as for the norms above. For a single client σ is 0.
    """
    n = len(updates)
    if updates.whole:
        return _statistics_of(updates)
    center = (total(updates.ridge) / n).float()
    summed, squares = updates.moments(center)
    variance = squares.sub_(summed.square() / n).div_(max(n - 1, 1)).clamp_(min=0)
    mean, spread = dense_statistics(updates.dense)
    items = summed.div_(n).add_(updates.table * center)
    return Gradient(items, mean), Gradient(variance.sqrt_(), spread)


def dense_statistics(
    dense: Float[Tensor, "n params"],
) -> tuple[Float[Tensor, " params"], Float[Tensor, " params"]]:
    """Return μ and σ of each coordinate of the dense parts; for a single client σ is 0."""
    # std() warns about a single client and about an empty tensor.
    spread = dense.std(0) if len(dense) > 1 and dense.numel() else torch.zeros_like(dense[0])
    return mean_row(dense), spread


def mean_and_deviation(x: Float[Tensor, " n"]) -> tuple[Float64[Tensor, ""], Float64[Tensor, ""]]:
    """Return μ and σ of a number of each client; for a single client σ is 0."""
    mean = total(x) / len(x)
    squares = total((x.double() - mean).square())
    return mean, (squares / max(len(x) - 1, 1)).sqrt()


def _statistics_of(whole: Updates) -> tuple[Gradient, Gradient]:
    """Return the same statistics for uploads in a dense stack."""
    parts = whole.stack, whole.dense
    center = Gradient(*(part.mean(0) for part in parts))
    if len(whole) == 1:
        return center, center.map(torch.zeros_like)
    # std() warns about an empty tensor.
    return center, Gradient(*(part.std(0) if part.numel() else part[0] for part in parts))


class Law(NamedTuple):
    """A distribution that the host or a GPU draws; both use the same random bits."""

    host: Callable[[Stream, tuple[int, ...]], Float[np.ndarray, "..."]]
    device: Callable[..., Float[Tensor, "n rows width"]]


UNIFORM, NORMAL = Law(Stream.uniform, draws.uniform), Law(Stream.normal, draws.normal)


def normal_updates(view: AttackerView, count: int, streams: Streams) -> Updates:
    """Compute benign gradients of up to `count` malicious clients, chosen anew each round.

    The computation is complete, with dropout and penalty (both uploads; UA-FedRec of Yi et al.).
    """
    return benign_updates(view, normal_clients(view, count, streams), streams)


def normal_clients(view: AttackerView, count: int, streams: Streams) -> Int[Tensor, " n"]:
    """Draw the positions in `view.devices` of up to `count` distinct malicious clients."""
    pool = len(view.devices.local)
    return streams.drawn(
        lambda own: own.generator("normal-clients").choice(pool, min(count, pool), replace=False)
    )


def benign_updates(view: AttackerView, positions: Int[Tensor, " n"], streams: Streams) -> Updates:
    """Compute benign gradients of the malicious clients at `positions` in `view.devices`."""
    return view.devices.gradients(view.shared, positions, streams).updates


def forged_everywhere(view: AttackerView, forged: Gradient) -> Updates:
    """Make the uploads of the malicious clients from one gradient each, or one for all."""
    m = len(view)
    items = forged.items.expand(m, *forged.items.shape[-2:])
    dense = forged.dense.expand(m, forged.dense.shape[-1])
    return Updates.over_all_items(view.benign, items.contiguous(), dense.contiguous())


def of_each_coordinate(
    like: Gradient, law: Law, purpose: str, view: AttackerView, streams: Streams
) -> Gradient:
    """Draw a number for each coordinate of a gradient, from each malicious client's own streams."""
    items = _drawn(like.items, law, purpose, view, streams)
    rows = _drawn(like.dense[None], law, f"{purpose}-dense", view, streams)
    return Gradient(items, rows[:, 0])


def _drawn(
    like: Float[Tensor, "rows d"], law: Law, purpose: str, view: AttackerView, streams: Streams
) -> Float[Tensor, "m rows d"]:
    if on_cpu(like):
        return view.drawn(streams, lambda own, c: law.host(own.of(purpose, c), tuple(like.shape)))
    return law.device(streams.of_clients(purpose), view.clients, *like.shape)
