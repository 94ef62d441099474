"""How clients step their own parameters, which never leave them."""

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.adam import BETAS, EPS, Adam
from fedrec.kernels.device.gradients import put_rows


@runtime_checkable
class LocalAdam(Protocol):
    """How the parameters that never leave the clients take their steps, in place."""

    def step(self, clients: Int[Tensor, " n"], gradient: Float[Tensor, "n k"]) -> None:
        """One step with the gradients of the clients that took part in the round."""

    def state(self) -> dict[str, Tensor]:
        """What it remembers beside the parameters, for `restore`."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave."""


class DenseAdam:
    """One Adam over the table of all clients' parameters, as in the authors' code.

    Clients that are absent have a zero gradient, and drift on stale momentum.
    """

    def __init__(self, local: Float[Tensor, "users k"], learning_rate: float) -> None:
        self._gradient = torch.zeros_like(local)
        self._adam = Adam([local], learning_rate)

    def step(self, clients: Int[Tensor, " n"], gradient: Float[Tensor, "n k"]) -> None:
        """One step of the whole table."""
        put_rows(self._gradient, clients, gradient)
        self._adam.step([self._gradient])
        put_rows(self._gradient, clients, torch.zeros_like(gradient))

    def state(self) -> dict[str, Tensor]:
        """Adam's moments and step count."""
        return self._adam.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Have Adam remember what `state` gave."""
        self._adam.restore(state)


class LazyAdam:
    """Each client keeps an Adam of its own, which steps only when the client takes part."""

    def __init__(self, local: Float[Tensor, "users k"], learning_rate: float) -> None:
        self._local, self._learning_rate = local, learning_rate
        self._mean, self._square = torch.zeros_like(local), torch.zeros_like(local)
        self._steps = local.new_zeros(len(local), 1)

    def step(self, clients: Int[Tensor, " n"], gradient: Float[Tensor, "n k"]) -> None:
        """One step of the rows of these clients."""
        beta1, beta2 = BETAS
        self._steps[clients] += 1
        # Each product and sum by itself: PyTorch fuses them in whole vectors, and not in the rest.
        self._mean[clients] = self._mean[clients] * beta1 + gradient * (1 - beta1)
        self._square[clients] = self._square[clients] * beta2 + gradient.square() * (1 - beta2)
        steps = self._steps[clients].flatten().tolist()
        correction1, correction2 = (
            gradient.new_tensor([1 - beta**step for step in steps])[:, None] for beta in BETAS
        )
        mean, square = self._mean[clients] / correction1, self._square[clients] / correction2
        self._local[clients] -= self._learning_rate * mean / (square.sqrt() + EPS)

    def state(self) -> dict[str, Tensor]:
        """Every client's moments and step count."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave."""
        self._mean, self._square, self._steps = state["mean"], state["square"], state["steps"]


def local_adam(
    rule: Literal["dense", "lazy"], local: Float[Tensor, "users k"], learning_rate: float
) -> LocalAdam:
    """The optimiser of the clients' own parameters, by the protocol's rule."""
    return DenseAdam(local, learning_rate) if rule == "dense" else LazyAdam(local, learning_rate)
