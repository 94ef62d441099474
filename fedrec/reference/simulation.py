"""Rounds computed client after client, with autograd over the whole item table."""

import copy
from collections.abc import Mapping
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from fedrec.attacks.base import AttackerView, Forgery, knowledge_of
from fedrec.clients.contrastive import DROPOUT, PAIRS
from fedrec.clients.devices import Devices
from fedrec.defenses.base import ServerView
from fedrec.defenses.pieck import PIECK
from fedrec.defenses.union import Union
from fedrec.federation import Federation, sample_clients
from fedrec.kernels import philox
from fedrec.kernels.dropout import dropped_below
from fedrec.models.base import Batch, Model, Shared
from fedrec.models.mf import MF
from fedrec.models.ncf import NCF
from fedrec.models.sas_rec import SASRec
from fedrec.reference.defenses import ServerSide, Uploads, judge, mix, reduce, transform
from fedrec.reference.losses import (
    candidates,
    info_nce,
    mf_loss,
    ncf_loss,
    pieck_terms,
    sas_rec_loss,
)
from fedrec.reference.missing import no_plain
from fedrec.rng import Streams
from fedrec.updates import Gradient


class Parameters(NamedTuple):
    """The parameters that one client trains: leaves of autograd."""

    items: Float[Tensor, "items d"]
    dense: Float[Tensor, " params"]
    user: Float[Tensor, " k"]


class Reference:
    """A federation that starts like a given one, and continues plainly with the same random draws.

    Every client differentiates its loss, including L2 over all items, for the whole item table. The
    server holds all gradients side by side, and PyTorch's Adam steps all parameters. Only the
    forging of the attack is the package's own code.

    Raises:
        NoPlainVersion: the attack has no plain version. `play_round` raises it for other methods.
    """

    def __init__(self, fed: Federation) -> None:
        if (known := knowledge_of(fed.attack)) != "own data":
            raise no_plain(fed.attack, f"with its knowledge of {known}")
        self._fed, self._model = fed, fed.devices.model
        shared, local = fed.server.shared, fed.devices.local
        self.items, self.dense = shared.items.clone(), shared.dense.clone()
        self.local = local.detach().clone()
        rate = self._model.learning_rate
        self._adam = torch.optim.Adam([self.items, self.dense], lr=rate)
        self._local_adam = torch.optim.Adam([self.local], lr=rate)
        self._attack_state = fed.attack_state
        self._last = Gradient(torch.zeros_like(self.items), torch.zeros_like(self.dense))

    def play_round(self, number: int) -> None:
        """Run one round: broadcast, train each client, forge, upload, defend, step."""
        fed, streams = self._fed, self._fed.streams.at(number)
        chosen = sample_clients(len(fed.position), fed.clients_per_round, streams)
        cohort = torch.from_numpy(chosen).to(fed.position.device)
        uploads, self.local.grad = [], torch.zeros_like(self.local)
        for client in cohort.tolist():
            gradient, weight = self._train(client, streams)
            uploads.append((gradient.items, gradient.dense, weight))
            self.local.grad[client] = gradient.user
        malicious = fed.position[cohort] >= 0
        if malicious.any():
            forgery = self._forge(cohort[malicious], streams)
            for i, place in enumerate(malicious.nonzero()[:, 0].tolist()):
                forged = forgery.updates.weighted_sum(torch.eye(len(forgery.updates))[i])
                uploads[place] = (forged.items, forged.dense, float(forgery.updates.weight[i]))
                if forgery.local is not None:
                    self.local.grad[cohort[place]] = forgery.local[i]
        items, dense, weights = zip(*uploads, strict=True)
        received = Uploads(torch.stack(items), torch.stack(dense), torch.tensor(weights))
        total = self._defend(received, streams)
        self.items.grad, self.dense.grad = total.items, total.dense
        self._adam.step()
        self._local_adam.step()

    def _train(self, client: int, streams: Streams) -> tuple[Parameters, float]:
        """Return one client's gradient of its whole loss, and its sample count."""
        batch = self._fed.devices.pairs.batch(torch.tensor([client]), streams)
        own = Parameters(self.items, self.dense, self.local[client])
        leaves = Parameters(*(x.detach().clone().requires_grad_() for x in own))
        loss, weight = client_loss(self._model, leaves, batch, streams)
        malicious = self._fed.position[client] >= 0
        for task in self._fed.defense.tasks if not malicious else ():
            loss = loss + task_loss(task, self._model, leaves, batch, streams)
        loss.backward()
        return Parameters(
            *(torch.zeros_like(x) if x.grad is None else x.grad for x in leaves)
        ), weight

    def _forge(self, selected: Int[Tensor, " m"], streams: Streams) -> Forgery[Any]:
        """Return the forged uploads of the malicious clients, and update the attack's state."""
        fed, shared = self._fed, Shared(self.items, self.dense)
        pairs = fed.malicious_pairs
        devices = Devices(self._model, pairs, self.local[pairs.users])
        positions = fed.position[selected]
        benign = devices.gradients(shared, positions, streams).updates
        view = AttackerView(shared, devices, positions, benign)
        forgery = fed.attack.forge(view, self._attack_state, streams)
        self._attack_state = forgery.state
        return forgery

    def _defend(self, received: Uploads, streams: Streams) -> Gradient:
        fed, defense = self._fed, self._fed.defense
        shared = Shared(self.items, self.dense)
        view = ServerView(shared, fed.server.preview, fed.expected_malicious, streams)
        server = ServerSide(view, self._last, self._after)
        for mixer in defense.mixers:
            received = mix(mixer, received, server)
        kept = torch.ones(len(received), dtype=torch.bool)
        for part in defense.filters:
            among = kept if defense.in_turn else torch.ones_like(kept)
            keep = torch.zeros_like(kept)
            keep[among] = judge(part, received.only(among), server)
            kept = kept & keep
        for step in defense.transforms:
            received = transform(step, received)
        self._last = reduce(defense.reduction, received, kept, server)
        return self._last

    def _after(self, gradient: Gradient) -> Float[Tensor, "items d"]:
        """Return the item table after a copy of the server takes a step down one upload."""
        parameters, adam = copy.deepcopy(([self.items, self.dense], self._adam))
        parameters[0].grad, parameters[1].grad = gradient.items, gradient.dense
        adam.step()
        return parameters[0]


