"""Defences on the dense stack of whole uploads (n, items, d), one upload after another."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from math import ceil

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.defenses.base import Filter, Mix, Reduce, ServerView, Transform
from fedrec.defenses.bucketing import Bucketing
from fedrec.defenses.bulyan import Bulyan
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.dnc import DnC
from fedrec.defenses.dp_fedavg import DPFedAvg
from fedrec.defenses.fools_gold import FoolsGold
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.defenses.union import Union
from fedrec.kernels import philox
from fedrec.reference import rules
from fedrec.reference.missing import no_plain
from fedrec.updates import Gradient


@dataclass(frozen=True)
class Uploads:
    """The uploads of one round's clients, with every coordinate."""

    items: Float[Tensor, "n items d"]
    dense: Float[Tensor, "n params"]
    weight: Float[Tensor, " n"]  # sample counts

    def __len__(self) -> int:
        """The number of clients n."""
        return len(self.weight)

    def flat(self) -> Float[Tensor, "n coordinates"]:
        """Return each upload as one long vector."""
        return torch.cat([self.items.flatten(1), self.dense], dim=1)

    def of(self, client: int) -> Gradient:
        """Return one client's upload."""
        return Gradient(self.items[client], self.dense[client])

    def only(self, some: Bool[Tensor, " n"]) -> "Uploads":
        """Return the uploads that a mask marks."""
        return Uploads(self.items[some], self.dense[some], self.weight[some])

    def gradient(self, vector: Float[Tensor, " coordinates"]) -> Gradient:
        """Return the gradient that one long vector is."""
        return self.of_vectors(vector[None], self.weight[:1]).of(0)

    def of_vectors(
        self, stack: Float[Tensor, "k coordinates"], weight: Float[Tensor, " k"]
    ) -> "Uploads":
        """Return the uploads that some long vectors are."""
        items, dense = stack.split([self.items[0].numel(), self.dense.shape[1]], dim=1)
        return Uploads(items.reshape(len(stack), *self.items.shape[1:]), dense, weight)


@dataclass(frozen=True)
class ServerSide:
    """The server's view, the last aggregate, and the item table after a step of its Adam."""

    view: ServerView
    last: Gradient
    after: Callable[[Gradient], Float[Tensor, "items d"]]

    @property
    def f(self) -> int:
        """The number of malicious uploads that the server assumes."""
        return self.view.expected_malicious


@singledispatch
def mix(part: Mix, uploads: Uploads, server: ServerSide) -> Uploads:
    """Return the mixtures of uploads."""
    raise no_plain(part)


@mix.register
def _nnm(part: NNM, uploads: Uploads, server: ServerSide) -> Uploads:
    vectors = uploads.flat()
    near = rules.nearest(vectors, max(len(uploads) - server.f, 1))
    means = torch.stack([vectors[members].mean(0) for members in near])
    return uploads.of_vectors(means, torch.stack([uploads.weight[some].sum() for some in near]))


