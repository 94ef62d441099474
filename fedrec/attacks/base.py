"""What an attack may know, and what it must give."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int
from torch import Tensor

from fedrec.clients.devices import Devices
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
    # Their user ids in a round; None: those of `selected`.
    who: Callable[[Streams], Int[np.ndarray, " m"]] | None = None

    @property
    def clients(self) -> Int[Tensor, " m"]:
        """The user ids of the malicious clients in the cohort."""
        return self.devices.users.index_select(0, self.selected)

    def drawn(self, streams: Streams, draw: Callable[[Streams, int], np.ndarray]) -> Tensor:
        """What the host draws for each malicious client in the cohort, given its user id."""

        def draw_all(own: Streams) -> np.ndarray:
            clients = self.who(own) if self.who else self.clients.cpu().numpy()
            return np.stack([draw(own, client) for client in clients.tolist()])

        return streams.drawn(draw_all)

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
    seen: Float64[Tensor, ""] | None = None  # on a GPU, what `Learning.learn` is to be told later


@runtime_checkable
class Learning(Protocol[State]):
    """An attack whose next state hangs on a number that its forging finds.

    On a GPU the host learns of the number when it must, and not while the round is played.
    """

    def learn(self, state: State, seen: float) -> tuple[State, Trace]:
        """The next state, and what is to be recorded, after a round that found `seen`."""

    def recorded_for(self, state: State) -> Hashable:
        """All of the state that `forge` hangs on: a round is recorded anew where it changes."""


@runtime_checkable
class Attack(Protocol[State]):
    """An attack: its hyper-parameters and a pure step.

    Its state is None, or a frozen dataclass of numbers, which a checkpoint can hold.
    """

    def initial_state(self) -> State:
        """The state before the first attacked round."""

    def forge(self, view: AttackerView, state: State, streams: Streams) -> Forgery[State]:
        """The uploads of the malicious clients of one round; the server descends them."""
