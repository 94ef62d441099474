"""A small synthetic dataset with latent factors, skewed popularity and drifting tastes."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Int64
from pydantic import Field

from fedrec.data.interactions import DataError, Interactions, from_columns

_SHORTEST = 5
_SHARPNESS = 4.0
_PULL = 0.1
_START = 1_000_000_000 * 10**6  # microseconds since 1970
_HOUR = 3_600 * 10**6


@dataclass(frozen=True)
class Synthetic:
    """Users who pick one new item per hour, by taste and popularity.

    An item's chance is softmax(4 taste·item / sqrt(factors) - log(popularity rank)). Each pick
    moves the taste a tenth of the way towards the picked item. No user picks an item twice.
    """

    users: Annotated[int, Field(ge=1)] = 400
    """The number of users."""
    items: Annotated[int, Field(ge=1)] = 300
    """The number of items on offer, at least four times `mean_length`."""
    mean_length: Annotated[int, Field(ge=_SHORTEST)] = 40
    """Mean interactions per user; each has at least 5 and at most half of the items."""
    factors: Annotated[int, Field(ge=1)] = 8
    """The dimension of tastes and items."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of all draws."""

    def generate(self) -> Interactions:
        """Generate the interactions. The same fields give the same data; unpicked items are absent.

        Raises:
            DataError: there are fewer than four times `mean_length` items.
        """
        if self.items < 4 * self.mean_length:
            raise DataError(
                f"synthetic: {self.items} items are too few for mean_length {self.mean_length}: "
                f"give at least {4 * self.mean_length}"
            )
        rng = np.random.default_rng(self.seed)
        lengths = _SHORTEST - 1 + rng.geometric(1 / (self.mean_length - 4), self.users)
        lengths = np.minimum(lengths, self.items // 2)
        picks = self._picks(rng, lengths)
        user, step = np.nonzero(picks >= 0)
        return from_columns(user, picks[user, step], _START + step * _HOUR)

    def _picks(
        self, rng: np.random.Generator, lengths: Int64[np.ndarray, "users"]
    ) -> Int64[np.ndarray, "users steps"]:
        # Row u holds user u's items in order, then -1.
        items = rng.standard_normal((self.items, self.factors))
        taste = rng.standard_normal((self.users, self.factors))
        popularity = -np.log(1 + rng.permutation(self.items))
        sharpness = _SHARPNESS / np.sqrt(self.factors)
        free = np.zeros((self.users, self.items))  # log chance: -inf once picked
        picks = np.full((self.users, lengths.max()), -1)
        for step in range(lengths.max()):
            active = np.flatnonzero(lengths > step)
            score = sharpness * (taste[active] @ items.T) + popularity + free[active]
            # The argmax of scores with Gumbel noise is a draw from their softmax.
            picked = (score + rng.gumbel(size=score.shape)).argmax(axis=1)
            picks[active, step] = picked
            free[active, picked] = -np.inf
            taste[active] += _PULL * (items[picked] - taste[active])
        return picks
