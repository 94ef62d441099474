"""Attacks coordinate by coordinate, and clients that upload what a test tells them to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fedrec.attacks.base import AttackerView
from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.kernels import philox
from fedrec.models.base import Batch, LocalGradients, Sequences, Shared
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.oracles.dense import dense_items


@dataclass(frozen=True)
class Told:
    """A model whose clients upload what they are told; a client's own parameter is its place."""

    sequential: ClassVar[bool] = False
    uploads: Updates
    learning_rate: float = 0.1
    dropout: float = 0.0

    def init_shared(self, n_items: int, streams: Streams) -> Shared:
        return Shared(self.uploads.table, torch.zeros(self.uploads.dense.shape[1]))

    def init_local(self, n_users: int, streams: Streams) -> Tensor:
        return torch.arange(n_users).float()[:, None]

    def gradients(
        self, shared: Shared, local: Tensor, batch: Batch, streams: Streams
    ) -> LocalGradients:
        uploads = in_order(self.uploads, local[:, 0].long().tolist())
        return LocalGradients(uploads, torch.zeros_like(local), torch.zeros(len(local)))

    def scores_at(self, shared: Shared, local: Tensor, batch: Batch, pairs: Tensor) -> Tensor:
        return local[batch.owner[pairs]] @ shared.items.T

    def scores(self, shared: Shared, local: Tensor, past: Sequences) -> Tensor:
        return local @ shared.items.T


def told_view(uploads: Updates, selected: Sequence[int]) -> AttackerView:
    """The clients of `uploads` are all malicious, with user ids 10, 13, …; some are selected."""
    n, model, streams = len(uploads), Told(uploads), Streams(0)
    pairs = one_pair_each(torch.arange(n) * 3 + 10)
    devices = Devices(model, pairs, model.init_local(n, streams))
    chosen = torch.tensor(selected)
    return AttackerView(
        shared=model.init_shared(len(uploads.table), streams),
        devices=devices,
        selected=chosen,
        benign=devices.gradients(model.init_shared(0, streams), chosen, streams).updates,
    )


def one_pair_each(users: Tensor) -> FixedPairs:
    """Item 0 before item 1, for every client."""
    n = len(users)
    return FixedPairs(
        users=users,
        sizes=torch.ones(n, dtype=torch.long),
        row_sizes=torch.full((n,), 2),
        positive=torch.zeros(n, dtype=torch.long),
        negative=torch.ones(n, dtype=torch.long),
        positive_row=torch.zeros(n, dtype=torch.long),
        negative_row=torch.ones(n, dtype=torch.long),
        row_item=torch.tensor([0, 1]).repeat(n),
    )


def in_order(updates: Updates, clients: Sequence[int]) -> Updates:
    """The uploads of these clients, in the order asked for."""
    rows = [(updates.owner == client).nonzero()[:, 0] for client in clients]
    order = torch.cat(rows)
    return Updates(
        table=updates.table,
        owner=torch.arange(len(clients)).repeat_interleave(torch.tensor([len(r) for r in rows])),
        item=updates.item[order],
        value=updates.value[order],
        ridge=updates.ridge[clients],
        dense=updates.dense[clients],
        weight=updates.weight[clients],
    )


def three_clients() -> Updates:
    """Two items in one dimension, with unequal ridges, and two dense parameters.

    Item 0 has the gradients 1, 2, 3 (μ = 2, σ = 1), and item 1 has −6, −4, −2 (μ = −4, σ = 2).
    The dense ones are 0.5, 1.5, 2.5 (μ = 1.5, σ = 1) and −1, 0, 1 (μ = 0, σ = 1).
    """
    return Updates(
        table=torch.tensor([[10.0], [20.0]]),
        owner=torch.tensor([0, 1, 1, 2, 2]),
        item=torch.tensor([1, 0, 1, 0, 1]),
        value=torch.tensor([[-8.0], [2.0], [-4.0], [1.0], [-6.0]]),
        ridge=torch.tensor([0.1, 0.0, 0.2]),
        dense=torch.tensor([[0.5, -1.0], [1.5, 0.0], [2.5, 1.0]]),
        weight=torch.tensor([1.0, 2.0, 4.0]),
    )


