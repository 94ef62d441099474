"""What an attack may know, and what it must give."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from fedrec.clients import Devices
from fedrec.models.base import Shared
from fedrec.rng import Stream, Streams
from fedrec.updates import Gradient, Updates

State = TypeVar("State")
# (μ, σ, a client's own random stream) -> what it uploads, of the same shape
Draw = Callable[[Tensor, Tensor, Stream], Tensor]
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
    """An attack: its hyper-parameters and a pure step.

    Its state is None, or a frozen dataclass of numbers, which a checkpoint can hold.
    """

    def initial_state(self) -> State:
        """The state before the first attacked round."""

    def forge(self, view: AttackerView, state: State, streams: Streams) -> Forgery[State]:
        """The uploads of the malicious clients of one round; the server descends them."""


def normal_updates(view: AttackerView, count: int, streams: Streams) -> Updates:
    """Benign-style gradients of up to `count` clients drawn from the malicious pool.

    The released code of ClusterAttack estimates from them too, and so does UA-FedRec (Yi et al.).
    """
    pool = len(view.devices.local)
    chosen = streams.generator("normal-clients").choice(pool, min(count, pool), replace=False)
    positions = torch.from_numpy(chosen).to(view.selected.device)
    return view.devices.gradients(view.shared, positions, streams).updates


def forged_everywhere(
    view: AttackerView,
    mean: Gradient,
    deviation: Gradient,
    draw: Draw,
    purpose: str,
    streams: Streams,
) -> Updates:
    """Uploads whose every coordinate `draw` makes from the normal μ and σ, client by client."""
    clients = view.devices.users[view.selected].tolist()
    of_items = [streams.of(purpose, client) for client in clients]
    of_dense = [streams.of(f"{purpose}-dense", client) for client in clients]
    items = torch.stack([draw(mean.items, deviation.items, stream) for stream in of_items])
    dense = torch.stack([draw(mean.dense, deviation.dense, stream) for stream in of_dense])
    return Updates.over_all_items(view.benign, items, dense)
