"""LIE with the most harmful z against the server's own rule (Baruch et al.; Shejwalkar et al.)."""

import torch
from pydantic import Field

from fedrec.attacks._normal_gradients import coordinate_statistics
from fedrec.attacks._rule_search import Line, RuleSearch
from fedrec.attacks.base import Forgery, KnowingView
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates


@settings
class LIESearch(RuleSearch):
    """All malicious clients upload μ − zσ with the z that shifts the server's aggregate the most.

    μ and σ are as in LIE (Baruch et al. 2019). LIE's z is a constant; here the attacker knows the
    aggregation rule. In each round it runs the rule on honest uploads of its own clients together
    with candidates for the forged ones. It is the attack of Shejwalkar and Houmansadr (NDSS 2021)
    that is tailored to a rule, with the perturbation −σ, for any rule. `RuleSearch` has the search
    and what differs.
    """

    largest: float = Field(
        default=10.0,
        gt=0,
        description="Largest z to try (γ_init of Shejwalkar and Houmansadr's code on CIFAR-10).",
    )

    def forge(self, view: KnowingView, state: None, streams: Streams) -> Forgery[None]:
        """Return the shifted mean, the same for every malicious client."""
        return self.searched(view, streams, _line, self.largest)


def _line(normal: Updates) -> Line:
    mean, deviation = coordinate_statistics(normal)
    return Line(mean, deviation.map(torch.neg))
