"""What an attack may know, and what it must give."""

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.clients import Devices
from fedrec.models.base import Shared
from fedrec.rng import Streams
from fedrec.updates import Updates

State = TypeVar("State")
Trace = dict[str, float | int]  # what an attack reports of one round, to be recorded


@dataclass(frozen=True)
class AttackerView:
    """What malicious clients hold in a round (paper, section 3.2), and nothing else.

    The broadcast parameters, and their own devices. No benign client's data or gradient and
    no aggregation rule can be reached from here.
    """

    shared: Shared
    devices: Devices  # of every malicious client, in this round's cohort or not
    selected: Int[Tensor, " m"]  # positions in `devices` of those in the cohort
    benign: Updates  # what the selected would upload if they were honest

    def __len__(self) -> int:
        """The number of malicious clients in the cohort."""
        return len(self.selected)


@dataclass(frozen=True)
class Forgery(Generic[State]):
    """What an attack uploads for its selected clients, the state it carries on, what to record."""

    updates: Updates
    state: State
    trace: Trace = field(default_factory=dict)


@runtime_checkable
class Attack(Protocol[State]):
    """An attack: its hyper-parameters and a pure step."""

    def initial_state(self) -> State:
        """The state before the first attacked round."""

    def forge(self, view: AttackerView, state: State, streams: Streams) -> Forgery[State]:
        """The uploads of the malicious clients of one round; the server descends them."""


def normal_updates(view: AttackerView, count: int, streams: Streams) -> Updates:
    """Benign-style gradients of up to `count` clients drawn from the malicious pool.

    All that an attacker can learn about normal gradients. The released code does so too.
    """
    pool = len(view.devices.local)
    chosen = streams.generator("normal-clients").choice(pool, min(count, pool), replace=False)
    positions = torch.from_numpy(chosen).to(view.selected.device)
    return view.devices.gradients(view.shared, positions, streams).updates


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
