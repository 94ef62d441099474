"""FedAttack: train on the hardest samples (Wu et al. 2022)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.sums import inner_products


@settings
class FedAttack:
    """Uploads honest gradients of the worst pairs that a user's current embedding allows.

    Every positive becomes the item farthest from the user embedding by inner product, and its
    negative the nearest one. There are as many pairs as the client has, each with its own
    dropout. Models whose user embedding moves along a sequence have a pair for each position.
    """

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """The gradients of each malicious client's hardest pairs."""
        devices = view.devices
        batch = devices.pairs.batch(view.selected, streams)
        users = devices.model.user_embeddings(view.shared, devices.local[view.selected], batch)
        hardest = batch.retargeted(*hardest_pairs(users, view.shared.items))
        return Forgery(devices.train(view.shared, view.selected, hardest, streams).updates, None)


def hardest_pairs(
    users: Float[Tensor, "pairs d"], items: Float[Tensor, "items d"]
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """The farthest item of each user embedding, as positive, and the nearest, as negative.

    Two different items: where all are equally near, the first two.
    """
    scores = inner_products(users, items)
    positive = scores.argmin(1)
    scores.scatter_(1, positive[:, None], -torch.inf)
    return positive, scores.argmax(1)
