"""IPM with the most harmful ε against the server's own rule (Xie et al.; Shejwalkar et al.)."""

import torch
from pydantic import Field

from fedrec.attacks._rule_search import Line, RuleSearch
from fedrec.attacks.base import Forgery, KnowingView
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates


@settings
class IPMSearch(RuleSearch):
    """All malicious clients upload −εμ with the ε that shifts the server's aggregate the most.

    μ is as in IPM (Xie, Koyejo and Gupta 2019), whose ε is a constant. Here the attacker knows the
    aggregation rule, and runs it on honest uploads of its own clients together with candidates for
    the forged ones. `RuleSearch` has the search.
    """

    largest: float = Field(
        default=100.0,
        gt=0,
        description="Largest ε to try. Reversing a plain mean takes more than (n − m)/m for m "
        "malicious of n uploads, which is 49 for one of 50.",
    )

    def forge(self, view: KnowingView, state: None, streams: Streams) -> Forgery[None]:
        """Return the reversed mean, the same for every malicious client."""
        return self.searched(view, streams, _line, self.largest)


def _line(normal: Updates) -> Line:
    mean = normal.weighted_sum(torch.full_like(normal.weight, 1 / len(normal)))
    return Line(mean.map(torch.zeros_like), mean.map(torch.neg))
