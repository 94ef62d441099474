"""What attacks share that forge uploads: normal gradients, their statistics, their imitation."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedrec.attacks.base import AttackerView
from fedrec.kernels.philox import Stream
from fedrec.kernels.sums import mean_row, squared_norms, total
from fedrec.rng import Streams
from fedrec.updates import Gradient, Updates


def item_norm_statistics(
    updates: Updates, over_all_items: bool
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean μ and standard deviation σ of the L2 norms of item-embedding gradients (section 4.1).

    Over all (client, item) pairs, or over those that the clients' data touch. Elsewhere a
    gradient is ridge[c]·v_i, so its norm needs no dense gradient.
    """
    norms = updates.row_norms().double()
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
    """Mean μ and standard deviation σ of each coordinate over the clients.

    σ divides by n − 1, as in the norms above; a single client has none, and σ is 0.
    """
    n = len(updates)
    center = (total(updates.ridge) / n).float()
    excess = updates.ridge - center
    # Deviations from center·table: where all ridges are equal, only touched rows have any.
    untouched = excess[updates.owner][:, None] * updates.table[updates.item]
    touched = updates.value + untouched
    summed = torch.zeros_like(updates.table).index_add_(0, updates.item, updates.value)
    squares = updates.table.square() * total(excess.square()).float()
    squares.index_add_(0, updates.item, touched.square_().sub_(untouched.square_()))
    variance = squares.sub_(summed.square() / n).div_(max(n - 1, 1)).clamp_(min=0)
    dense = updates.dense
    # std() warns of a single client, and of an empty tensor.
    spread = dense.std(0) if n > 1 and dense.numel() else torch.zeros_like(dense[0])
    mean = Gradient(summed.div_(n).add_(updates.table * center), mean_row(dense))
    return mean, Gradient(variance.sqrt_(), spread)


# (a stream, a shape) -> numbers, such as `Stream.uniform`
Law = Callable[[Stream, tuple[int, ...]], Float[np.ndarray, "..."]]


def normal_updates(view: AttackerView, count: int, streams: Streams) -> Updates:
    """Benign-style gradients of up to `count` malicious clients, drawn anew in each round.

    Each computes in full, dropout and penalty included (both uploads; UA-FedRec of Yi et al.).
    """
    pool = len(view.devices.local)
    chosen = streams.generator("normal-clients").choice(pool, min(count, pool), replace=False)
    positions = torch.from_numpy(chosen).to(view.selected.device)
    return view.devices.gradients(view.shared, positions, streams).updates


def forged_everywhere(view: AttackerView, draw: Callable[[int], Gradient]) -> Updates:
    """Uploads whose every coordinate `draw` makes, given the id of a malicious client."""
    drawn = [draw(client) for client in view.devices.users[view.selected].tolist()]
    items, dense = torch.stack([g.items for g in drawn]), torch.stack([g.dense for g in drawn])
    return Updates.over_all_items(view.benign, items, dense)


def of_each_coordinate(
    like: Gradient, law: Law, purpose: str, client: int, streams: Streams
) -> Gradient:
    """A number for each coordinate of a gradient, from a client's own streams."""

    def drawn(part: Tensor, name: str) -> Tensor:
        numbers = law(streams.of(name, client), tuple(part.shape))
        return torch.from_numpy(numbers).to(part.device)

    return Gradient(drawn(like.items, purpose), drawn(like.dense, f"{purpose}-dense"))
