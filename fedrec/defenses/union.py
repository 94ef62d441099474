"""UNION: a contrastive task on clients, and a filter by uniformity (paper, section 4.2)."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from pydantic import Field
from torch import Tensor

from fedrec.clients.contrastive import Contrastive, Reduction
from fedrec.defenses._gap_statistic import (
    falls_apart,
    in_lower_cluster,
    majority_of,
    reference_dispersions,
    reference_table,
)
from fedrec.defenses._uniformity import uniformities
from fedrec.defenses.base import ClientView, Judgement, PreviewRule, ServerView
from fedrec.kernels.compiled import on_cpu
from fedrec.models.base import LocalGradients
from fedrec.settings import Presets, settings
from fedrec.updates import Updates


@settings
class Union:
    """Honest clients spread item embeddings out; the server drops uploads that do otherwise.

    Clients add α L_cl (Eq. 4) to their loss. The server previews each upload, measures the
    uniformity dᵢ of T items (Eq. 6), and keeps the larger of two clusters of the dᵢ if they fall
    apart (Algorithms 2 and 3). Two clusters of equal size: the one of lower uniformity goes.
    """

    PRESETS: ClassVar[Presets] = {
        "paper": {
            "preview": "sgd",
            "distance": "squared",
            "items": "per_client",
            "minority_rule": False,
        },
    }

    weight: float = Field(
        default=1.0, ge=0, description="α (Appendix A); 0 leaves the contrastive task out."
    )
    negatives: int = Field(default=15, ge=1, description="P, negatives an anchor (Appendix A).")
    reduction: Reduction = Field(
        default="mean", description="L_cl over a client's anchors: mean (code) or sum (Eq. 4)."
    )
    sample: int = Field(default=500, ge=2, description="T, items of the estimate (Appendix A).")
    references: int = Field(
        default=50, ge=2, description="B, samples of the gap statistic (Appendix A)."
    )
    preview: PreviewRule = Field(
        default="adam",
        description="The server's next Adam step (both uploads of the code), or a plain one of η "
        "(Algorithm 2).",
    )
    distance: Literal["unsquared", "squared"] = Field(
        default="unsquared",
        description="L2 distance (code, and Figure 4's axis) or its square (Eq. 6).",
    )
    items: Literal["shared", "per_client"] = Field(
        default="shared", description="One draw of items a round (code), or one an upload (text)."
    )
    minority_rule: bool = Field(
        default=True,
        description="Drop the smaller cluster also when it has at most ⌈n·m%⌉ uploads, whatever "
        "the gap statistic says (code).",
    )

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """The honest gradients of L_rec + α L_cl."""
        task = Contrastive(self.weight, self.negatives, view.devices.model.dropout, self.reduction)
        return replace(honest, updates=task.added_to(honest.updates, view.batch, view.streams))

    def judge(self, received: Updates, among: Bool[Tensor, " n"], view: ServerView) -> Judgement:
        """Keep what lies in the larger cluster of uniformities."""
        found = self.uniformities(received, view)
        decide = self._decided_by_host if on_cpu(found) else self._decided
        return Judgement(decide(found.double(), among, view), {"uniformity": found.float()})

    def _decided_by_host(
        self, found: Float64[Tensor, " n"], among: Bool[Tensor, " n"], view: ServerView
    ) -> Bool[Tensor, " n"]:
        values, keep = found.numpy(), among.numpy().copy()
        keep[keep] = self.in_majority(values[keep], view)
        return torch.from_numpy(keep)

    def _decided(
        self, found: Float64[Tensor, " n"], among: Bool[Tensor, " n"], view: ServerView
    ) -> Bool[Tensor, " n"]:
        """The same on a GPU, where nobody waits for it."""
        table = reference_table(len(found), self.references, view.streams.seed, found.device)
        at_most = view.expected_malicious if self.minority_rule else 0
        return majority_of(found, among, table, at_most)

    def uniformities(self, received: Updates, view: ServerView) -> Float[Tensor, " n"]:
        """dᵢ of each upload (Algorithm 2, lines 1 to 4)."""
        squared = self.distance == "squared"

        def step(gradient: Tensor, items: Tensor) -> Tensor:
            return view.preview(gradient, items, self.preview)

        if self.items == "shared":
            items = self._items(received, view, 0)
            return uniformities(received, items, step, squared)
        parts = torch.eye(len(received), dtype=torch.bool, device=received.weight.device)
        found = [
            uniformities(received.select(one), self._items(received, view, i), step, squared)
            for i, one in enumerate(parts)
        ]
        return torch.cat(found)

    def in_majority(
        self, values: Float[np.ndarray, " n"], view: ServerView
    ) -> Bool[np.ndarray, " n"]:
        """Algorithm 2, lines 5 to 10: all, or those of the larger cluster."""
        everyone = np.ones(len(values), dtype=np.bool_)
        if len(values) < 2 or np.ptp(values) == 0:
            return everyone
        low = in_lower_cluster(values)
        minority = low if 2 * low.sum() <= len(values) else ~low
        if self.minority_rule and minority.sum() <= view.expected_malicious:
            return ~minority
        if len(values) < 3:
            return everyone  # any two numbers are two clusters without dispersion
        reference = reference_dispersions(len(values), self.references, view.streams.seed)
        return ~minority if falls_apart(values, reference) else everyone

    def _items(self, received: Updates, view: ServerView, upload: int) -> Int[Tensor, " t"]:
        n_items = len(received.table)
        count = min(self.sample, n_items)
        return view.streams.drawn(
            lambda own: own.of("uniformity-items", upload).chosen(n_items, count)
        )