def wide_clients(n_items: int = 300, d: int = 8, params: int = 50) -> Updates:
    """Three clients with −3, −1 and 1 in the first half of the items and 1, 3, 5 in the second.

    So μ is −1 or 3, and σ is 2; the dense coordinates have μ = 3 and σ = 2.
    """
    first = torch.tensor([-3.0, -1.0, 1.0])[:, None]
    items = torch.cat([first.repeat(1, n_items // 2), first.repeat(1, n_items // 2) + 4], dim=1)
    return Updates(
        table=torch.zeros(n_items, d),
        owner=torch.arange(3).repeat_interleave(n_items),
        item=torch.arange(n_items).repeat(3),
        value=items.reshape(-1, 1).repeat(1, d),
        ridge=torch.zeros(3),
        dense=first.repeat(1, params) + 4,
        weight=torch.ones(3),
    )


def flat(updates: Updates) -> np.ndarray:
    """Every client's whole upload as one row of numbers: items, then the dense part."""
    return torch.cat([dense_items(updates).flatten(1), updates.dense], dim=1).double().numpy()


def statistics(updates: Updates) -> tuple[list[float], list[float]]:
    """μ and σ of each coordinate of the whole uploads, the sample deviation spelt out."""
    means, deviations = [], []
    for column in flat(updates).T.tolist():
        n, mean = len(column), sum(column) / len(column)
        squares = sum((x - mean) ** 2 for x in column)
        means.append(mean)
        deviations.append((squares / (n - 1)) ** 0.5 if n > 1 else 0.0)
    return means, deviations


def shifted(normal: Updates, z: float) -> list[float]:
    """What LIE uploads."""
    return [mean - z * deviation for mean, deviation in zip(*statistics(normal), strict=True)]


def reversed_mean(normal: Updates, epsilon: float) -> list[float]:
    """What IPM uploads."""
    return [-epsilon * mean for mean in statistics(normal)[0]]


def perturbation(normal: Updates, kind: str) -> np.ndarray:
    """The direction in which Min-Max and Min-Sum move the mean."""
    mean, deviation = map(np.array, statistics(normal))
    if kind == "unit":
        return -mean / np.sqrt((mean**2).sum())
    return -deviation if kind == "std" else -np.sign(mean)


def distances_to(normal: Updates, upload: np.ndarray) -> list[float]:
    """Squared distances of an upload from the normal ones, each difference written out."""
    return [float(((upload - one) ** 2).sum()) for one in flat(normal)]


def max_within(normal: Updates, upload: np.ndarray) -> bool:
    """Min-Max's constraint."""
    farthest = max(max(distances_to(normal, one)) for one in flat(normal))
    return max(distances_to(normal, upload)) <= farthest


def sum_within(normal: Updates, upload: np.ndarray) -> bool:
    """Min-Sum's constraint."""
    largest = max(sum(distances_to(normal, one)) for one in flat(normal))
    return sum(distances_to(normal, upload)) <= largest


def halved(fits: Callable[[float], bool], start: float = 10.0, tolerance: float = 1e-5) -> float:
    """Algorithm 1 of Shejwalkar and Houmansadr, with its own test for the end."""
    succeeded, factor, step = 0.0, start, start
    while abs(succeeded - factor) > tolerance:
        if fits(factor):
            succeeded = factor
            factor += step / 2
        else:
            factor -= step / 2
        step /= 2
    return succeeded


def searched(score: Callable[[float], float], largest: float, trials: int) -> float:
    """The factor that LIESearch and IPMSearch find: the best of a few, and then a higher one."""
    more = (trials - 1) // 2
    tried = [largest / 4**i for i in range(trials - more)]
    scores = [score(factor) for factor in tried]
    factor, best = tried[-1], scores[-1]
    for other, found in zip(tried[-2::-1], scores[-2::-1], strict=True):
        if found - best > 1e-4 * abs(best):
            factor, best = other, found
    for i in range(more):
        higher = min(factor * 4 ** (0.5 ** (i + 1)), largest)
        found = score(higher)
        if found - best > 1e-4 * abs(best):
            factor, best = higher, found
    return factor


def mimicked(normal: Updates) -> int:
    """The client of whom Mimic makes copies: farthest from the mean along the widest direction."""
    rows = flat(normal)
    centred = rows - rows.mean(0)
    direction = np.linalg.svd(centred)[2][0]
    return int(np.abs(centred @ direction).argmax())


def opposed(normal: Updates, near: float, far: float, uniform: Sequence[float]) -> list[float]:
    """What Fang uploads, given its draws from U[0, 1]."""
    forged = []
    for mean, deviation, u in zip(*statistics(normal), uniform, strict=True):
        distance = near + (far - near) * u
        if mean > 0:
            forged.append(mean - distance * deviation)
        elif mean < 0:
            forged.append(mean + distance * deviation)
        else:
            forged.append(mean)
    return forged


def sampled(normal: Updates, standard_normal: Sequence[float]) -> list[float]:
    """What Gaussian uploads, given its draws from N(0, 1)."""
    columns = zip(*statistics(normal), standard_normal, strict=True)
    return [mean + deviation * x for mean, deviation, x in columns]


def worst_pair(user: Tensor, items: Tensor) -> tuple[int, int]:
    """FedAttack's positive, the farthest item of a user embedding, and its negative."""
    scores = [sum(a * b for a, b in zip(user.tolist(), v, strict=True)) for v in items.tolist()]
    order = sorted(range(len(scores)), key=lambda item: scores[item])
    return order[0], order[-1]


def lloyd(points: Tensor, start: Sequence[int], iterations: int = 100) -> list[int]:
    """Each point's cluster, by k-means from the points `start`."""
    centroids = [points[i] for i in start]
    labels: list[int] = []
    for _ in range(iterations):
        distances = [[float((p - c).square().sum()) for c in centroids] for p in points]
        found = [row.index(min(row)) for row in distances]
        if found == labels:
            break
        labels = found
        for k in range(len(centroids)):
            mine = [p for p, label in zip(points, labels, strict=True) if label == k]
            centroids[k] = torch.stack(mine).mean(0) if mine else centroids[k]
    return labels


def candidates(
    history: Sequence[int], n_items: int, negatives: int, streams: Streams, client: int
) -> list[list[int]]:
    """The contrastive task's anchors, positives and negatives, drawn one by one.

    A draw below n takes 32 random bits b, and is ⌊b · n / 2³²⌋; an anchor's draws are a row.
    """
    outside = [item for item in range(n_items) if item not in set(history)]
    outside = outside or list(range(n_items))
    rows = philox.lanes(streams.of("contrastive-pairs", client), (len(history), negatives + 1), 32)
    drawn = []
    for a, anchor in enumerate(history):
        bits = iter(rows[a].tolist())
        step = 1 + (next(bits) * (len(history) - 1) >> 32)
        positive = history[(a + step) % len(history)]
        others = [outside[next(bits) * len(outside) >> 32] for _ in range(negatives)]
        drawn.append([anchor, positive, *others])
    return drawn


def info_nce(
    table: Tensor, drawn: Sequence[Sequence[int]], masks: Tensor, dropout: float, reduction: str
) -> Tensor:
    """Eq. 4: −log of the positive's share in Σ exp, for the table to be differentiated by."""
    losses = []
    for row, kept in zip(drawn, masks, strict=True):
        embedding = table[list(row)] * kept / (1 - dropout)
        anchor, positive, others = embedding[0], embedding[1], embedding[2:]
        top = torch.exp(anchor @ positive)
        losses.append(-torch.log(top / (top + torch.exp(others @ anchor).sum())))
    total = torch.stack(losses).sum()
    return total / len(losses) if reduction == "mean" else total


def confused(items: Tensor) -> Tensor:
    """Half the gradient of Σ_i ‖v_i − f_i‖² − ‖v_i − n_i‖², by autograd, partners found one by one.

    UA-FedRec's.
    """
    table = items.double().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for i, own in enumerate(items.double()):
        others = [j for j in range(len(items)) if j != i]
        products = {j: float(own @ items[j].double()) for j in others}
        nearest, farthest = max(others, key=products.__getitem__), min(others, key=products.get)
        loss = loss + (table[i] - table[farthest]).square().sum()
        loss = loss - (table[i] - table[nearest]).square().sum()
    return torch.autograd.grad(loss, table)[0] / 2
