"""Mimic: all malicious clients upload what one client would (Karimireddy, He and Jaggi 2022)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int
from pydantic import Field
from torch import Tensor

from fedrec.attacks._normal_gradients import benign_updates, forged_everywhere, normal_clients
from fedrec.attacks.base import AttackerView, Forgery, Trace
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device.stacks import constant
from fedrec.kernels.sums import mean_row
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates


@dataclass(frozen=True)
class Choice:
    """The state of Mimic."""

    rounds: int = 0  # attacked rounds in which a client was chosen
    target: int | None = None  # the chosen client: its position among all malicious clients


@settings
class Mimic:
    """All malicious clients of a round upload the benign gradient of one chosen client.

    The uploads look honest, but one client counts too often, and others too little. The chosen
    client's gradient has the largest projection on the direction z in which the normal gradients
    vary most (Karimireddy, He and Jaggi 2022, "Byzantine-robust learning on heterogeneous datasets
    via bucketing"). After the first attacked rounds, the choice is kept.

    There are three differences. The attacker of the source sees all honest clients in every round;
    here it chooses among its own clients, which need not be in the cohort. The source learns z over
    its warm-up by Oja's updates from a random start, so chance decides z's sign. Here z comes from
    the current round alone, because a state holds numbers and no vector of the model's size: z is
    the first principal component of the normal gradients, with the sign of its largest projection.
    """

    warmup: int = Field(
        default=1,
        ge=1,
        description="Attacked rounds that choose a client anew; the last choice is kept (default "
        "of the authors' code: 1).",
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients among which one is chosen.",
    )

    def initial_state(self) -> Choice:
        """Return the state before a client is chosen."""
        return Choice()

    def forge(self, view: AttackerView, state: Choice, streams: Streams) -> Forgery[Choice]:
        """Return the chosen client's benign gradient for every malicious client."""
        if (kept := self.recorded_for(state)) is not None:
            position = constant((kept,), view.selected.device)
            return Forgery(copies(view, position, streams), state, {"target": kept})
        positions = normal_clients(view, self.normal_clients, streams)
        normal = benign_updates(view, positions, streams)
        position = positions[most_extreme(normal.gram())]
        updates = copies(view, position, streams)
        if not on_cpu(position):
            return Forgery(updates, state, seen=position[0].double())
        return Forgery(updates, *self.learn(state, float(position)))

    def learn(self, state: Choice, seen: float) -> tuple[Choice, Trace]:
        """Keep the client that this round chose."""
        return Choice(state.rounds + 1, int(seen)), {"target": int(seen)}

    def recorded_for(self, state: Choice) -> int | None:
        """Return the chosen client, or None if this round chooses one."""
        return state.target if state.rounds >= self.warmup else None


def most_extreme(gram: Float64[Tensor, "n n"]) -> Int[Tensor, "1"]:
    """Return the place of the upload with the largest projection on the first principal component.

    The projections of the centred uploads are proportional to the first eigenvector of their inner
    products.
    """
    mean = mean_row(gram)
    centred = gram - mean - mean[:, None] + mean_row(mean[:, None])
    return torch.linalg.eigh(centred).eigenvectors[:, -1].abs().argmax()[None]


def copies(view: AttackerView, position: Int[Tensor, "1"], streams: Streams) -> Updates:
    """Make all malicious clients upload what the client at `position` would if it were honest."""
    own = benign_updates(view, position, streams)
    return forged_everywhere(view, own.weighted_sum(torch.ones_like(own.weight)))
