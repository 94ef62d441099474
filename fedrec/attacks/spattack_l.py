"""Spattack-L: the same noise in every round (Zhang et al. 2025, variant with limited knowledge)."""

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, from_numpy

from fedrec.attacks._normal_gradients import NORMAL, forged_everywhere
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device.stacks import constant
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Gradient


@settings
class SpattackL:
    """All malicious clients upload the same Gaussian noise in all rounds.

    Each coordinate of each item's gradient is drawn once a run from N(0, `scale`²). The attacker
    needs no gradient, and the noise does not average out, because it is the same for all malicious
    clients and rounds (Zhang et al., AAAI 2025, "Rethinking Byzantine Robustness in Federated
    Recommendation from Sparse Aggregation Perspective"; `Spattack_L` in their code, without
    `--sample_items`). Their model shares only item embeddings. Other shared parameters get noise of
    the same law here. Their clients sum the gradients of all pairs, and MF's clients here take the
    mean, so noise of scale 1 is much longer than a benign gradient.
    """

    scale: float = Field(
        default=1.0, gt=0, description="Standard deviation of a coordinate (the authors' code)."
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the noise, the same for every malicious client."""
        shared = view.shared
        noise = Gradient(
            self._drawn(shared.items, "spattack-items", streams),
            self._drawn(shared.dense[None], "spattack-dense", streams)[0],
        )
        return Forgery(forged_everywhere(view, noise), None)

    def _drawn(
        self, like: Float[Tensor, "rows d"], purpose: str, streams: Streams
    ) -> Float[Tensor, "rows d"]:
        """Draw from the stream of no client and of no round."""
        once = Streams(streams.seed)
        if on_cpu(like):
            return from_numpy(NORMAL.host(once.of(purpose), tuple(like.shape))) * self.scale
        zero = constant((0,), like.device)
        streams_of_all = once.of_clients(purpose)._replace(counter=zero[0])  # a kernel reads it
        return NORMAL.device(streams_of_all, zero, *like.shape)[0] * self.scale
