"""Small attacker views for the tests of attacks."""

import numpy as np
import torch

from fedrec.attacks.base import AttackerView
from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.data.split import Split
from fedrec.models.base import Model
from fedrec.models.mf import MF
from fedrec.rng import Streams


def attacker_view(model: Model | None = None, users: int = 5, items: int = 30) -> AttackerView:
    """`users` malicious clients, of whom the second and the last are in the cohort."""
    model = model or MF(dim=4)
    rng, streams = np.random.default_rng(0), Streams(0)
    orders = np.stack([rng.permutation(items) for _ in range(users)])
    split = Split(
        n_items=items,
        offsets=np.arange(users + 1) * 8,
        train=orders[:, :8].ravel(),
        validation=orders[:, 8],
        test=orders[:, 9],
    )
    devices = Devices(
        model,
        FixedPairs.draw(split, torch.arange(users), streams),
        model.init_local(users, streams),
    )
    shared, selected = model.init_shared(items, streams), torch.tensor([1, users - 1])
    benign = devices.gradients(shared, selected, streams.at(1)).updates
    return AttackerView(shared=shared, devices=devices, selected=selected, benign=benign)
