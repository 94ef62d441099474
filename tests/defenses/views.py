"""What defences are given, on a small federation, and uploads written out by hand."""

import numpy as np
import torch
from torch import Tensor

from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.data.split import Split
from fedrec.defenses.base import ClientView, ServerView
from fedrec.models.base import Model, Shared
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.server import Server
from fedrec.updates import Updates


def uploads(items: list[list[list[float]]], weight: list[float] | None = None) -> Updates:
    """Uploads given as clients × items × d, with ridge 0 and without a dense part."""
    value = torch.tensor(items)
    n, n_items, d = value.shape
    return Updates(
        table=torch.zeros(n_items, d),
        owner=torch.arange(n).repeat_interleave(n_items),
        item=torch.arange(n_items).repeat(n),
        value=value.reshape(n * n_items, d),
        ridge=torch.zeros(n),
        dense=torch.zeros(n, 0),
        weight=torch.tensor(weight or [1.0] * n),
    )


def on_a_line(*points: float) -> Updates:
    """One upload for each point: a single item with d = 1."""
    return uploads([[[point]] for point in points])


def server_view(
    received: Updates,
    expected_malicious: int = 1,
    streams: Streams | None = None,
    learning_rate: float = 2e-3,
) -> ServerView:
    """The view of a server that has broadcast the uploads' table and taken no step."""
    shared = Shared(received.table.clone(), torch.zeros(received.dense.shape[1]))
    server = Server(shared, learning_rate)
    return ServerView(shared, server.preview, expected_malicious, streams or Streams(0, round=1))


def client_view(
    model: Model | None = None,
    cohort: tuple[int, ...] = (4, 0, 3),
    users: int = 6,
    items: int = 30,
    streams: Streams | None = None,
) -> ClientView:
    """The view of some of `users` clients, who have eight items each."""
    model, streams = model or MF(dim=4), streams or Streams(0, round=1)
    rng, start = np.random.default_rng(0), Streams(0)
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
        FixedPairs.draw(split, torch.arange(users), start),
        model.init_local(users, start),
    )
    shared, positions = model.init_shared(items, start), torch.tensor(cohort)
    batch = devices.pairs.batch(positions, streams)
    plain = devices.train(shared, positions, batch, streams)
    return ClientView(shared, devices, positions, batch, plain, streams)


def marked(n: int, *positions: int) -> Tensor:
    """A mask of n that is true at some positions."""
    return torch.zeros(n, dtype=torch.bool).index_fill_(0, torch.tensor(positions), True)
