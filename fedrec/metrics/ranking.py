"""Leave-one-out ranking metrics under the all-ranking protocol (paper, section 5.1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import fsum, log2
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.data.split import Split
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.ranks import positions
from fedrec.kernels.threads import spread
from fedrec.models.base import Sequences
from fedrec.plan.metrics import CUTOFFS
from fedrec.records import Hits

# The most users and scores to rank at a time: they fit a CPU's cache, and they fill a GPU.
USERS, SCORES = {"cpu": 128, "cuda": 1024}, {"cpu": 2**20, "cuda": 2**26}

RepeatRule = Literal["miss", "drop_user", "unmask"]
Metrics = Mapping[str, float]


class Ranking(NamedTuple):
    """The ranking metrics of the evaluated users' held-out items."""

    validation: Metrics
    test: Metrics
    hits: Hits  # hits of the test items


@dataclass(frozen=True)
class _Block:
    """Some users, their two targets, and the positions of their history in their score matrix."""

    users: Int[Tensor, " b"]
    validation: Int[Tensor, " b"]
    test: Int[Tensor, " b"]
    seen_before: Int[Tensor, " cells"]  # distinct flat indices, in (b, items), of training items
    seen_after: Int[Tensor, " more"]  # the same with the validation item
    validation_seen: Bool[Tensor, " b"]  # the validation item is also a training item
    test_seen: Bool[Tensor, " b"]  # the test item is also a training item or the validation item
    trained: Sequences  # training items
    validated: Sequences  # training items and the validation item


class LeaveOneOut:
    """Ranks each user's validation and test item among all items outside the rest of its history.

    `repeats` sets what happens with a target that its user also visited before: it is a miss
    (`miss`), the user is dropped (`drop_user`), or it is ranked as usual (`unmask`).
    """

    def __init__(
        self, split: Split, users: Int[np.ndarray, " users"], repeats: RepeatRule, device: str
    ) -> None:
        self._repeats = repeats
        size = min(USERS[device], max(SCORES[device] // split.n_items, 1))
        self._blocks = [
            _block(split, users[i : i + size], device) for i in range(0, len(users), size)
        ]

    def __call__(
        self,
        scores: Callable[[Int[Tensor, " b"], Sequences], Float[Tensor, "b items"]],
        sequential: bool = True,
    ) -> Ranking:
        """Compute the metrics, given a function that scores all items for some users.

        The function receives the users and their past items. If the past does not matter
        (`sequential` is False), the items are scored once for both targets.
        """
        # On a GPU one thread is enough, and the run's stream belongs to this thread.
        each = spread if on_cpu(self._blocks[0].users) else map
        positions = each(lambda block: self._rank(block, scores, sequential), self._blocks)
        validation, test = (torch.cat(p).cpu().numpy() for p in zip(*positions, strict=True))
        return Ranking(ranking_metrics(validation), ranking_metrics(test), self._hits(test))

    def _hits(self, position: Float[np.ndarray, " users"]) -> Hits:
        """Return the users whose test item is among the first 20, without the dropped users."""
        users = torch.cat([block.users for block in self._blocks]).cpu().numpy()
        hit = position <= CUTOFFS[-1]
        counted = int((~np.isnan(position)).sum())
        return Hits(users=counted, user=users[hit].tolist(), position=position[hit].tolist())

    def _rank(
        self,
        block: _Block,
        score: Callable[[Int[Tensor, " b"], Sequences], Float[Tensor, "b items"]],
        sequential: bool,
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        scores = score(block.users, block.trained)
        validation = positions(scores, block.validation, block.seen_before, block.validation_seen)
        scores = score(block.users, block.validated) if sequential else scores
        test = positions(scores, block.test, block.seen_after, block.test_seen)
        return self._settle(validation, block.validation_seen), self._settle(test, block.test_seen)

    def _settle(
        self, position: Float[Tensor, " b"], seen: Bool[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        """Apply the rule for targets that the user visited before; NaN marks a dropped user."""
        if self._repeats == "drop_user":
            return position.masked_fill(seen, torch.nan)
        if self._repeats == "miss":
            return position.masked_fill(seen, torch.inf)
        return position


def ranking_metrics(position: Float[np.ndarray, " users"]) -> Metrics:
    """Compute HR@k, NDCG@k and MRR from 1-based positions; positions that are NaN are left out.

    There is one relevant item per user, so the IDCG of NDCG is 1.
    """
    position = position[~np.isnan(position)]
    values: dict[str, float] = {}
    for k in CUTOFFS:
        hit = position <= k
        values[f"hr@{k}"] = float(hit.mean())
        # The last bits of NumPy's own log2 depend on the machine's vector instructions.
        gains = [1 / log2(place + 1) for place in position[hit].tolist()]
        values[f"ndcg@{k}"] = fsum(gains) / max(len(position), 1)
    values["mrr"] = float((1 / position).mean())
    return values


def _block(split: Split, users: Int[np.ndarray, " b"], device: str) -> _Block:
    history = [split.train[split.offsets[u] : split.offsets[u + 1]] for u in users]
    flat = np.concatenate([items + row * split.n_items for row, items in enumerate(history)])
    validation, test = split.validation[users], split.test[users]
    validation_seen = np.array([v in h for v, h in zip(validation, history, strict=True)])
    test_seen = np.array([t in h for t, h in zip(test, history, strict=True)])
    after = np.union1d(flat, np.arange(len(users)) * split.n_items + validation)
    seen = (np.unique(flat), after, validation_seen, test_seen | (test == validation))
    arrays = (users, validation, test, *seen)
    longer = [np.append(items, own) for items, own in zip(history, validation, strict=True)]
    past: list[Any] = [_sequences(parts, device) for parts in (history, longer)]
    return _Block(*[*(torch.from_numpy(a).to(device) for a in arrays), *past])


def _sequences(parts: list[np.ndarray], device: str) -> Sequences:
    sizes = torch.tensor([len(part) for part in parts], device=device)
    return Sequences(torch.from_numpy(np.concatenate(parts)).to(device), sizes)
