"""The server: shared parameters, and one Adam step per round (FedAvg with Adam, section 5.1)."""

from collections.abc import Callable, Mapping
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.adam import Adam
from fedrec.models.base import Shared
from fedrec.updates import Gradient

PreviewRule = Literal["sgd", "adam"]
# `Server.preview`
Preview = Callable[[Float[Tensor, "rows d"], Int[Tensor, " rows"], PreviewRule], Tensor]


class Server:
    """The global parameters, updated in place with the aggregated gradient."""

    def __init__(self, shared: Shared, learning_rate: float) -> None:
        self.shared = shared
        self._learning_rate = learning_rate
        self._adam = Adam([shared.items, shared.dense], learning_rate)

    def apply(self, gradient: Gradient) -> None:
        """Take one Adam step with the aggregated gradient."""
        self._adam.step([gradient.items, gradient.dense])

    def state(self) -> dict[str, Tensor]:
        """Return Adam's state, for `restore`; the parameters are in `shared`."""
        return self._adam.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore Adam's state from `state`."""
        self._adam.restore(state)

    def preview(
        self,
        gradient: Float[Tensor, "rows d"],
        items: Int[Tensor, " rows"],
        rule: PreviewRule,
    ) -> Float[Tensor, "rows d"]:
        """Return each item's embedding after one step with its gradient; the server is unchanged.

        The step is a plain one with the learning rate (`sgd`), or the next Adam step from the
        server's moments (`adam`). Plain steps are computed in float64, because they are so short
        that the differences between uploads would be lost in float32.
        """
        if rule == "sgd":
            embedding = self.shared.items.index_select(0, items)
            return embedding.double().sub_(gradient.double().mul_(self._learning_rate))
        return self._adam.preview(0, gradient, items)  # the first parameter
