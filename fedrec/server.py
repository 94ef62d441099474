"""The server: the shared parameters, and one Adam step a round (FedAvg with Adam, section 5.1)."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.models.base import Shared
from fedrec.updates import Gradient

BETAS, EPS = (0.9, 0.999), 1e-8  # of Kingma and Ba (2015)


class Server:
    """Holds the global parameters and steps them, in place, with the aggregated gradient."""

    def __init__(self, shared: Shared, learning_rate: float) -> None:
        self.shared = shared
        self._learning_rate = learning_rate
        # Fused is one pass over memory.
        self._adam = torch.optim.Adam(
            [shared.items, shared.dense], lr=learning_rate, betas=BETAS, eps=EPS, fused=True
        )

    def apply(self, gradient: Gradient) -> None:
        """One Adam step down the gradient."""
        self.shared.items.grad, self.shared.dense.grad = gradient.items, gradient.dense
        self._adam.step()

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
        embedding = self.shared.items.index_select(0, items)
        if rule == "sgd":
            return embedding.double().sub_(gradient, alpha=self._learning_rate)
        state = self._adam.state[self.shared.items]
        step = int(state["step"]) + 1 if state else 1
        correction1, correction2 = 1 - BETAS[0] ** step, 1 - BETAS[1] ** step
        if state:
            mean = state["exp_avg"].index_select(0, items).mul_(BETAS[0])
            square = state["exp_avg_sq"].index_select(0, items).mul_(BETAS[1])
        else:
            mean, square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        mean.add_(gradient, alpha=1 - BETAS[0])
        square.addcmul_(gradient, gradient, value=1 - BETAS[1]).div_(correction2)
        size = self._learning_rate / correction1
        return embedding.addcdiv_(mean, square.sqrt_().add_(EPS), value=-size)
