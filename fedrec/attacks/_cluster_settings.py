"""The settings of ClusterAttack, which attacks that build on it have too."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from fedrec.clients.contrastive import Reduction
from fedrec.settings import Presets, settings

NormRule = Literal["clip", "rescale"]


@settings
class ClusterSettings:
    """The settings that ClusterAttack and ClusterAttackMatched share (paper, section 4.1)."""

    PRESETS: ClassVar[Presets] = {
        "paper": {
            "norm_rule": "clip",
            "loss_over_clusters": False,
            "trigger": "exceeded",
            "rounding": "floor",
            "count_first": True,
        },
    }

    clusters: int = Field(default=2, ge=1, description="Initial K (Appendix A: 2, Gowalla 8).")
    adaptive: bool = Field(default=True, description="Adapt K by Algorithm 1 (section 5.6).")
    min_clusters: int = Field(default=1, ge=1, description="K_min of Algorithm 1.")
    max_clusters: int = Field(default=50, ge=1, description="K_max of Algorithm 1.")
    threshold: int = Field(default=100, ge=1, description="R of Algorithm 1, in attacked rounds.")
    decay: float = Field(
        default=0.999, ge=0, lt=1, description="β of Algorithm 1 (both uploads; not in the text)."
    )
    spread: float = Field(default=3.0, ge=0, description="Upper end of λ ~ U[0, 3] in b = μ + λσ.")
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients give μ and σ.",
    )
    norms_over: Literal["all_items", "touched_items"] = Field(
        default="all_items",
        description="Items whose normal gradients count in μ and σ (both uploads: all).",
    )
    norm_rule: NormRule = Field(
        default="rescale",
        description="Always scale to the bound (code), or only shrink longer gradients (Eq. 3).",
    )
    loss_over_clusters: bool = Field(
        default=True, description="Divide Eq. 2 by K (code; not in the text)."
    )
    trigger: Literal["exceeded", "reached"] = Field(
        default="reached",
        description="Change K when the gap of the counters is >= R (code) or > R (text).",
    )
    rounding: Literal["floor", "nearest"] = Field(
        default="nearest", description="Rounding of the new K: nearest (code) or floor (text)."
    )
    count_first: bool = Field(
        default=False,
        description="After a start or reset, compare the first loss with L̂ = 0 (text) or skip it.",
    )
    contrastive: float = Field(
        default=0.0, ge=0, description="α of ClusterAttack+CL (section 5.4); 0 omits L_cl."
    )
    negatives: int = Field(default=15, ge=1, description="P of L_cl (Appendix A).")
    reduction: Reduction = Field(
        default="mean", description="Mean (code) or sum (Eq. 4) of L_cl over a client's anchors."
    )
    tolerance: float = Field(
        default=1e-4, gt=0, description="Centroid shift at which k-means stops."
    )
    max_iterations: int = Field(
        default=100, ge=1, description="Maximum number of k-means iterations per round."
    )

    @model_validator(mode="after")
    def _range(self) -> "ClusterSettings":
        if not self.min_clusters <= self.clusters <= self.max_clusters:
            raise ValueError("clusters must lie in [min_clusters, max_clusters]")
        return self
