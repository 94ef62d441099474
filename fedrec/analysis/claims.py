"""The paper's claims, and the tests that judge them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic
from pydantic import Field

from fedrec.analysis.evidence import Evidence
from fedrec.analysis.more_seeds import seeds_to_decide
from fedrec.analysis.verdict import LEVEL, Finding, Region, number
from fedrec.errors import ConfigError
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.settings import Section
from fedrec.yaml_files import explain, read_yaml

Names = str | tuple[str, ...]
Regions = Mapping[str, Region]


class Arm(Section):
    """Cells of all seeds; a field with a list stands for each of its values in turn."""

    dataset: str = "ml-1m"
    model: str = "MF"
    attack: Names = BASELINE
    defense: Names = PLAIN
    ratio: float | tuple[float, ...] = 0.01

    def cells(self) -> list[Cell]:
        """Return the arm's cells, in order."""
        attacks, defenses = _listed(self.attack), _listed(self.defense)
        ratios = self.ratio if isinstance(self.ratio, tuple) else (self.ratio,)
        return [
            Cell(
                dataset=self.dataset,
                model=self.model,
                attack=attack,
                defense=defense,
                ratio=0.0 if attack == BASELINE else ratio,
                seed=-1,
            )
            for attack, defense, ratio in product(attacks, defenses, ratios)
        ]


class LossTest(Section):
    """The loss (%) of one arm against another lies in a region."""

    kind: Literal["loss"]
    of: Arm
    against: Arm | Literal["own"] = Field(
        description="Another arm, or each arm's own model and defence without attack."
    )
    within: str = Field(description="Name of a region.")
    pairing: Literal["all", "in_turn"] = Field(
        default="all", description="all: every pair of arms; in_turn: first with first, and so on."
    )

    def pairs(self) -> list[tuple[Cell, Cell]]:
        """Return each arm with the arm that it is compared with."""
        arms = self.of.cells()
        if isinstance(self.against, str):
            plain = {"attack": BASELINE, "ratio": 0.0}
            return [(arm, arm.model_copy(update=plain)) for arm in arms]
        others = self.against.cells()
        pairs = product(arms, others) if self.pairing == "all" else zip(arms, others, strict=True)
        return [(arm, other) for arm, other in pairs if arm != other]

    def cells(self) -> list[Cell]:
        """Return all cells that the test needs."""
        return [cell for pair in self.pairs() for cell in pair]

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """Yield one finding for each pair."""
        for arm, reference in self.pairs():
            yield evidence.loss(arm, reference, regions[self.within])

    def compares(self) -> str:
        """Describe in words what is compared."""
        if isinstance(self.against, str):
            return "against the same defence without attack, which then expects no attacker"
        if set(self.against.cells()) == set(
            Arm(dataset=self.of.dataset, model=self.of.model).cells()
        ):
            return "against no attack and no defence"
        return "against each other arm" if self.pairing == "all" else "against its counterpart"


class UploadsTest(Section):
    """A measure of the first rounds' uploads lies in a region, in each window of rounds."""

    kind: Literal["uploads"]
    of: Arm
    measure: Literal["separation", "separation, round by round", "outliers"]
    within: str = Field(description="Name of a region.")

    def cells(self) -> list[Cell]:
        """Return all cells that the test needs."""
        return self.of.cells()

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """Yield one finding for each arm and window."""
        for arm in self.cells():
            yield from evidence.uploads(arm, self.measure, regions[self.within])

    def compares(self) -> str:
        """Describe in words what is compared."""
        return "for malicious against benign uploads, by windows of rounds"


class SpreadTest(Section):
    """The means of some arms are closer together than those of other arms."""

    kind: Literal["spread"]
    of: Arm
    than: Arm

    def cells(self) -> list[Cell]:
        """Return all cells that the test needs."""
        return [*self.of.cells(), *self.than.cells()]

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """Yield a single finding."""
        yield evidence.spread(self.of.cells(), self.than.cells())

    def compares(self) -> str:
        """Describe in words what is compared."""
        return "for the spread of these arms against that of the others"


