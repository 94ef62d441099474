"""Devices of clients: private data, local parameters, and the local computation."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from fedrec.clients.pairs import PairSource
from fedrec.kernels.compiled import on_cpu
from fedrec.models.base import Batch, LocalGradients, Model, Shared
from fedrec.rng import Streams


@dataclass(frozen=True)
class Devices:
    """The devices of some clients: training code, data and local parameters."""

    model: Model
    pairs: PairSource
    local: Float[Tensor, "users k"]

    @property
    def users(self) -> Int[Tensor, " users"]:
        """The ids of these clients."""
        return self.pairs.users

    def gradients(
        self, shared: Shared, positions: Int[Tensor, " n"], streams: Streams
    ) -> LocalGradients:
        """Compute the benign gradients of the clients at `positions`."""
        return self.train(shared, positions, self.pairs.batch(positions, streams), streams)

    def train(
        self, shared: Shared, positions: Int[Tensor, " n"], batch: Batch, streams: Streams
    ) -> LocalGradients:
        """Compute the gradients of the clients at `positions` on any batch, also a poisoned one."""
        found = self.model.gradients(shared, self.local[positions], batch, streams)
        if on_cpu(self.local):
            return found
        return replace(found, updates=found.updates.in_whole())
