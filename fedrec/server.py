"""The server: the shared parameters, and one Adam step a round (FedAvg with Adam, section 5.1)."""

import torch

from fedrec.models.base import Shared
from fedrec.updates import Gradient


class Server:
    """Holds the global parameters and steps them, in place, with the aggregated gradient."""

    def __init__(self, shared: Shared, learning_rate: float) -> None:
        self.shared = shared
        # β 0.9 / 0.999 and ε 1e-8 are PyTorch's defaults too; fused is one pass over memory.
        self._adam = torch.optim.Adam(
            [shared.items, shared.dense], lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True
        )

    def apply(self, gradient: Gradient) -> None:
        """One Adam step down the gradient."""
        self.shared.items.grad, self.shared.dense.grad = gradient.items, gradient.dense
        self._adam.step()
