"""The interface of defences: tasks for honest clients, filters, transforms and one reduction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.clients.devices import Devices
from fedrec.models.base import Batch, LocalGradients, Shared
from fedrec.rng import Streams
from fedrec.server import Preview
from fedrec.updates import Gradient, Updates

Scores = Mapping[str, Float[Tensor, " n"]]


@dataclass(frozen=True)
class ClientView:
    """What honest clients know when a defence gives them a task in addition to training."""

    shared: Shared
    devices: Devices
    positions: Int[Tensor, " n"]  # positions of the clients in `devices`
    batch: Batch  # the data they train on
    plain: LocalGradients  # gradients of the training loss only
    streams: Streams


@dataclass(frozen=True)
class ServerView:
    """What a defence may use besides the uploads. It has no label of who is malicious."""

    shared: Shared
    preview: Preview
    expected_malicious: int  # malicious uploads that the server assumes: ⌈n·m%⌉; 0 without attack
    streams: Streams


@dataclass(frozen=True)
class Judgement:
    """A filter's decision, and the scores behind it, for the record."""

    keep: Bool[Tensor, " n"]
    scores: Scores = field(default_factory=dict)


@runtime_checkable
class ClientTask(Protocol):
    """Changes what honest clients compute, such as an additional loss."""

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """Return the honest clients' gradients with the task included."""


@runtime_checkable
class Filter(Protocol):
    """Decides which uploads to keep."""

    def judge(self, received: Updates, among: Bool[Tensor, " n"], view: ServerView) -> Judgement:
        """Decide which of the uploads that `among` marks to keep; only these are compared."""


@runtime_checkable
class Transform(Protocol):
    """Changes each upload separately, for example by clipping."""

    def transform(self, received: Updates, view: ServerView) -> Updates:
        """Return the changed uploads, one for each received upload."""


@runtime_checkable
class Reduce(Protocol):
    """Turns the uploads into one gradient."""

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the aggregated gradient of the uploads that `kept` marks."""


DefensePart = ClientTask | Filter | Transform | Reduce


@dataclass(frozen=True)
class Decision:
    """A defence's decision on the uploads of one round."""

    kept: Bool[Tensor, " n"]
    scores: Scores
    gradient: Gradient


@dataclass(frozen=True)
class Defense:
    """A defence: client tasks, then filters, then transforms in order, then one reduction."""

    tasks: Sequence[ClientTask]
    filters: Sequence[Filter]
    transforms: Sequence[Transform]
    reduction: Reduce
    in_turn: bool = False  # each filter judges only the uploads that earlier filters kept

    @staticmethod
    def compose(parts: Sequence[DefensePart], in_turn: bool = False) -> "Defense":
        """Build a defence from a list of methods. One method may play several roles.

        Raises:
            ValueError: the list has no reduction, or more than one.
        """
        reductions = [p for p in parts if isinstance(p, Reduce)]
        if len(reductions) != 1:
            raise ValueError(
                f"a defence needs exactly one reduction, this one has {len(reductions)}"
            )
        return Defense(
            tasks=[p for p in parts if isinstance(p, ClientTask)],
            filters=[p for p in parts if isinstance(p, Filter)],
            transforms=[p for p in parts if isinstance(p, Transform)],
            reduction=reductions[0],
            in_turn=in_turn,
        )

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """Apply the tasks of this defence to the gradients of honest clients."""
        for task in self.tasks:
            honest = task.on_clients(honest, view)
        return honest

    def __call__(self, received: Updates, view: ServerView) -> Decision:
        """Aggregate one round's uploads."""
        kept = torch.ones(len(received), dtype=torch.bool, device=received.weight.device)
        scores: dict[str, Tensor] = {}
        everyone = kept
        for part in self.filters:
            judgement = part.judge(received, kept if self.in_turn else everyone, view)
            kept = kept & judgement.keep
            scores.update(judgement.scores)
        if self.filters and received.whole:
            return self._unless_nobody(received, kept, scores, view)
        # Filters that each judge all uploads may drop every upload. Then the gradient is zero.
        if self.filters and not kept.any():
            received, kept = received.scaled(torch.zeros_like(received.weight)), everyone
        return Decision(kept, scores, self._reduced(received, kept, view))

    def _unless_nobody(
        self, received: Updates, kept: Bool[Tensor, " n"], scores: Scores, view: ServerView
    ) -> Decision:
        """Return the decision without waiting; the gradient is zero if no upload is kept."""
        heard = kept.any()
        kept = kept | ~heard
        gradient = self._reduced(received, kept, view)
        return Decision(kept, scores, gradient.map(lambda part: part * heard))

    def _reduced(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        for step in self.transforms:
            received = step.transform(received, view)
        return self.reduction.reduce(received, kept, view)
