"""Defences on the dense stack of whole uploads (n, items, d), one upload after another."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedrec.defenses.base import Filter, Mix, Reduce, ServerView, Transform
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.union import Union
from fedrec.kernels import philox
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


@dataclass(frozen=True)
class ServerSide:
    """The server's view, and the item table that it would have after a step of Adam."""

    view: ServerView
    after: Callable[[Gradient], Float[Tensor, "items d"]]


@singledispatch
def mix(part: Mix, uploads: Uploads, server: ServerSide) -> Uploads:
    """Return the mixtures of uploads."""
    raise NotImplementedError(f"no plain version of {type(part).__name__}")


@mix.register
def _nnm(part: NNM, uploads: Uploads, server: ServerSide) -> Uploads:
    vectors, count = uploads.flat(), len(uploads) - server.view.expected_malicious
    items, dense, weight = [], [], []
    for mine in vectors:
        near = torch.stack([(mine - other).norm() for other in vectors]).argsort()[:count]
        items.append(uploads.items[near].mean(0))
        dense.append(uploads.dense[near].mean(0))
        weight.append(uploads.weight[near].sum())
    return Uploads(torch.stack(items), torch.stack(dense), torch.stack(weight))


@singledispatch
def judge(part: Filter, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    """Return the mask of the uploads that a filter keeps, out of all uploads."""
    raise NotImplementedError(f"no plain version of {type(part).__name__}")


@judge.register
def _krum(part: Krum, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    vectors, f = uploads.flat(), server.view.expected_malicious
    if part.neighbours != "n-f-2" or not part.squared:
        raise NotImplementedError("no plain version of this Krum")
    nearest = max(len(uploads) - f - 2, 1)
    scores = []
    for mine in vectors:
        distance = torch.stack([(mine - other).square().sum() for other in vectors])
        scores.append(distance.sort().values[1 : nearest + 1].sum())  # the first is itself
    count = len(uploads) - f if part.keep == "n-f" else part.keep
    best = torch.stack(scores).argsort(stable=True)[:count]
    return torch.zeros(len(uploads), dtype=torch.bool).index_fill_(0, best, True)


@judge.register
def _union(part: Union, uploads: Uploads, server: ServerSide) -> Bool[Tensor, " n"]:
    if (part.preview, part.items, part.distance) != ("adam", "shared", "unsquared"):
        raise NotImplementedError("no plain version of this UNION")
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
    raise NotImplementedError(f"no plain version of {type(part).__name__}")


@transform.register
def _norm_bound(part: NormBound, uploads: Uploads) -> Uploads:
    scale = torch.tensor([part.bound / max(float(g.norm()), part.bound) for g in uploads.flat()])
    return replace(
        uploads, items=uploads.items * scale[:, None, None], dense=uploads.dense * scale[:, None]
    )


@singledispatch
def reduce(part: Reduce, uploads: Uploads, kept: Bool[Tensor, " n"]) -> Gradient:
    """Return one gradient from the uploads kept."""
    raise NotImplementedError(f"no plain version of {type(part).__name__}")


@reduce.register
def _mean(part: Mean, uploads: Uploads, kept: Bool[Tensor, " n"]) -> Gradient:
    share = uploads.weight * kept / (uploads.weight * kept).sum()
    items = torch.zeros_like(uploads.items[0])
    for client, weight in enumerate(share):
        items += weight * uploads.items[client]
    return Gradient(items, share @ uploads.dense)
