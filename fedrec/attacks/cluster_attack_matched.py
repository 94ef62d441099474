"""ClusterAttack whose uploads look as uniform to UNION as honest ones."""

from collections.abc import Callable
from dataclasses import fields
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, PositiveFloat
from torch import Tensor

from fedrec.attacks._cluster_settings import ClusterSettings
from fedrec.attacks._normal_gradients import normal_clients
from fedrec.attacks.base import Forgery, Knowledge, PreviewingView, Trace
from fedrec.attacks.cluster_attack import ClusterAttack, Clustering
from fedrec.metrics.uniformity import uniformities
from fedrec.rng import Streams
from fedrec.server import PreviewRule
from fedrec.settings import settings
from fedrec.updates import Updates

Within = Literal["range"] | PositiveFloat


class Interval(NamedTuple):
    """The uniformities that an upload may have."""

    low: Float[Tensor, ""]
    high: Float[Tensor, ""]

    @staticmethod
    def around(found: Float[Tensor, " n"], within: Within) -> "Interval":
        """Return the range of some uniformities, or their mean ± some standard deviations."""
        if within == "range":
            return Interval(found.min(), found.max())
        mean = found.mean()
        half = within * found.std() if len(found) > 1 else torch.zeros_like(mean)
        return Interval(mean - half, mean + half)

    def holds(self, found: Float[Tensor, " m"]) -> Bool[Tensor, " m"]:
        """Mark the uniformities inside."""
        return (found >= self.low) & (found <= self.high)


# The settings of ClusterAttack, and those that published records of ClusterAttackMatched state.
OF_CLUSTER_ATTACK = fields(ClusterSettings)
STATED = ("clusters", "spread", "normal_clients")


@settings
class ClusterAttackMatched(ClusterSettings):
    """Uploads λ · (ClusterAttack's upload) + (1 − λ) · (the client's own honest upload).

    λ is the largest share for which the uniformity dᵢ of the upload (paper, Algorithm 2, lines 1 to
    4) is inside an interval. The attacker estimates the interval from honest uploads of its own
    clients, which include the defence's task (such as UNION's contrastive one). So an upload is no
    outlier to UNION, and pulls the items together as much as that allows. Bisection finds λ,
    because dᵢ decreases on the way from a client's honest upload to ClusterAttack's. If
    ClusterAttack's upload is inside, λ is 1.

    This attack is not from a publication. The attacker knows how UNION measures uniformity, and can
    preview the server's step, which takes the server's Adam moments. It does not know which items
    the server samples, and draws its own, nor any benign client's upload. It has all settings of
    ClusterAttack.
    """

    knows: ClassVar[Knowledge] = "the server's preview"
    LATER: ClassVar[tuple[str, ...]] = tuple(
        field.name for field in OF_CLUSTER_ATTACK if field.name not in STATED
    )

    within: Within = Field(
        default="range",
        description="The interval: from the smallest to the largest uniformity of the honest "
        "uploads, or c for their mean ± c standard deviations.",
    )
    steps: int = Field(
        default=8, ge=1, description="Steps of the bisection; λ is exact to 2 to the power −steps."
    )
    sample: int = Field(
        default=500, ge=2, description="T, items that the attacker's estimate uses, as in UNION."
    )
    preview: PreviewRule = Field(
        default="adam", description="The preview that the attacker expects, as in UNION."
    )
    distance: Literal["unsquared", "squared"] = Field(
        default="unsquared", description="The distance that the attacker expects, as in UNION."
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose honest uploads give the interval, and whose "
        "benign gradients give ClusterAttack's μ and σ.",
    )

    @property
    def plain(self) -> ClusterAttack:
        """The attack whose uploads are mixed in."""
        return ClusterAttack(**{f.name: getattr(self, f.name) for f in OF_CLUSTER_ATTACK})

    def initial_state(self) -> Clustering:
        """Return the initial values of Algorithm 1."""
        return self.plain.initial_state()

    def forge(
        self, view: PreviewingView, state: Clustering, streams: Streams
    ) -> Forgery[Clustering]:
        """Forge as ClusterAttack does, then mix in as much of the honest uploads as needed."""
        forged = self.plain.forge(view, state, streams)
        normal = normal_clients(view, self.normal_clients, streams)
        honest = view.honest(torch.cat([normal, view.selected]), streams)
        places = torch.arange(len(honest), device=normal.device)
        own = honest.at(places[len(normal) :]).written_out()
        measure = self._measure(view, streams)
        among = Interval.around(measure.of(honest.at(places[: len(normal)])), self.within)
        ends = own.gather(measure.items), forged.updates.gather(measure.items)

        def fits(share: Float[Tensor, " m"]) -> Bool[Tensor, " m"]:
            return among.holds(measure.of_rows(mixed(*ends, share)))

        share = largest_share(fits, len(view), self.steps, normal.device)
        updates = mixed_uploads(own, forged.updates, share)
        if forged.seen is not None:
            seen = torch.stack([forged.seen, share.double().mean()])
            return Forgery(updates, state, seen=seen)
        return Forgery(updates, forged.state, forged.trace | {"share": float(share.mean())})

    def learn(self, state: Clustering, seen: list[float]) -> tuple[Clustering, Trace]:
        """Adapt K, given this attacked round's loss and mean share."""
        loss, share = seen
        adapted, trace = self.plain.learn(state, loss)
        return adapted, trace | {"share": share}

    def recorded_for(self, state: Clustering) -> int:
        """Return K; only `learn` uses the rest of the state."""
        return self.plain.recorded_for(state)

    def _measure(self, view: PreviewingView, streams: Streams) -> "Measure":
        n_items = len(view.shared.items)
        count = min(self.sample, n_items)
        items = streams.drawn(lambda own: own.of("matched-items").chosen(n_items, count))

        def step(gradient: Tensor, which: Tensor) -> Tensor:
            return view.preview(gradient, which, self.preview)

        return Measure(view.shared.items, items, step, self.distance == "squared")


