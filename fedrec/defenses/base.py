"""The interface of defences: client tasks, mixers, filters, transforms and one reduction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
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
Memory = Mapping[str, Tensor]  # tensors that a defence carries from round to round, by name


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
    memory: Memory = field(default_factory=dict)  # of the method; it changes the tensors in place


@dataclass(frozen=True)
class Mixture:
    """Mixed uploads, and the mixture that holds each received upload."""

    uploads: Updates
    holder: Int[Tensor, " n"]  # positions in `uploads`

    @staticmethod
    def of_groups(
        received: Updates, members: Bool[Tensor, "k n"], holder: Int[Tensor, " n"]
    ) -> "Mixture":
        """Mix each group of uploads to its plain mean, with the sample counts of all members.

        The publications of mixers have no sample counts. With them in the mean, a client could gain
        weight by reporting more samples.
        """
        weight = (received.weight * members).sum(1)
        return Mixture(received.mixed(members / members.sum(1, keepdim=True), weight), holder)


@dataclass(frozen=True)
class Judgement:
    """A filter's decision, and the scores behind it, for the record."""

    keep: Bool[Tensor, " n"]
    scores: Scores = field(default_factory=dict)


@runtime_checkable
class ClientTask(Protocol):
    """Changes what honest clients compute, such as an additional loss."""

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """Return the honest clients' gradients with the task included.

        The server receives the uploads; clients step by their local gradients themselves.
        """


@runtime_checkable
class Mix(Protocol):
    """Replaces the uploads by mixtures of them, before filters judge."""

    def mix(self, received: Updates, view: ServerView) -> Mixture:
        """Return the mixed uploads, one or more, and where each received upload is."""


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


@runtime_checkable
class Remembering(Protocol):
    """Has a memory, in addition to its roles on the server."""

    def remember(self, shared: Shared) -> Memory:
        """Return the memory before the first round: new tensors of zeros, by name.

        In each round, `view.memory` has the same tensors. The method changes them in place, because
        a recorded round on a GPU knows no other ones.
        """


DefensePart = ClientTask | Mix | Filter | Transform | Reduce


@dataclass(frozen=True)
class Decision:
    """A defence's decision on the received uploads of one round."""

    kept: Bool[Tensor, " n"]
    scores: Scores
    gradient: Gradient

    def on(self, holder: Int[Tensor, " n"]) -> "Decision":
        """Pass a decision on mixtures back to the uploads that they hold."""
        scores = {name: score[holder] for name, score in self.scores.items()}
        return replace(self, kept=self.kept[holder], scores=scores)


@dataclass(frozen=True)
class Defense:
    """A defence: client tasks, mixers, filters, transforms in order, then one reduction."""

    tasks: Sequence[ClientTask]
    mixers: Sequence[Mix]
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
            mixers=[p for p in parts if isinstance(p, Mix)],
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

    def remember(self, shared: Shared) -> Memory:
        """Return the memory of all methods before the first round, by "method's number/name"."""
        return {
            f"{number}/{name}": tensor
            for number, part in enumerate(self._remembering)
            for name, tensor in part.remember(shared).items()
        }

    def __call__(self, received: Updates, view: ServerView) -> Decision:
        """Aggregate one round's uploads. Without a memory in the view, the round is the first."""
        if not view.memory:
            view = replace(view, memory=self.remember(view.shared))
        holder = None
        for part in self.mixers:
            mixture = part.mix(received, self._seen_by(part, view))
            received = mixture.uploads
            holder = mixture.holder if holder is None else mixture.holder[holder]
        decision = self._decision(received, view)
        return decision if holder is None else decision.on(holder)

    def _decision(self, received: Updates, view: ServerView) -> Decision:
        """Return the decision on uploads that are mixed, if the defence has mixers."""
        kept = torch.ones(len(received), dtype=torch.bool, device=received.weight.device)
        scores: dict[str, Tensor] = {}
        everyone = kept
        for part in self.filters:
            among = kept if self.in_turn else everyone
            judgement = part.judge(received, among, self._seen_by(part, view))
            kept = kept & judgement.keep
            scores.update(judgement.scores)
        if self.filters and received.whole:
            return self._unless_nobody(received, kept, scores, view)
        # Filters that each judge all uploads may drop every upload. Then the gradient is zero.
        if self.filters and not kept.any():
            nothing = Gradient(received.table, received.dense[0]).map(torch.zeros_like)
            return Decision(everyone, scores, nothing)
        return Decision(kept, scores, self._reduced(received, kept, view))

    def _unless_nobody(
        self, received: Updates, kept: Bool[Tensor, " n"], scores: Scores, view: ServerView
    ) -> Decision:
        """Return the decision without waiting for a GPU.

        If no upload is kept, the gradient is zero, and the memory stays as the filters left it.
        """
        heard = kept.any()
        kept = kept | ~heard
        before = [tensor.clone() for tensor in view.memory.values()]
        gradient = self._reduced(received, kept, view)
        for tensor, old in zip(view.memory.values(), before, strict=True):
            tensor.copy_(tensor.where(heard, old))
        return Decision(kept, scores, gradient.map(lambda part: part * heard))

    def _reduced(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        for step in self.transforms:
            received = step.transform(received, self._seen_by(step, view))
        return self.reduction.reduce(received, kept, self._seen_by(self.reduction, view))

    @cached_property
    def _remembering(self) -> list[Remembering]:
        """The methods with a memory, each once, even if it plays several roles."""
        parts = (*self.mixers, *self.filters, *self.transforms, self.reduction)
        return [p for p in {id(p): p for p in parts}.values() if isinstance(p, Remembering)]

    def _seen_by(self, part: object, view: ServerView) -> ServerView:
        """Return what one method may use: of the memory, its own part."""
        if not view.memory:
            return view
        number = next((i for i, p in enumerate(self._remembering) if p is part), None)
        head = f"{number}/"
        own = {n.removeprefix(head): t for n, t in view.memory.items() if n.startswith(head)}
        return replace(view, memory=own)
