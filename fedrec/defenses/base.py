"""A defence is filters, then transforms, then one reduction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from fedrec.models.base import Shared
from fedrec.rng import Streams
from fedrec.updates import Gradient, Updates


@dataclass(frozen=True)
class ServerView:
    """What a defence may use beside the uploads. It holds no label of who is malicious."""

    shared: Shared
    streams: Streams


@runtime_checkable
class Filter(Protocol):
    """Decides which uploads to keep."""

    def keep(self, received: Updates, view: ServerView) -> Bool[Tensor, " n"]:
        """True for each upload that stays."""


@runtime_checkable
class Transform(Protocol):
    """Changes uploads one by one, such as clipping."""

    def transform(self, received: Updates, view: ServerView) -> Updates:
        """The changed uploads, one for each received."""


@runtime_checkable
class Reduce(Protocol):
    """Turns the uploads into one gradient."""

    def reduce(self, received: Updates, view: ServerView) -> Gradient:
        """The aggregated gradient."""


@dataclass(frozen=True)
class Verdict:
    """What a defence decided about one round's uploads."""

    kept: Bool[Tensor, " n"]
    gradient: Gradient


@dataclass(frozen=True)
class Defense:
    """Filters that each judge all uploads, then transforms in order, then one reduction."""

    filters: Sequence[Filter]
    transforms: Sequence[Transform]
    reduction: Reduce

    @staticmethod
    def compose(parts: Sequence[Filter | Transform | Reduce]) -> "Defense":
        """A defence from a list of methods, as the config names them.

        Raises:
            ValueError: the list has no reduction, or more than one.
        """
        reductions = [p for p in parts if isinstance(p, Reduce)]
        if len(reductions) != 1:
            raise ValueError(
                f"a defence needs exactly one reduction, this one has {len(reductions)}"
            )
        filters = [p for p in parts if isinstance(p, Filter)]
        transforms = [p for p in parts if isinstance(p, Transform)]
        return Defense(filters, transforms, reductions[0])

    def __call__(self, received: Updates, view: ServerView) -> Verdict:
        """Aggregate one round's uploads."""
        kept = torch.ones(len(received), dtype=torch.bool, device=received.weight.device)
        for part in self.filters:
            kept &= part.keep(received, view)
        survivors = received.select(kept) if self.filters else received
        for step in self.transforms:
            survivors = step.transform(survivors, view)
        return Verdict(kept, self.reduction.reduce(survivors, view))
