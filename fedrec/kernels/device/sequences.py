"""What a sequential model reads, what it predicts, and where their gradients belong.

Client c has one token for each of its latest items, except the very last, at most as many as there
are positions. Token t reads an item, and predicts the next. Rows are padded at the end.
"""

from math import sqrt
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from fedrec.kernels.device.gradients import Tables
from fedrec.kernels.device.operation import operation
from fedrec.kernels.device.resident import Resident
from fedrec.kernels.device.transformer import States, Wide, with_one
from fedrec.kernels.dropout import Mask, dropped

Positions = Float[Tensor, "n length d"]
ToItems = Float[Tensor, "n three_times d"]  # gradients of the items at `Tokens.places`


class Tokens(NamedTuple):
    """The tokens of some clients; `states` and `apart` are 0 where a row is padded."""

    states: Wide  # dropout(√d · item embedding + position embedding)
    apart: States  # embedding of the positive minus that of the negative
    places: Int[Tensor, "n three_times"]  # items read, positives, negatives; −1: padding
    counts: Int[Tensor, " n"]


def longest(resident: Resident, length: int) -> int:
    """Return the length of the padded rows."""
    return max(min(length, resident.longest - 1), 1)


@operation("sequences")
def tokens(
    table: Tables, positions: Positions, resident: Resident, time: int, mask: Mask | None
) -> Tokens:
    """Look up the tokens of clients. The latest has the last position, as in the original code."""
    (n, length, d), sizes = positions.shape, resident.sizes
    counts = (sizes - 1).clamp(min=0, max=length)
    t, used = torch.arange(time, device=sizes.device), _used(counts, time)
    number = (sizes - 1 - counts)[:, None] + t
    read = resident.history[(resident.pasts[:, None] + number).where(used, 0)]
    target = (resident.starts[:, None] + number + 1).where(used, 0)
    named = read, resident.positive[target], resident.negative[target]
    tables = table.expand(n, *table.shape[-2:])
    owner = torch.arange(n, device=sizes.device)[:, None]
    past, positive, negative = (tables[owner, items] * used[:, :, None] for items in named)
    place = (length - counts[:, None] + t).where(used, 0)
    states = (past * sqrt(d) + positions[owner, place]) * used[:, :, None]
    places = torch.cat([items.where(used, -1) for items in named], 1)
    return Tokens(with_one(dropped(states, mask)), positive - negative, places, counts)


@operation("sequences")
def bpr_slopes(
    states: Wide, apart: States, counts: Int[Tensor, " n"], to_items: ToItems
) -> tuple[Float[Tensor, "n time"], States]:
    """Return each token's share of its client's mean BPR loss, and the gradient of the states.

    The gradients of positives and negatives are written to their two thirds of `to_items`.
    """
    time, used = apart.shape[1], _used(counts, apart.shape[1])
    share = used / counts.clamp(min=1)[:, None].to(apart.dtype)
    x = (states[:, :, :-1] * apart).sum(2)
    slope = (-share * (-x).sigmoid())[:, :, None]
    to_items[:, time : 2 * time] = slope * states[:, :, :-1]
    to_items[:, 2 * time :] = -to_items[:, time : 2 * time]
    return -logsigmoid(x) * share, slope * apart


@operation("sequences")
def tokens_back(
    gradient: States, counts: Int[Tensor, " n"], to_items: ToItems, to_positions: Positions
) -> None:
    """Write the gradients of the items that are read, and add those of the positions.

    `gradient` is that of √d · item embedding + position embedding; it is 0 where a row is padded.
    """
    time, d = gradient.shape[1:]
    to_items[:, :time] = gradient * sqrt(d)
    owner, t = _used(counts, time).nonzero().unbind(1)
    to_positions[owner, to_positions.shape[1] - counts[owner] + t] += gradient[owner, t]


def _used(counts: Int[Tensor, " n"], time: int) -> Bool[Tensor, "n time"]:
    """Return which places of the padded rows have a token."""
    return torch.arange(time, device=counts.device) < counts[:, None]
