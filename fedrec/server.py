"""The server: the shared parameters, and one Adam step a round (FedAvg with Adam, section 5.1)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.adam import BETAS, EPS, Adam
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.threads import row_ranges, spread
from fedrec.models.base import Shared
from fedrec.updates import Gradient


class Server:
    """Holds the global parameters and steps them, in place, with the aggregated gradient."""

    def __init__(self, shared: Shared, learning_rate: float) -> None:
        self.shared = shared
        self._learning_rate = learning_rate
        self._adam = Adam([shared.items, shared.dense], learning_rate)

    def apply(self, gradient: Gradient) -> None:
        """One Adam step down the gradient."""
        self._adam.step([gradient.items, gradient.dense])

    def state(self) -> dict[str, Tensor]:
        """What Adam remembers, for `restore`; the parameters are in `shared`."""
        return self._adam.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Have Adam remember what `state` gave."""
        self._adam.restore(state)

    def preview(
        self,
        gradient: Float[Tensor, "rows d"],
        items: Int[Tensor, " rows"],
        rule: Literal["sgd", "adam"],
    ) -> Float[Tensor, "rows d"]:
        """The embedding of the item of each gradient after a step down it; nothing changes.

        The step is a plain one of the learning rate, or Adam's next from the server's moments.
        A plain one is so short that uploads differ by less than float32 can tell: it is float64.
        """
        if rule == "sgd":
            embedding = self.shared.items.index_select(0, items)
            return embedding.double().sub_(gradient.double().mul_(self._learning_rate))
        of_items = self._adam.moments[0]
        step = int(of_items.step) + 1
        correction1, correction2 = 1 - BETAS[0] ** step, 1 - BETAS[1] ** step
        tables = (self.shared.items, of_items.exp_avg, of_items.exp_avg_sq)
        return adam_steps(gradient, items, tables, correction2, self._learning_rate / correction1)


def adam_steps(
    gradient: Float[Tensor, "rows d"],
    items: Int[Tensor, " rows"],
    tables: tuple[Tensor, Tensor, Tensor],  # (items, d) each: embeddings, and Adam's two moments
    correction: float,  # of the second moment
    size: float,  # the learning rate over the first moment's correction
) -> Float[Tensor, "rows d"]:
    """The embedding of the item of each gradient after Adam's step down it."""
    if on_cpu(gradient):
        from fedrec.kernels import vectors as kernels

        out = torch.empty_like(gradient)
        arguments: list[Any] = [
            *(tensor.numpy() for tensor in (gradient, items, *tables)),
            BETAS,
            EPS,
            correction,
            size,
            out.numpy(),
        ]
        spread(lambda part: kernels.adam_steps(*[*arguments, *part]), row_ranges(len(items)))
        return out
    embedding, mean, square = (table.index_select(0, items) for table in tables)
    mean.mul_(BETAS[0]).add_(gradient, alpha=1 - BETAS[0])
    square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1]).div_(correction)
    return embedding.addcdiv_(mean, square.sqrt_().add_(EPS), value=-size)
