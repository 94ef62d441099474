"""The interface of attacks: what an attack knows, and what it returns."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int
from torch import Tensor

from fedrec.clients.devices import Devices
from fedrec.models.base import Shared
from fedrec.rng import Streams
from fedrec.server import Preview
from fedrec.updates import Gradient, Updates

State = TypeVar("State")
Trace = dict[str, float | int]  # what an attack reports about one round, for the record

# What an attack knows besides the broadcast parameters and its own devices; see `knowledge_of`.
Knowledge = Literal["own data", "the server's preview", "the aggregation rule"]
# What malicious clients would upload if they were honest: of positions in `devices`.
Honest = Callable[[Int[Tensor, " n"], Streams], Updates]


@dataclass(frozen=True)
class AttackerView:
    """Everything that malicious clients know in a round (paper, section 3.2).

    This is the broadcast parameters and their own devices. It gives no access to a benign client's
    data or gradient, nor to the aggregation rule. An attack that assumes more declares it with
    `knows`, and gets a `PreviewingView` or a `KnowingView`.
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
class PreviewingView(AttackerView):
    """The view of attackers that can preview the server's step (`knows`: the server's preview).

    `honest` includes the task that the defence gives to clients, which every client must know.
    """

    honest: Honest = field(kw_only=True)
    preview: Preview = field(kw_only=True)


@dataclass(frozen=True)
class KnowingView(AttackerView):
    """The view of attackers that can run the server's rule (`knows`: the aggregation rule).

    `aggregate` is the server's defence with all its settings and the server's parameters. It has
    random draws of its own, so the attacker does not learn which items or coordinates the server
    samples. It takes only uploads that the attacker can compute: those of its own clients.
    """

    honest: Honest = field(kw_only=True)
    aggregate: Callable[[Updates], Gradient] = field(kw_only=True)


class ServerRule(NamedTuple):
    """What there is to know about the server and its defence."""

    honest: Honest
    preview: Preview
    aggregate: Callable[[Updates], Gradient]

    def shown(self, view: AttackerView, knows: Knowledge) -> AttackerView:
        """Add to a view what an attack of this knowledge may use."""
        if knows == "the server's preview":
            return PreviewingView(**vars(view), honest=self.honest, preview=self.preview)
        if knows == "the aggregation rule":
            return KnowingView(**vars(view), honest=self.honest, aggregate=self.aggregate)
        return view


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
    # On a GPU: the number or numbers to give `Learning.learn` later.
    seen: Float64[Tensor, "*numbers"] | None = None


@runtime_checkable
class Learning(Protocol[State]):
    """An attack whose next state depends on numbers that `forge` computes.

    On a GPU the host reads them only when they are needed, not while the round is played.
    """

    def learn(self, state: State, seen: Any) -> tuple[State, Trace]:
        """Return the next state and the values to record, after a round that computed `seen`.

        `seen` is a float, or a list of floats if `Forgery.seen` has several numbers.
        """

    def recorded_for(self, state: State) -> Hashable:
        """Return the part of the state that `forge` uses. A change of it needs a new recording."""


@runtime_checkable
class Attack(Protocol[State]):
    """An attack: its hyper-parameters and a pure step.

    Its state is None or a frozen dataclass of numbers, so that a checkpoint can hold it. A class
    attribute `knows` declares its threat model (`knowledge_of`).
    """

    def initial_state(self) -> State:
        """Return the state before the first attacked round."""

    def forge(self, view: AttackerView, state: State, streams: Streams) -> Forgery[State]:
        """Return the malicious clients' uploads of one round; the server steps against them."""


def knowledge_of(attack: Any) -> Knowledge:
    """Return what an attack declares to know, in its class attribute `knows`."""
    knows: Knowledge = getattr(attack, "knows", "own data")
    return knows