class Measure(NamedTuple):
    """How UNION measures the uniformity of uploads, with the attacker's items."""

    table: Float[Tensor, "items d"]
    items: Int[Tensor, " t"]
    step: Callable[[Tensor, Tensor], Tensor]
    squared: bool

    def of(self, uploads: Updates) -> Float[Tensor, " n"]:
        """Return the uniformity of each upload."""
        return uniformities(uploads, self.items, self.step, self.squared)

    def of_rows(self, rows: Float[Tensor, "n t d"]) -> Float[Tensor, " n"]:
        """Return the uniformity of uploads of which only the rows of the items are given."""
        none, weight = rows.new_zeros(len(rows), 0), rows.new_ones(len(rows))
        small = Updates.in_stack(self.table.index_select(0, self.items), rows, none, weight)
        every = torch.arange(len(self.items), device=rows.device)

        def step(gradient: Tensor, which: Tensor) -> Tensor:
            return self.step(gradient, self.items.index_select(0, which))

        return uniformities(small, every, step, self.squared)


def largest_share(
    fits: Callable[[Float[Tensor, " m"]], Bool[Tensor, " m"]],
    m: int,
    steps: int,
    device: torch.device,
) -> Float[Tensor, " m"]:
    """Return for each client the largest share that fits, by bisection; 0 if none is found."""
    low, high = torch.zeros(m, device=device), torch.ones(m, device=device)
    all_of_it = fits(high)
    for _ in range(steps):
        middle = (low + high) / 2
        inside = fits(middle)
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return torch.where(all_of_it, torch.ones_like(low), low)


def mixed(
    own: Float[Tensor, "m *shape"], forged: Float[Tensor, "m *shape"], share: Float[Tensor, " m"]
) -> Float[Tensor, "m *shape"]:
    """Return share · forged + (1 − share) · own for each client."""
    share = share.view(-1, *[1] * (own.dim() - 1))
    return forged * share + own * (1 - share)


def mixed_uploads(own: Updates, forged: Updates, share: Float[Tensor, " m"]) -> Updates:
    """Return the mixed uploads, with a row for every item."""
    items = mixed(own.in_whole().stack, forged.stack, share)
    return Updates.over_all_items(forged, items, mixed(own.dense, forged.dense, share))
