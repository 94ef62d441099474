"""How clients are sampled, trained and evaluated."""

from typing import ClassVar, Literal

from pydantic import Field

from fedrec.metrics.ranking import RepeatRule
from fedrec.settings import Presets, settings


@settings
class TrainingProtocol:
    """How clients are sampled, trained and evaluated."""

    PRESETS: ClassVar[Presets] = {"paper": {"filters": "in_turn"}}
    LATER: ClassVar[tuple[str, ...]] = ("believed",)

    rounds: int = Field(default=6000, ge=1, description="Training rounds (Appendix A).")
    clients_per_round: int = Field(default=50, ge=1, description="Sampled clients n (Appendix A).")
    evaluate_every: int = Field(default=200, ge=1, description="Rounds between evaluations.")
    pool: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of users that may be malicious: an attack takes the first of them, "
        "and no user of the pool is evaluated.",
    )
    pool_drawn: Literal["once", "per_seed"] = Field(
        default="once",
        description="The pool is drawn once for all seeds (both uploads), or anew for each seed.",
    )
    negatives: Literal["fixed", "resampled"] = Field(
        default="fixed", description="Negatives drawn once a seed (both uploads) or every round."
    )
    user_optimizer: Literal["dense", "lazy"] = Field(
        default="dense",
        description="One Adam over all clients' own parameters (both uploads), or one each.",
    )
    repeat_targets: RepeatRule = Field(
        default="miss",
        description="How to count a target the user met before (both uploads: miss).",
    )
    filters: Literal["in_turn", "all"] = Field(
        default="all",
        description="A defence's filter judges all uploads (both uploads of the code), or what "
        "those before it kept (section 4.2).",
    )
    believed: float = Field(
        default=1.0,
        gt=0,
        description="The share of malicious users that the server assumes, as a multiple of the "
        "true one. It assumes ⌈n·m%·believed⌉ malicious uploads a round, and never more than n.",
    )
    observe: int = Field(
        default=0,
        ge=0,
        description="Number of first rounds whose uploads are recorded one by one: uniformity and "
        "two principal components (section 5.7). Takes seconds and memory.",
    )
    window: int = Field(
        default=10, ge=1, description="Rounds whose uploads share principal components."
    )
