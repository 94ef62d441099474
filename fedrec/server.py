"""The server: the shared parameters, and one Adam step a round (FedAvg with Adam, section 5.1)."""

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.adam import Adam
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
        return self._adam.preview(0, gradient, items)  # the first parameter
