"""The inputs of attacks and defences, from a federation of a few users."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fedrec.attacks.base import AttackerView, ServerRule, knowledge_of
from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.data.split import Split
from fedrec.defenses.base import ClientView, Defense, DefensePart, Remembering, ServerView
from fedrec.defenses.mean import Mean
from fedrec.models.base import Model, Shared
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.server import Server
from fedrec.threat_model import server_rule
from fedrec.updates import Updates

LENGTH = 8  # training items of each user


def small_split(users: int, items: int) -> Split:
    """Return a split with eight random training items per user, and two for validation and test."""
    rng = np.random.default_rng(0)
    orders = np.stack([rng.permutation(items) for _ in range(users)])
    return Split(
        n_items=items,
        offsets=np.arange(users + 1) * LENGTH,
        train=orders[:, :LENGTH].ravel(),
        validation=orders[:, LENGTH],
        test=orders[:, LENGTH + 1],
    )


def devices_of(model: Model, users: int, items: int) -> Devices:
    """Return the devices of the users of a small split, before the first round."""
    streams = Streams(0)
    pairs = FixedPairs.draw(small_split(users, items), torch.arange(users), streams)
    return Devices(model, pairs, model.init_local(users, streams))


def attacker_view(model: Model | None = None, users: int = 5, items: int = 30) -> AttackerView:
    """Return a view of `users` malicious clients; the second and the last are in the cohort."""
    model, streams = model or MF(dim=4), Streams(0)
    devices = devices_of(model, users, items)
    shared, selected = model.init_shared(items, streams), torch.tensor([1, users - 1])
    benign = devices.gradients(shared, selected, streams.at(1)).updates
    return AttackerView(shared=shared, devices=devices, selected=selected, benign=benign)


def rule_of(
    view: AttackerView, defense: Sequence[DefensePart] = (Mean(),), f: int = 1, clients: int = 5
) -> ServerRule:
    """Return the rule of a server that broadcast the view's parameters and has taken no step.

    It assumes f malicious uploads in a cohort of `clients`.
    """
    server = Server(view.shared, view.devices.model.learning_rate)
    streams = Streams(0, round=1)
    method = Defense.compose(defense)
    memory = method.remember(view.shared)
    return server_rule(method, server, view.devices, (f, clients), streams, memory)


def informed(view: AttackerView, attack: Any) -> AttackerView:
    """Add to a view what an attack declares to know; the server takes the mean of all uploads."""
    return rule_of(view).shown(view, knowledge_of(attack))


def server_view(
    received: Updates,
    expected_malicious: int = 1,
    streams: Streams | None = None,
    learning_rate: float = 2e-3,
    method: object = None,
) -> ServerView:
    """Return the view of a server that broadcast the uploads' table and has taken no step.

    If `method` has a memory, the view has that memory before the first round.
    """
    shared = Shared(received.table.clone(), torch.zeros(received.dense.shape[1]))
    server = Server(shared, learning_rate)
    memory = method.remember(shared) if isinstance(method, Remembering) else {}
    streams = streams or Streams(0, round=1)
    return ServerView(shared, server.preview, expected_malicious, streams, memory)


def client_view(
    model: Model | None = None,
    cohort: tuple[int, ...] = (4, 0, 3),
    users: int = 6,
    items: int = 30,
    streams: Streams | None = None,
) -> ClientView:
    """Return the view of the clients in `cohort`, out of `users` clients."""
    model, streams = model or MF(dim=4), streams or Streams(0, round=1)
    devices = devices_of(model, users, items)
    shared, positions = model.init_shared(items, Streams(0)), torch.tensor(cohort)
    batch = devices.pairs.batch(positions, streams)
    plain = devices.train(shared, positions, batch, streams)
    return ClientView(shared, devices, positions, batch, plain, streams)
