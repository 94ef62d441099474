"""Optimisers of the clients' own parameters, which never leave the clients."""

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.adam import BETAS, EPS, Adam
from fedrec.kernels.device.gradients import put_rows


@runtime_checkable
class LocalAdam(Protocol):
    """An optimiser that updates the clients' own parameters in place."""

    def step(self, clients: Int[Tensor, " n"], gradient: Float[Tensor, "n k"]) -> None:
        """Take one step with the gradients of the clients that took part in the round."""

    def state(self) -> dict[str, Tensor]:
        """Return the optimiser's state, without the parameters, for `restore`."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore the state that `state` returned."""


class DenseAdam:
    """One Adam over the table of all clients' parameters, as in the authors' code.

    Absent clients have a zero gradient, so their parameters drift with stale momentum.
    """

    def __init__(self, local: Float[Tensor, "users k"], learning_rate: float) -> None:
        self._gradient = torch.zeros_like(local)
        self._adam = Adam([local], learning_rate)

    def step(self, clients: Int[Tensor, " n"], gradient: Float[Tensor, "n k"]) -> None:
        """Take one step of the whole table."""
        put_rows(self._gradient, clients, gradient)
        self._adam.step([self._gradient])
        put_rows(self._gradient, clients, torch.zeros_like(gradient))

    def state(self) -> dict[str, Tensor]:
        """Return Adam's moments and step count."""
        return self._adam.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore Adam's moments and step count."""
        self._adam.restore(state)


class LazyAdam:
    """A separate Adam for each client, which steps only when the client takes part."""

    def __init__(self, local: Float[Tensor, "users k"], learning_rate: float) -> None:
        self._local, self._learning_rate = local, learning_rate
        self._mean, self._square = torch.zeros_like(local), torch.zeros_like(local)
        self._steps = local.new_zeros(len(local), 1)

    def step(self, clients: Int[Tensor, " n"], gradient: Float[Tensor, "n k"]) -> None:
        """Take one step of the rows of these clients."""
        beta1, beta2 = BETAS
        self._steps[clients] += 1
        # Products and sums are separate operations: PyTorch would fuse them in full vectors, but
        # not in the remainder.
        self._mean[clients] = self._mean[clients] * beta1 + gradient * (1 - beta1)
        self._square[clients] = self._square[clients] * beta2 + gradient.square() * (1 - beta2)
        steps = self._steps[clients].flatten().tolist()
        correction1, correction2 = (
            gradient.new_tensor([1 - beta**step for step in steps])[:, None] for beta in BETAS
        )
        mean, square = self._mean[clients] / correction1, self._square[clients] / correction2
        self._local[clients] -= self._learning_rate * mean / (square.sqrt() + EPS)

    def state(self) -> dict[str, Tensor]:
        """Return every client's moments and step count."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore every client's moments and step count."""
        self._mean, self._square, self._steps = state["mean"], state["square"], state["steps"]


def local_adam(
    rule: Literal["dense", "lazy"], local: Float[Tensor, "users k"], learning_rate: float
) -> LocalAdam:
    """Make the optimiser of the clients' own parameters that the protocol's rule names."""
    return DenseAdam(local, learning_rate) if rule == "dense" else LazyAdam(local, learning_rate)
