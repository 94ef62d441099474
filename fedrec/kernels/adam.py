"""Adam (Kingma and Ba 2015): a compiled loop on the CPU, a kernel on a GPU."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.compiled import Array, arrays, compiled, on_cpu
from fedrec.kernels.device.operation import operation
from fedrec.kernels.threads import row_ranges, spread
from fedrec.kernels.vectors import fused

BETAS, EPS = (0.9, 0.999), 1e-8


class Moments(NamedTuple):
    """Adam's state for one parameter, with PyTorch's names."""

    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor  # a float32 scalar


class Tables(NamedTuple):
    """A parameter, and the running means of its gradients and of their squares."""

    value: Float[Array, "*shape"]
    mean: Float[Array, "*shape"]
    square: Float[Array, "*shape"]


class Step(NamedTuple):
    """The constants of one step of Adam."""

    betas: tuple[float, float]
    eps: float
    correction: float | Tensor  # of the mean square: 1 − β₂ᵗ
    size: float | Tensor  # η / (1 − β₁ᵗ)

    @staticmethod
    def number(t: int, learning_rate: float) -> "Step":
        """Return the constants of step t, counted from 1."""
        return Step(BETAS, EPS, 1 - BETAS[1] ** t, learning_rate / (1 - BETAS[0] ** t))


class Adam:
    """Updates parameters in place, in one pass over memory.

    `torch.optim.Adam` gives the same, but constructing it imports PyTorch's compiler: 2 s for every
    job. Its last bits on a CPU depend on the width of the machine's vectors; those of the loop do
    not. On a GPU its fused kernel takes 30 µs for such small tables, as it leaves most of the card
    idle.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self._parameters, self._learning_rate = list(parameters), learning_rate
        self.moments = [
            Moments(torch.zeros_like(p), torch.zeros_like(p), p.new_zeros(()))
            for p in self._parameters
        ]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step down the gradients, one gradient for each parameter."""
        for given in zip(self._parameters, gradients, self.moments, strict=True):
            adam_step(*given, self._learning_rate)

    def preview(
        self, which: int, gradient: Float[Tensor, "rows d"], row: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows d"]:
        """Return a parameter's row for each gradient after a step down it; change nothing."""
        moments = self.moments[which]
        tables = Tables(self._parameters[which], moments.exp_avg, moments.exp_avg_sq)
        if not on_cpu(moments.step):
            return _tensor_rows(gradient, row, tables, self._next_step(moments.step + 1))
        step = Step.number(int(moments.step) + 1, self._learning_rate)
        return (_compiled_rows if on_cpu(gradient) else _tensor_rows)(gradient, row, tables, step)

    def _next_step(self, t: Tensor) -> "Step":
        """Return `Step.number` of a count that is on the device."""
        after = [1 - torch.pow(beta, t.double()) for beta in BETAS]
        return Step(BETAS, EPS, after[1].float(), (self._learning_rate / after[0]).float())

    def state(self) -> dict[str, Tensor]:
        """Return the moments, as `<parameter>.<name>`, for `restore`."""
        return {
            f"{i}.{name}": value
            for i, moments in enumerate(self.moments)
            for name, value in moments._asdict().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore the moments from `state`."""
        for name, value in self.state().items():
            value.copy_(state[name])


@operation("adam")
def adam_step(
    parameter: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    moments: Moments,
    learning_rate: float,
) -> None:
    """Take one step of a parameter down its gradient, and update the moments."""
    moments.step.add_(1)
    step = Step.number(int(moments.step), learning_rate)
    given = (parameter, moments.exp_avg, moments.exp_avg_sq)
    tables: Tables = arrays(Tables(*(x.detach().reshape(-1) for x in given)))
    down = gradient.detach().reshape(-1).numpy()
    spread(lambda part: adam_update(tables, down, step, *part), row_ranges(len(down)))


def _compiled_rows(
    gradient: Float[Tensor, "rows d"], row: Int[Tensor, " rows"], tables: Tables, step: Step
) -> Float[Tensor, "rows d"]:
    out = torch.empty_like(gradient)
    own: Tables = arrays(tables)
    given = (gradient.numpy(), row.numpy(), own, step, out.numpy())
    spread(lambda part: adam_rows(*given, *part), row_ranges(len(row)))
    return out


def _tensor_rows(
    gradient: Float[Tensor, "rows d"], row: Int[Tensor, " rows"], tables: Tables, step: Step
) -> Float[Tensor, "rows d"]:
    value, mean, square = (table.index_select(0, row) for table in tables)
    (beta1, beta2), eps, correction, size = step
    mean.mul_(beta1).add_(gradient, alpha=1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2).div_(correction)
    return value.sub_(mean.div_(square.sqrt_().add_(eps)).mul_(size))


@compiled()
def adam_update(
    tables: Tables,
    gradient: Float[np.ndarray, " n"],
    step: Step,
    first: int,
    end: int,
) -> None:
    """Take Adam's step down a gradient in flat tables, from `first` to `end`."""
    old1, new1 = np.float32(step.betas[0]), np.float32(1 - step.betas[0])
    old2, new2 = np.float32(step.betas[1]), np.float32(1 - step.betas[1])
    eta, tiny = np.float32(step.size), np.float32(step.eps)
    whole, own = np.float32(1 / step.correction), gradient[first:end]
    v, m, s = tables.value[first:end], tables.mean[first:end], tables.square[first:end]
    for k in range(len(v)):
        m[k] = fused(new1, own[k], old1 * m[k])
        s[k] = fused(new2 * own[k], own[k], old2 * s[k])
        v[k] -= eta * m[k] / (np.sqrt(s[k] * whole) + tiny)


@compiled()
def adam_rows(
    gradient: Float[np.ndarray, "rows d"],
    item: Int[np.ndarray, " rows"],
    tables: Tables,
    step: Step,
    out: Float[np.ndarray, "rows d"],
    first: int,
    end: int,
) -> None:
    """out = the item's row after `adam_update` with each gradient, from `first` to `end`."""
    old1, new1 = np.float32(step.betas[0]), np.float32(1 - step.betas[0])
    old2, new2 = np.float32(step.betas[1]), np.float32(1 - step.betas[1])
    eta, tiny = np.float32(step.size), np.float32(step.eps)
    whole = np.float32(1 / step.correction)
    for r in range(first, end):
        row, own, m, s = out[r], gradient[r], tables.mean[item[r]], tables.square[item[r]]
        v = tables.value[item[r]]
        for k in range(len(v)):
            after = fused(new1, own[k], old1 * m[k])
            spread = np.sqrt(fused(new2 * own[k], own[k], old2 * s[k]) * whole) + tiny
            row[k] = v[k] - eta * after / spread
