"""Attacks that move the mean of normal gradients as far as distances to them allow."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float64
from pydantic import Field, model_validator
from torch import Tensor

from fedrec.attacks._normal_gradients import (
    coordinate_statistics,
    forged_everywhere,
    normal_updates,
)
from fedrec.attacks.base import AttackerView, Forgery, Trace
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.sums import squared_norms, total
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates, with_others

Perturbation = Literal["std", "unit", "sign"]
TINY = 1e-30  # keeps the unit vector of a zero mean finite


class Distances(NamedTuple):
    """Squared L2 distances of whole uploads: ∇_i are normal, and μ + γp is forged."""

    pairs: Float64[Tensor, "n n"]  # ‖∇_i − ∇_j‖²
    constant: Float64[Tensor, " n"]  # ‖μ − ∇_i‖²
    linear: Float64[Tensor, " n"]  # 2⟨p, μ − ∇_i⟩
    quadratic: Float64[Tensor, ""]  # ‖p‖²

    def of_forged(self, factor: Float64[Tensor, ""]) -> Float64[Tensor, " n"]:
        """Return ‖μ + γp − ∇_i‖² for γ = `factor`."""
        return self.constant + factor * (self.linear + factor * self.quadratic)


class Rule(NamedTuple):
    """How far the forged upload may be from the normal ones: `extent` ≤ `bound`."""

    bound: Callable[[Float64[Tensor, "n n"]], Float64[Tensor, ""]]  # of ‖∇_i − ∇_j‖²
    extent: Callable[[Float64[Tensor, " n"]], Float64[Tensor, ""]]  # of ‖∇_m − ∇_i‖²


@settings
class Perturbed:
    """The settings that Min-Max and Min-Sum share: all malicious clients upload μ + γp."""

    perturbation: Perturbation = Field(
        default="std",
        description="p: −σ (std), −μ/‖μ‖ (unit) or −sign(μ) (sign), all three from the paper. Its "
        "authors' code has std on CIFAR-10 and sign on FEMNIST. Only with std is γ independent of "
        "the size of gradients: for MF at ML-1M's size it is about 2 in Min-Max, with unit 0.03 "
        "and with sign 0.0001, which need a smaller `tolerance`.",
    )
    start: float = Field(
        default=10.0,
        gt=0,
        description="γ_init of Algorithm 1 (authors' code: 10 on CIFAR-10, 50 on FEMNIST). γ stays "
        "below twice this.",
    )
    tolerance: float = Field(
        default=1e-5,
        gt=0,
        description="τ of Algorithm 1: γ ends less than 2τ below the largest one (authors' code).",
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients are the normal ones.",
    )

    @model_validator(mode="after")
    def _searches(self) -> "Perturbed":
        if self.tolerance >= self.start:
            raise ValueError("tolerance must be below start")
        return self

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forged(self, view: AttackerView, streams: Streams, rule: Rule) -> Forgery[None]:
        """Return the perturbed mean, the same for every malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        mean, deviation = coordinate_statistics(normal)
        p = perturbation(self.perturbation, mean, deviation)
        factor = self.factor(distances(normal, mean, p), rule)
        moved = mean.map(lambda center, step: center + factor * step, p)
        updates = forged_everywhere(view, moved)
        if not on_cpu(factor):
            return Forgery(updates, None, seen=factor)
        return Forgery(updates, *self.learn(None, float(factor)))

    def learn(self, state: None, seen: float) -> tuple[None, Trace]:
        """Record γ; there is no state."""
        return None, {"gamma": seen}

    def recorded_for(self, state: None) -> None:
        """Return None: `forge` depends on no state."""

    def factor(self, apart: Distances, rule: Rule) -> Float64[Tensor, ""]:
        """Search for the largest γ within the rule's bound by halving steps (Algorithm 1).

        Distances are convex in γ and γ = 0 is within the bound, so all smaller γ are within it too.
        Algorithm 1 stops when γ is within τ of the last success. This difference is always the
        current step, so the number of steps is known in advance.
        """
        bound = rule.bound(apart.pairs)
        factor, found, step = (
            torch.full_like(bound, self.start),
            torch.zeros_like(bound),
            self.start,
        )
        while step > self.tolerance:
            within = rule.extent(apart.of_forged(factor)) <= bound
            found = torch.where(within, factor, found)
            step /= 2
            factor = torch.where(within, factor + step, factor - step)
        return found


def perturbation(kind: Perturbation, mean: Gradient, deviation: Gradient) -> Gradient:
    """Return p, given mean μ and standard deviation σ of each coordinate."""
    if kind == "std":
        return deviation.map(torch.neg)
    if kind == "sign":
        return mean.map(lambda part: -torch.sign(part))
    square = total(squared_norms(mean.items)) + total(mean.dense.square())
    return mean.map(lambda part: -part / square.sqrt().clamp(min=TINY))


def distances(normal: Updates, mean: Gradient, p: Gradient) -> Distances:
    """Return the distances of normal uploads from one another and from μ + γp.

    They follow from the inner products of the normal uploads, μ and p. So no difference of two
    uploads is ever written out.
    """
    gram, n = with_others(normal, mean, p).gram(), len(normal)
    squares, of_p = gram.diagonal(), gram[n + 1]
    apart = (squares[:, None] + squares - 2 * gram).clamp(min=0)
    return Distances(
        pairs=apart[:n, :n],
        constant=apart[n, :n],
        linear=2 * (of_p[n] - of_p[:n]),
        quadratic=squares[n + 1],
    )
