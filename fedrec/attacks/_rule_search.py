"""Attacks that run the server's rule themselves, to find how far an upload should go."""

from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float64, Int
from pydantic import Field
from torch import Tensor

from fedrec.attacks._normal_gradients import forged_everywhere, normal_clients
from fedrec.attacks.base import Forgery, KnowingView, Knowledge, Trace
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.sums import total
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates

APART = 4.0  # the ratio of two neighbouring factors in the first part of the search
# Scores whose difference is smaller are equal: under NormBound, all long uploads shift the
# aggregate by the same amount, and rounding would decide between them.
MARGIN = 1e-4
Number = Float64[Tensor, ""]


class Line(NamedTuple):
    """The uploads among which an attack chooses: start + factor · step."""

    start: Gradient
    step: Gradient

    def at(self, factor: float | Number) -> Gradient:
        """Return the upload for a factor."""
        return self.start.map(lambda center, step: center + factor * step, self.step)


class Trial(NamedTuple):
    """A cohort that the attacker makes up from its own clients, to run the server's rule on it."""

    honest: Updates  # of normal clients, then of the malicious clients in the cohort
    forged: Int[Tensor, " m"]  # the places of the latter

    @staticmethod
    def of(view: KnowingView, count: int, streams: Streams) -> "Trial":
        """Compute the honest uploads of up to `count` normal clients and of those in the cohort."""
        normal = normal_clients(view, count, streams)
        honest = view.honest(torch.cat([normal, view.selected]), streams)
        return Trial(honest, torch.arange(len(normal), len(honest), device=normal.device))

    def normal(self) -> Updates:
        """Return the uploads of the normal clients, with their noise, if any."""
        places = torch.arange(len(self.honest) - len(self.forged), device=self.forged.device)
        return self.honest.at(places).written_out()


@settings
class RuleSearch:
    """The settings and the search that attacks with knowledge of the aggregation rule share.

    Shejwalkar and Houmansadr (NDSS 2021, "Manipulating the Byzantine", attacks tailored to a rule)
    maximise the L2 distance between the aggregate with the forged uploads and the one without. They
    halve a step from γ_init until it is below 10⁻⁵. Their attacker aggregates the gradients of its
    own clients together with the forged ones, as here.

    Two things differ. With `objective: along`, only the part of the distance along the attack's
    direction counts. A filter such as Krum may choose another honest upload because of a forged
    one that it rejects, and the distance is then large without any effect of the attack. And the
    number of aggregations per round is fixed. Some factors with a ratio of 4, up to the largest,
    come first. A filter rejects all factors above some bound, and a search that starts above it and
    follows small differences may never reach those below. Then the best one is increased by factors
    of 2, √2, ⁴√2, … as long as that is better.
    """

    knows: ClassVar[Knowledge] = "the aggregation rule"

    objective: Literal["along", "norm"] = Field(
        default="along",
        description="What is maximal: the aggregate's shift along the attack's direction, or the "
        "L2 norm of its shift (Shejwalkar and Houmansadr).",
    )
    trials: int = Field(
        default=8,
        ge=1,
        description="Factors to try in each attacked round. Each takes one run of the server's "
        "rule, and the honest aggregate takes one more.",
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose honest uploads stand in for those of the "
        "cohort, and give its statistics.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def searched(
        self,
        view: KnowingView,
        streams: Streams,
        line_of: Callable[[Updates], Line],
        largest: float,
    ) -> Forgery[None]:
        """Return the best upload of a line for every malicious client."""
        trial = Trial.of(view, self.normal_clients, streams)
        line = line_of(trial.normal())
        without = view.aggregate(trial.honest)

        def shift(factor: float | Number) -> Number:
            forged = forged_everywhere(view, line.at(factor))
            found = view.aggregate(trial.honest.replaced(trial.forged, forged))
            return self.measured(found.map(torch.sub, without), line.step)

        factor = best_factor(shift, largest, self.trials)
        updates = forged_everywhere(view, line.at(factor))
        if not on_cpu(factor):
            return Forgery(updates, None, seen=factor)
        return Forgery(updates, *self.learn(None, float(factor)))

    def learn(self, state: None, seen: float) -> tuple[None, Trace]:
        """Record the factor; there is no state."""
        return None, {"factor": seen}

    def recorded_for(self, state: None) -> None:
        """Return None: `forge` depends on no state."""

    def measured(self, shift: Gradient, step: Gradient) -> Number:
        """Return the objective of a shift of the aggregate, up to a constant factor."""
        with_what = step if self.objective == "along" else shift
        product = shift.map(torch.mul, with_what)
        return total(product.items) + total(product.dense)


def best_factor(score: Callable[[float | Number], Number], largest: float, trials: int) -> Number:
    """Return the factor of the highest score, of equal ones the smallest.

    A third to a half of the trials increase the best one; see `RuleSearch`.
    """
    increases = (trials - 1) // 2
    factors = [largest / APART**i for i in reversed(range(trials - increases))]
    best = score(factors[0])
    factor = torch.full_like(best, factors[0])
    for candidate in factors[1:]:
        factor, best = _better(factor, best, candidate, score(candidate))
    ratio = APART**0.5
    for _ in range(increases):
        higher = (factor * ratio).clamp(max=largest)
        factor, best = _better(factor, best, higher, score(higher))
        ratio **= 0.5
    return factor


def _better(
    factor: Number, best: Number, candidate: float | Number, found: Number
) -> tuple[Number, Number]:
    """Return the candidate and its score, if the score is higher by more than rounding."""
    higher = found > best + MARGIN * best.abs()
    return torch.where(higher, candidate, factor), torch.where(higher, found, best)
