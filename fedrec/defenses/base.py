"""A defence is tasks for honest clients, then filters, then transforms, then one reduction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedrec.clients.devices import Devices
from fedrec.models.base import Batch, LocalGradients, Shared
from fedrec.rng import Streams
from fedrec.updates import Gradient, Updates

PreviewRule = Literal["sgd", "adam"]
# `server.Server.preview`
Preview = Callable[[Float[Tensor, "rows d"], Int[Tensor, " rows"], PreviewRule], Tensor]
Scores = Mapping[str, Float[Tensor, " n"]]


@dataclass(frozen=True)
class ClientView:
    """What honest clients have at hand when a defence asks more of them than training."""

    shared: Shared
    devices: Devices
    positions: Int[Tensor, " n"]  # of the clients in `devices`
    batch: Batch  # what they train on
    plain: LocalGradients  # of the training loss alone
    streams: Streams


@dataclass(frozen=True)
class ServerView:
    """What a defence may use beside the uploads. It holds no label of who is malicious."""

    shared: Shared
    preview: Preview
    expected_malicious: int  # uploads that the server is prepared for: ⌈n·m%⌉; 0 without attack
    streams: Streams


@dataclass(frozen=True)
class Judgement:
    """A filter's decision, and what it rests on, to be recorded."""

    keep: Bool[Tensor, " n"]
    scores: Scores = field(default_factory=dict)


@runtime_checkable
class ClientTask(Protocol):
    """Changes what honest clients compute, such as an additional loss."""

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """The honest clients' gradients with the task done."""


@runtime_checkable
class Filter(Protocol):
    """Decides which uploads to keep."""

    def judge(self, received: Updates, among: Bool[Tensor, " n"], view: ServerView) -> Judgement:
        """Which of the uploads that `among` marks stay; it alone decides who is compared."""


@runtime_checkable
class Transform(Protocol):
    """Changes uploads one by one, such as clipping."""

    def transform(self, received: Updates, view: ServerView) -> Updates:
        """The changed uploads, one for each received."""


@runtime_checkable
class Reduce(Protocol):
    """Turns the uploads into one gradient."""

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """The aggregated gradient of the uploads that `kept` marks."""


DefensePart = ClientTask | Filter | Transform | Reduce


@dataclass(frozen=True)
class Decision:
    """What a defence decided about one round's uploads."""

    kept: Bool[Tensor, " n"]
    scores: Scores
    gradient: Gradient


@dataclass(frozen=True)
class Defense:
    """Client tasks; filters; then transforms in order; then one reduction."""

    tasks: Sequence[ClientTask]
    filters: Sequence[Filter]
    transforms: Sequence[Transform]
    reduction: Reduce
    in_turn: bool = False  # a filter judges what those before it kept, and not all uploads

    @staticmethod
    def compose(parts: Sequence[DefensePart], in_turn: bool = False) -> "Defense":
        """A defence from a list of methods, as the config names them; one may play several roles.

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
        """What honest clients compute under this defence."""
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
        if (
            self.filters and not kept.any()
        ):  # filters that each judge all may leave nobody: a round without a say
            received, kept = received.scaled(torch.zeros_like(received.weight)), everyone
        return Decision(kept, scores, self._reduced(received, kept, view))

    def _unless_nobody(
        self, received: Updates, kept: Bool[Tensor, " n"], scores: Scores, view: ServerView
    ) -> Decision:
        """The decision; no gradient if nobody is kept, which the host does not wait to hear."""
        heard = kept.any()
        kept = kept | ~heard
        gradient = self._reduced(received, kept, view)
        return Decision(kept, scores, gradient.map(lambda part: part * heard))

    def _reduced(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        for step in self.transforms:
            received = step.transform(received, view)
        return self.reduction.reduce(received, kept, view)