@mix.register
def _bucketing(part: Bucketing, uploads: Uploads, server: ServerSide) -> Uploads:
    order = server.view.streams.of("bucketing").lanes((len(uploads),)).argsort(kind="stable")
    holder = torch.from_numpy(order // part.size)
    weight = torch.zeros(int(holder.max()) + 1).index_add(0, holder, uploads.weight)
    return uploads.of_vectors(rules.group_means(uploads.flat(), holder), weight)


@singledispatch
def judge(part: Filter, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    """Return the mask of the uploads that a filter keeps, out of all uploads."""
    raise no_plain(part)


@judge.register
def _krum(part: Krum, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    n = len(uploads)
    count = n - server.f - (2 if part.neighbours == "n-f-2" else 1)
    scores = rules.krum_scores(uploads.flat(), min(max(count, 1), n - 1), part.squared)
    kept = max(n - server.f, 1) if part.keep == "n-f" else part.keep
    return _marked(n, rules.best(scores, kept))


@judge.register
def _bulyan(part: Bulyan, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    n, f = len(uploads), _bulyans(server.f, len(uploads))
    chosen = rules.iterated_krum(uploads.flat(), n - 2 * f, f) if server.f else range(n)
    return _marked(n, [*chosen])


@judge.register
def _dnc(part: DnC, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    n, fail = len(uploads), int(round(part.share * server.f, 9))
    if fail == 0:
        return _marked(n, [*range(n)])
    passed = torch.zeros(n)
    for draw in range(part.iterations):
        scores = rules.projections(_drawn(part, uploads, server, draw).double())
        passed += _marked(n, rules.best(scores.tolist(), max(n - fail, 1)))
    return passed == passed.max()


def _drawn(
    part: DnC, uploads: Uploads, server: ServerSide, draw: int
) -> Float[Tensor, "n coordinates"]:
    """Return the coordinates of one draw of DnC: those of some items, and as many others."""
    (_, n_items, _), params = uploads.items.shape, uploads.dense.shape[1]
    count = min(part.sample, n_items)

    def chosen(purpose: str, of: int, number: int) -> Int[Tensor, " number"]:
        drawn = server.view.streams.of(purpose, draw).chosen(of, number)
        return torch.from_numpy(drawn).long()

    rows = uploads.items[:, chosen("dnc-items", n_items, count)].flatten(1)
    if not params:
        return rows
    some = chosen("dnc-params", params, ceil(params * count / n_items))
    return torch.cat([rows, uploads.dense[:, some]], dim=1)


@judge.register
def _union(part: Union, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    if (part.preview, part.items, part.distance) != ("adam", "shared", "unsquared"):
        raise no_plain(part, "with these settings")
    n_items, streams = uploads.items.shape[1], server.view.streams
    bits = philox.lanes(streams.of("uniformity-items"), (n_items,), 32) >> 1
    drawn = bits.argsort(kind="stable")[: part.sample]
    found = [
        torch.pdist(server.after(uploads.of(client))[torch.from_numpy(drawn)]).mean()
        for client in range(len(uploads))
    ]
    return torch.from_numpy(part.in_majority(torch.stack(found).double().numpy(), server.view))


@singledispatch
def transform(part: Transform, uploads: Uploads) -> Uploads:
    """Return the uploads after changing each one separately."""
    raise no_plain(part)


@transform.register
def _norm_bound(part: NormBound | DPFedAvg, uploads: Uploads) -> Uploads:
    return uploads.of_vectors(rules.clipped(uploads.flat(), part.bound), uploads.weight)


@singledispatch
def reduce(
    part: Reduce, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    """Return one gradient from the uploads kept."""
    raise no_plain(part)


@reduce.register
def _mean(part: Mean, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide) -> Gradient:
    return uploads.gradient(rules.weighted_mean(uploads.flat()[kept], uploads.weight[kept]))


@reduce.register
def _trimmed_mean(
    part: TrimmedMean, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    n = int(kept.sum())
    wanted = server.f if part.trim == "f" else int(round(part.trim * n, 9))
    return uploads.gradient(rules.trimmed_mean(uploads.flat()[kept], min(wanted, (n - 1) // 2)))


@reduce.register
def _coordinate_median(
    part: CoordinateMedian, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    return uploads.gradient(rules.median(uploads.flat()[kept]))


@reduce.register
def _geometric_median(
    part: GeometricMedian, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    counts = uploads.weight if part.weights == "samples" else torch.ones(len(uploads))
    rest = counts[kept], part.iterations, part.smoothing
    return uploads.gradient(rules.geometric_median(uploads.flat()[kept], *rest))


@reduce.register
def _bulyans_mean(
    part: Bulyan, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    count = int(kept.sum()) - 2 * _bulyans(server.f, len(uploads))
    return uploads.gradient(rules.mean_near_median(uploads.flat()[kept], max(count, 1)))


@reduce.register
def _fools_gold(
    part: FoolsGold, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    vectors, weight = uploads.flat()[kept], uploads.weight[kept]
    factors = torch.tensor(rules.fools_gold_factors(vectors.double(), part.kappa))
    return uploads.gradient(rules.weighted_mean(vectors * factors[:, None].float(), weight))


@reduce.register
def _centred_clipping(
    part: CentredClipping, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    center = torch.cat([server.last.items.flatten(), server.last.dense])
    rest = center, part.radius, part.iterations
    return uploads.gradient(rules.centred_clipping(uploads.flat()[kept], *rest))


@reduce.register
def _dp_fedavg(
    part: DPFedAvg, uploads: Uploads, kept: Bool[Tensor, " n"], server: ServerSide
) -> Gradient:
    mean, spread = uploads.gradient(uploads.flat()[kept].mean(0)), part.noise * part.bound
    streams, n = server.view.streams, int(kept.sum())

    def noise(purpose: str, *shape: int) -> Tensor:
        return torch.from_numpy(streams.of(purpose).normal(shape)) * (spread / n)

    dense = noise("dp-fedavg-dense", 1, len(mean.dense))[0]
    return Gradient(mean.items + noise("dp-fedavg-items", *mean.items.shape), mean.dense + dense)


def _bulyans(f: int, n: int) -> int:
    """Return the malicious uploads that Bulyan can assume among n: it needs n ≥ 4f + 3."""
    return min(f, max(n - 3, 0) // 4)


def _marked(n: int, chosen: list[int]) -> Bool[Tensor, " n"]:
    return torch.zeros(n, dtype=torch.bool).index_fill_(0, torch.tensor(chosen), True)
