"""What an attack may know, and what it must give."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.clients import Devices
from fedrec.models.base import Batch, Shared
from fedrec.rng import Stream, Streams
from fedrec.updates import Gradient, Updates

State = TypeVar("State")
# (a stream, a shape) -> numbers, such as `Stream.uniform`
Law = Callable[[Stream, tuple[int, ...]], Float[np.ndarray, "..."]]
OwnRow = Literal["poisoned", "benign"]
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
    """What an attack uploads for its selected clients, the state it carries on, what to record.

    `local` is the gradient by which these clients step their own parameters, which never leave
    them; None where they step as if they were honest.
    """

    updates: Updates
    state: State
    trace: Trace = field(default_factory=dict)
    local: Float[Tensor, "m k"] | None = None


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


def trained_on(
    batch: Batch, view: AttackerView, streams: Streams, own_row: OwnRow
) -> Forgery[None]:
    """Data poisoning: what training on a poisoned batch gives, the own rows' step as asked for."""
    found = view.devices.train(view.shared, view.selected, batch, streams)
    return Forgery(found.updates, None, local=found.local if own_row == "poisoned" else None)