@singledispatch
def client_loss(
    model: Model, own: Parameters, batch: Batch, streams: Streams
) -> tuple[Tensor, float]:
    """Return the loss of one client (Eq. 1), and its sample count."""
    raise no_plain(model)


@client_loss.register
def _mf(model: MF, own: Parameters, batch: Batch, streams: Streams) -> tuple[Tensor, float]:
    masks = pair_masks(model, batch, streams)
    pairs = (batch.positive, batch.negative)
    loss, _ = mf_loss(own.user, own.items, *pairs, masks, model.dropout, model.ridge / 2)
    return loss, float(len(batch.positive))


@client_loss.register
def _ncf(model: NCF, own: Parameters, batch: Batch, streams: Streams) -> tuple[Tensor, float]:
    pairs = (batch.positive, batch.negative)
    masks = pair_masks(model, batch, streams)
    loss = ncf_loss(model, own.user, own.items, own.dense, *pairs, masks)
    squares = own.items.square().sum() + own.user.square().sum() + own.dense.square().sum()
    return loss + model.ridge / 2 * squares, float(len(batch.positive))


def pair_masks(model: MF | NCF, batch: Batch, streams: Streams) -> Float[Tensor, "pairs 3 d"]:
    """Return the dropout masks (0 or 1) of each pair's user, positive and negative."""
    shape = (len(batch.positive), 3 * model.dim)
    lanes = philox.lanes(streams.of("dropout", int(batch.clients)), shape, 16)
    return kept(lanes, model.dropout).float().view(-1, 3, model.dim)


@client_loss.register
def _sas_rec(
    model: SASRec, own: Parameters, batch: Batch, streams: Streams
) -> tuple[Tensor, float]:
    count = min(len(batch.history) - 1, model.length)
    masks = sas_rec_masks(model, streams, int(batch.clients), count)
    pairs = (batch.history, batch.positive, batch.negative)
    loss = sas_rec_loss(model, own.items, own.dense, *pairs, masks)
    squares = own.items.square().sum() + own.dense.square().sum()
    return loss + model.ridge / 2 * squares, float(count)


def sas_rec_masks(model: SASRec, streams: Streams, client: int, count: int) -> Mapping[str, Tensor]:
    """Return dropout's masks by name: the first places of the masks of the longest sequence."""
    if model.dropout == 0:
        return {}
    masks = {}
    for name, shape in model.dropped(model.length).items():
        mask = kept(philox.lanes(streams.of(f"dropout/{name}", client), shape, 16), model.dropout)
        width = model.dropped(count)[name][-1]
        masks[name] = mask[..., :count, :width].float()
    return masks


def kept(lanes: Integer[np.ndarray, " *shape"], rate: float) -> Bool[Tensor, " *shape"]:
    """Return what dropout keeps, with 16 random bits for each element."""
    return torch.from_numpy(lanes >= dropped_below(rate))


@singledispatch
def task_loss(
    task: object, model: Model, own: Parameters, batch: Batch, streams: Streams
) -> Tensor:
    """Return the loss that a defence adds for one honest client."""
    raise no_plain(task)


@task_loss.register
def _contrastive(
    task: Union, model: Model, own: Parameters, batch: Batch, streams: Streams
) -> Tensor:
    items, history, client = own.items, batch.history.numpy(), int(batch.clients)
    if len(history) < 2 or task.weight == 0:
        return torch.zeros(())
    bits = philox.lanes(streams.of(PAIRS, client), (len(history), task.negatives + 1), 32)
    drawn = candidates(history, len(items), bits)
    shape = (*drawn.shape, items.shape[1])
    lanes = philox.lanes(streams.of(DROPOUT, client), (shape[0], shape[1] * shape[2]), 16)
    masks = kept(lanes, model.dropout).view(shape)
    loss = info_nce(items, torch.from_numpy(drawn), masks, model.dropout, task.reduction == "mean")
    return task.weight * loss


@task_loss.register
def _pieck(task: PIECK, model: Model, own: Parameters, batch: Batch, streams: Streams) -> Tensor:
    if streams.round < task.begins:
        return torch.zeros(())
    first = model.init_shared(len(own.items), Streams(streams.seed)).items
    moved = (own.items.detach() - first).norm(dim=1)
    popular = moved.argsort(descending=True)[: task.popular]
    pairs = torch.cat([batch.positive, batch.negative])
    near_items, apart = pieck_terms(own.user, own.items, pairs, popular, task.falling)
    return task.items_weight * near_items + task.user_weight * apart
