"""The interface of attacks: what an attack knows, and what it returns."""

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
Trace = dict[str, float | int]  # what an attack reports about one round, for the record


@dataclass(frozen=True)
class AttackerView:
    """Everything that malicious clients know in a round (paper, section 3.2).

    This is the broadcast parameters and their own devices. It gives no access to a benign client's
    data or gradient, nor to the aggregation rule.
    """

    shared: Shared
    devices: Devices  # of all malicious clients, also of those outside this round's cohort
    selected: Int[Tensor, " m"]  # positions in `devices` of the malicious clients in the cohort
    benign: Updates  # what the selected clients would upload if they were honest
    # The user ids of the selected clients in a round; None: taken from `selected`.
    who: Callable[[Streams], Int[np.ndarray, " m"]] | None = None

    @property
    def clients(self) -> Int[Tensor, " m"]:
        """The user ids of the malicious clients in the cohort."""
        return self.devices.users.index_select(0, self.selected)

    def drawn(self, streams: Streams, draw: Callable[[Streams, int], np.ndarray]) -> Tensor:
        """Draw on the host, once for each malicious client in the cohort, given its user id."""

        def draw_all(own: Streams) -> np.ndarray:
            clients = self.who(own) if self.who else self.clients.cpu().numpy()
            return np.stack([draw(own, client) for client in clients.tolist()])

        return streams.drawn(draw_all)

    def __len__(self) -> int:
        """The number of malicious clients in the cohort."""
        return len(self.selected)


@dataclass(frozen=True)
class Forgery(Generic[State]):
    """The result of an attack in one round: forged uploads, next state, and values to record.

    `local` is the gradient with which these clients step their own parameters, which never leave
    the clients. None means that they step as if they were honest.
    """

    updates: Updates
    state: State
    trace: Trace = field(default_factory=dict)
    local: Float[Tensor, "m k"] | None = None
    seen: Float64[Tensor, ""] | None = None  # on a GPU: the number to give `Learning.learn` later


@runtime_checkable
class Learning(Protocol[State]):
    """An attack whose next state depends on a number that `forge` computes.

    On a GPU the host reads the number only when it is needed, not while the round is played.
    """

    def learn(self, state: State, seen: float) -> tuple[State, Trace]:
        """Return the next state and the values to record, after a round that computed `seen`."""

    def recorded_for(self, state: State) -> Hashable:
        """Return the part of the state that `forge` uses. A change of it needs a new recording."""


@runtime_checkable
class Attack(Protocol[State]):
    """An attack: its hyper-parameters and a pure step.

    Its state is None or a frozen dataclass of numbers, so that a checkpoint can hold it.
    """

    def initial_state(self) -> State:
        """Return the state before the first attacked round."""

    def forge(self, view: AttackerView, state: State, streams: Streams) -> Forgery[State]:
        """Return the malicious clients' uploads of one round; the server steps against them."""
