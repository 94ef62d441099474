"""A synthetic dataset with communities of items, which a recommender can learn."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Int64
from pydantic import Field

from fedrec.data.interactions import Interactions, from_columns
from fedrec.errors import DataError

_SHORTEST = 5
_START = 1_000_000_000
_HOUR = 3_600


@dataclass(frozen=True)
class Communities:
    """Users who pick one new item per hour from a few communities that they like.

    Each item belongs to one community, and each user likes a few communities. A user stays in a
    community for a while and sometimes moves to another liked one. Within a community, an item's
    chance is proportional to 1 / its popularity rank. No user picks an item twice. Therefore
    popularity predicts the next item poorly, and co-occurrence of items predicts it well.
    """

    users: Annotated[int, Field(ge=1)] = 1000
    """The number of users."""
    items: Annotated[int, Field(ge=1)] = 400
    """The number of items on offer."""
    communities: Annotated[int, Field(ge=1)] = 20
    """The number of communities; their sizes differ by at most one item."""
    liked: Annotated[int, Field(ge=1)] = 3
    """The number of communities that a user likes."""
    drift: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The chance that a user redraws the community, from the liked ones, before a pick."""
    mean_length: Annotated[int, Field(ge=_SHORTEST)] = 30
    """Mean interactions per user; each has at least 5 and at most half of the items it likes."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of all draws."""

    def generate(self) -> Interactions:
        """Generate the interactions. The same fields give the same data; unpicked items are absent.

        Raises:
            DataError: users would like too few items, or more communities than there are.
        """
        on_offer = self.items // self.communities * self.liked
        if self.liked > self.communities or on_offer < 2 * self.mean_length:
            raise DataError(
                f"communities: {self.liked} of {self.communities} hold {on_offer} items, too few "
                f"for mean_length {self.mean_length}: give more items, or fewer communities"
            )
        rng = np.random.default_rng(self.seed)
        lengths = self._lengths(rng)
        picks = self._picks(rng, np.minimum(lengths, on_offer // 2))
        user, step = np.nonzero(picks >= 0)
        return from_columns(user, picks[user, step], _START + step * _HOUR)

    def of_items(self) -> Int64[np.ndarray, " items"]:
        """Return the community of each item on offer; an item's label is its index here."""
        rng = np.random.default_rng(self.seed)
        self._lengths(rng)  # as in `generate`, where lengths are drawn first
        return self._communities(rng)

    def _lengths(self, rng: np.random.Generator) -> Int64[np.ndarray, " users"]:
        return _SHORTEST - 1 + rng.geometric(1 / (self.mean_length - 4), self.users)

    def _communities(self, rng: np.random.Generator) -> Int64[np.ndarray, " items"]:
        return rng.permutation(self.items) % self.communities

    def _picks(
        self, rng: np.random.Generator, lengths: Int64[np.ndarray, " users"]
    ) -> Int64[np.ndarray, "users steps"]:
        """Draw the picks; row u has user u's items in order, padded with -1."""
        community = self._communities(rng)
        popularity = -np.log(1 + rng.permutation(self.items))
        likes = rng.random((self.users, self.communities)).argsort(axis=1)[:, : self.liked]
        liked = (community == likes[:, :, None]).any(axis=1)
        chance = np.tile(popularity, (self.users, 1))  # log chance: -inf once picked
        picks = np.full((self.users, lengths.max()), -1)
        place = rng.integers(self.liked, size=self.users)  # among the liked ones
        for step in range(lengths.max()):
            moves = rng.random(self.users) < self.drift
            place = np.where(moves, rng.integers(self.liked, size=self.users), place)
            active = np.flatnonzero(lengths > step)
            score = np.where(
                community == likes[active, place[active]][:, None], chance[active], -np.inf
            )
            # A user who has picked a whole community chooses from all liked communities.
            done = np.isneginf(score).all(axis=1)
            score[done] = np.where(liked[active[done]], chance[active[done]], -np.inf)
            # The argmax of scores with Gumbel noise is a draw from their softmax.
            score += rng.gumbel(size=score.shape)
            picked = score.argmax(axis=1)
            picks[active, step] = picked
            chance[active, picked] = -np.inf
        return picks
