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
        gradient: Float[Tensor, "some d"],
        items: Int[Tensor, " some"],
        rule: Literal["sgd", "adam"],
    ) -> Float[Tensor, "some d"]:
        """Embeddings of some items after a step down this gradient of theirs; nothing changes.

        The step is a plain one of the learning rate, or Adam's next from the server's moments.
        """
        embedding = self.shared.items[items]
        if rule == "sgd":
            return embedding - self._learning_rate * gradient
        state = self._adam.state[self.shared.items]
        step = int(state["step"]) + 1 if state else 1
        mean, square = (
            state[name][items] if state else torch.zeros_like(gradient)
            for name in ("exp_avg", "exp_avg_sq")
        )
        mean.mul_(BETAS[0]).add_(gradient, alpha=1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        spread = square.div_(1 - BETAS[1] ** step).sqrt_().add_(EPS)
        size = self._learning_rate / (1 - BETAS[0] ** step)
        return embedding.addcdiv_(mean, spread, value=-size)