class CountsTest(Section):
    """A dataset has the size that the paper states."""

    kind: Literal["counts"]
    dataset: str
    counts: dict[str, int]

    def cells(self) -> list[Cell]:
        """Return an empty list: the test needs no run."""
        return []

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """Yield one finding for each count."""
        for name, stated in self.counts.items():
            yield evidence.count(self.dataset, name, stated)

    def compares(self) -> str:
        """Describe in words what is compared."""
        return "the paper's"


Test = Annotated[LossTest | UploadsTest | SpreadTest | CountsTest, Field(discriminator="kind")]


class Claim(Section):
    """One statement of the paper that records can decide."""

    id: str
    place: str
    says: str
    needs: str = Field(default="all", description="How many numbers must hold: name of a share.")
    test: Test
    beside: Test | None = Field(default=None, description="Shown, but does not affect the verdict.")


class Claims(Section):
    """All claims, and the meaning of words such as `slightly` and `most`."""

    regions: dict[str, Region]
    shares: dict[str, float] = Field(
        description="The share of a claim's numbers that must be exceeded; 1 means all of them."
    )
    looks: Annotated[tuple[int, ...], Field(min_length=1)] = Field(
        default=(5, 10), description="Seeds of an arm at each look, in ascending order."
    )
    affordable: int = Field(default=20, description="Largest number of seeds to suggest.")
    claims: tuple[Claim, ...]

    @staticmethod
    def load(path: Path) -> "Claims":
        """Read a claims file.

        Raises:
            ConfigError: the file cannot be read, or a claim is malformed or names an unknown region
                or share.
        """
        values = read_yaml(path)
        try:
            found = Claims.model_validate(values, strict=False)
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, [path], lambda place: ())) from None
        for claim in found.claims:
            for wrong in found.unknown(claim):
                raise ConfigError(f"{path}: {claim.id}: no {wrong}")
        return found

    def unknown(self, claim: Claim) -> Iterator[str]:
        """Yield the names in a claim that are not defined."""
        tests = [test for test in (claim.test, claim.beside) if test]
        for within in filter(None, (getattr(test, "within", None) for test in tests)):
            if within not in self.regions:
                yield f"region is called {within!r}"
        if claim.needs not in self.shares:
            yield f"share is called {claim.needs!r}"

    @property
    def level(self) -> float:
        """The one-sided level of each look: the total level divided by the looks (Bonferroni)."""
        return LEVEL / len(self.looks)

    def more_seeds(self, claim: Claim, findings: Sequence[Finding]) -> int | None:
        """Return how many seeds would decide a claim at its level; None if too many."""
        needed = self.needed(claim, len(findings))
        return seeds_to_decide(findings, needed, self.level, self.affordable)

    def needed(self, claim: Claim, numbers: int) -> int:
        """Return how many of a claim's numbers must lie in their regions."""
        return min(numbers, int(np.floor(self.shares[claim.needs] * numbers)) + 1)


def criterion(claims: Claims, claim: Claim, numbers: int) -> str:
    """Describe in words what a claim's findings compare, and where they must lie."""
    needed = claims.needed(claim, numbers)
    many = claim.needs if needed in (1, numbers) else f"{claim.needs} (at least {needed})"
    many = f"{many} of {numbers}: " if numbers > 1 else ""
    return f"{many}{_lies(claims, claim.test)} {claim.test.compares()}"


def _lies(claims: Claims, test: Test) -> str:
    """Describe a region in words."""
    within = getattr(test, "within", None)
    if within is None:
        return {"spread": "below 0", "counts": "equal to"}[test.kind]
    low, high = claims.regions[within]
    between = f"between {number(low)} and {number(high)}"
    bound = f"above {low:g}" if high == np.inf else f"below {high:g}"
    return f"{between if np.isfinite([low, high]).all() else bound} ({within})"


def _listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
