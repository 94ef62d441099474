"""Adam (Kingma and Ba 2015), as PyTorch's fused kernel has it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS, EPS = (0.9, 0.999), 1e-8


class Moments(NamedTuple):
    """What Adam remembers of one parameter, by PyTorch's names."""

    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor  # a float32 scalar, as the fused kernel wants it


class Adam:
    """Steps some parameters in place, in one pass over memory.

    `torch.optim.Adam` would do the same to the bit, but making one imports PyTorch's compiler: 2 s
    for every job.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self._parameters, self._learning_rate = list(parameters), learning_rate
        self.moments = [
            Moments(torch.zeros_like(p), torch.zeros_like(p), p.new_zeros(()))
            for p in self._parameters
        ]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step down the gradients, one for each parameter."""
        means, squares, steps = map(list, zip(*self.moments, strict=True))
        adam(
            self._parameters,
            list(gradients),
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self._learning_rate,
            weight_decay=0,
            eps=EPS,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """The moments, as `<parameter>.<name>`, for `restore`."""
        return {
            f"{i}.{name}": value
            for i, moments in enumerate(self.moments)
            for name, value in moments._asdict().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave."""
        for name, value in self.state().items():
            value.copy_(state[name])
