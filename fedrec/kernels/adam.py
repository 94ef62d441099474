"""Adam (Kingma and Ba 2015): by a compiled loop on the CPU, by PyTorch's fused kernel elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam

from fedrec.kernels.threads import row_ranges, spread

BETAS, EPS = (0.9, 0.999), 1e-8


class Moments(NamedTuple):
    """What Adam remembers of one parameter, by PyTorch's names."""

    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor  # a float32 scalar, as the fused kernel wants it


class Adam:
    """Steps some parameters in place, in one pass over memory.

    `torch.optim.Adam` would do the same on a GPU, but making one imports PyTorch's compiler: 2 s
    for every job. On a CPU its last bits are those of the machine's vectors; the loop's are not.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self._parameters, self._learning_rate = list(parameters), learning_rate
        self.moments = [
            Moments(torch.zeros_like(p), torch.zeros_like(p), p.new_zeros(()))
            for p in self._parameters
        ]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step down the gradients, one for each parameter."""
        if all(parameter.device.type == "cpu" for parameter in self._parameters):
            for given in zip(self._parameters, gradients, self.moments, strict=True):
                self._step_on_cpu(*given)
            return
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

    def _step_on_cpu(self, parameter: Tensor, gradient: Tensor, moments: Moments) -> None:
        from fedrec.kernels.vectors import adam_update  # numba takes a while to import

        moments.step.add_(1)
        step = int(moments.step)
        size, correction = self._learning_rate / (1 - BETAS[0] ** step), 1 - BETAS[1] ** step
        given = (parameter, gradient, moments.exp_avg, moments.exp_avg_sq)
        arrays = [tensor.detach().reshape(-1).numpy() for tensor in given]
        arguments: list[Any] = [*arrays, BETAS, EPS, correction, size]
        spread(lambda part: adam_update(*[*arguments, *part]), row_ranges(len(arrays[0])))

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
