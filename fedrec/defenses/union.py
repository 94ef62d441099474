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
from fedrec.defenses.base import ClientView, Judgement, ServerView
from fedrec.kernels.compiled import on_cpu
from fedrec.metrics.uniformity import uniformities
from fedrec.models.base import LocalGradients
from fedrec.server import PreviewRule
from fedrec.settings import Presets, settings
from fedrec.updates import Updates


@settings
class Union:
    """Honest clients spread item embeddings out; the server drops uploads that do not.

    Clients add α L_cl (Eq. 4) to their loss. The server previews each upload and measures the
    uniformity dᵢ of T items (Eq. 6). If the dᵢ form two clusters, the server keeps the larger one
    (Algorithms 2 and 3). Of two clusters of equal size, it drops the one with lower uniformity.
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
        default=1.0, ge=0, description="α (Appendix A); 0 omits the contrastive task."
    )
    negatives: int = Field(default=15, ge=1, description="P, negatives per anchor (Appendix A).")
    reduction: Reduction = Field(
        default="mean", description="Mean (code) or sum (Eq. 4) of L_cl over a client's anchors."
    )
    sample: int = Field(
        default=500, ge=2, description="T, items that the estimate uses (Appendix A)."
    )
    references: int = Field(
        default=50, ge=2, description="B, samples of the gap statistic (Appendix A)."
    )
    preview: PreviewRule = Field(
        default="adam",
        description="Preview with the server's next Adam step (both uploads of the code), or with "
        "a plain step of η (Algorithm 2).",
    )
    distance: Literal["unsquared", "squared"] = Field(
        default="unsquared",
        description="L2 distance (code, and Figure 4's axis) or its square (Eq. 6).",
    )
    items: Literal["shared", "per_client"] = Field(
        default="shared", description="Draw items once per round (code), or once per upload (text)."
    )
    minority_rule: bool = Field(
        default=True,
        description="Also drop the smaller cluster if it has at most ⌈n·m%⌉ uploads, regardless of "
        "the gap statistic (code).",
    )

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """Return the honest gradients of L_rec + α L_cl."""
        task = Contrastive(self.weight, self.negatives, view.devices.model.dropout, self.reduction)
        return replace(honest, updates=task.added_to(honest.updates, view.batch, view.streams))

    def judge(self, received: Updates, among: Bool[Tensor, " n"], view: ServerView) -> Judgement:
        """Keep the uploads in the larger cluster of uniformities."""
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
        """Decide on a GPU, without waiting for the result."""
        table = reference_table(len(found), self.references, view.streams.seed, found.device)
        at_most = view.expected_malicious if self.minority_rule else 0
        return majority_of(found, among, table, at_most)

    def uniformities(self, received: Updates, view: ServerView) -> Float[Tensor, " n"]:
        """Compute dᵢ of each upload (Algorithm 2, lines 1 to 4)."""
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
        """Mark all uploads, or those in the larger cluster (Algorithm 2, lines 5 to 10)."""
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
