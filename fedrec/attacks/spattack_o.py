"""Spattack-O: cancel the sum of the benign gradients (Zhang et al. 2025, omniscient variant)."""

import torch
from pydantic import Field

from fedrec.attacks._normal_gradients import forged_everywhere, normal_updates
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class SpattackO:
    """Each of m malicious clients uploads −1/m times the sum of the benign gradients of the round.

    With equal weights, all uploads then add up to zero for every item, and nothing is learnt (Zhang
    et al., AAAI 2025, "Rethinking Byzantine Robustness in Federated Recommendation from Sparse
    Aggregation Perspective"; `Spattack_O` in their code, without `--sample_items`). So the upload
    is −(n − m)/m · μ: IPM with an ε that follows the number of malicious clients in the cohort.

    Three things differ from the source. Its attacker sees all benign gradients; here the sum is
    n − m times the mean μ over the attacker's own clients. Its server aggregates each item over the
    clients that upload it, and there is no other shared parameter; here all items and parameters
    are cancelled together. And its variant with few items per client draws these by the items'
    popularity among all users, which this attacker does not know, so that variant is left out.
    """

    clients: int = Field(
        default=50, ge=2, description="n: the attacker's estimate of the number of uploads a round."
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients give μ.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return each malicious client's share of the negative sum."""
        normal = normal_updates(view, self.normal_clients, streams)
        m = len(view)
        factor = -max(self.clients - m, 0) / m
        mean = normal.weighted_sum(torch.full_like(normal.weight, factor / len(normal)))
        return Forgery(forged_everywhere(view, mean), None)
