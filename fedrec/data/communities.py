"""A made-up dataset with communities of items, which a recommender can learn."""

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
    """Users who pick one new item an hour from the few communities that they like.

    Each item belongs to one community, and each user likes a few of them. A user stays in a
    community for a while and drifts to another liked one now and then. Within a community an
    item's chance is 1 / its popularity rank. Nobody picks an item twice. So popularity alone says
    little about the next item, and which items go together says much.
    """

    users: Annotated[int, Field(ge=1)] = 1000
    """The number of users."""
    items: Annotated[int, Field(ge=1)] = 400
    """The number of items on offer."""
    communities: Annotated[int, Field(ge=1)] = 20
    """The number of communities; their sizes differ by one item at most."""
    liked: Annotated[int, Field(ge=1)] = 3
    """Communities that a user likes."""
    drift: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The chance to draw the community anew, from the liked ones, before a pick."""
    mean_length: Annotated[int, Field(ge=_SHORTEST)] = 30
    """Interactions per user on average; each has at least 5 and at most half of what it likes."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of all draws."""

    def generate(self) -> Interactions:
        """The interactions: the same for the same fields. An item nobody picks is absent.

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
        """The community of each item on offer; an item's label is its place here."""
        rng = np.random.default_rng(self.seed)
        self._lengths(rng)  # are drawn before
        return self._communities(rng)

    def _lengths(self, rng: np.random.Generator) -> Int64[np.ndarray, " users"]:
        return _SHORTEST - 1 + rng.geometric(1 / (self.mean_length - 4), self.users)

    def _communities(self, rng: np.random.Generator) -> Int64[np.ndarray, " items"]:
        return rng.permutation(self.items) % self.communities

    def _picks(
        self, rng: np.random.Generator, lengths: Int64[np.ndarray, " users"]
    ) -> Int64[np.ndarray, "users steps"]:
        """Row u holds user u's items in order, then -1."""
        community = self._communities(rng)
        popularity = -np.log(1 + rng.permutation(self.items))
        likes = rng.random((self.users, self.communities)).argsort(axis=1)[:, : self.liked]
        liked = (community == likes[:, :, None]).any(axis=1)
        chance = np.tile(popularity, (self.users, 1))  # its logarithm: -inf once picked
        picks = np.full((self.users, lengths.max()), -1)
        place = rng.integers(self.liked, size=self.users)  # among the liked ones
        for step in range(lengths.max()):
            moves = rng.random(self.users) < self.drift
            place = np.where(moves, rng.integers(self.liked, size=self.users), place)
            active = np.flatnonzero(lengths > step)
            score = np.where(
                community == likes[active, place[active]][:, None], chance[active], -np.inf
            )
            # Whoever has picked all of a community looks at all that it likes.
            done = np.isneginf(score).all(axis=1)
            score[done] = np.where(liked[active[done]], chance[active[done]], -np.inf)
            # The largest of scores with Gumbel noise is a draw from their softmax.
            score += rng.gumbel(size=score.shape)
            picked = score.argmax(axis=1)
            picks[active, step] = picked
            chance[active, picked] = -np.inf
        return picks
