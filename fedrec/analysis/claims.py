"""The paper's claims, and what records say of each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pydantic
from pydantic import Field

from fedrec.analysis.evidence import Evidence
from fedrec.analysis.plan import Step, cheapest_first, open_ones, seeds_to_decide, step
from fedrec.analysis.tables import Table
from fedrec.analysis.verdict import LEVEL, Finding, Region, Verdict, decide, number
from fedrec.config_errors import ConfigError, explain, read_yaml
from fedrec.outline import Section
from fedrec.records import BASELINE, PLAIN, Cell, Record

LISTED = 10  # findings of a claim
Names = str | tuple[str, ...]
Regions = Mapping[str, Region]


class Arm(Section):
    """Cells of all seeds; a list stands for each of its names in turn."""

    dataset: str = "ml-1m"
    model: str = "MF"
    attack: Names = BASELINE
    defense: Names = PLAIN
    ratio: float | tuple[float, ...] = 0.01

    def cells(self) -> list[Cell]:
        """The cells that are meant, in order."""
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
        default="all", description="Each of the first with each of the second, or one by one."
    )

    def pairs(self) -> list[tuple[Cell, Cell]]:
        """Each arm with what it is compared with."""
        arms = self.of.cells()
        if isinstance(self.against, str):
            plain = {"attack": BASELINE, "ratio": 0.0}
            return [(arm, arm.model_copy(update=plain)) for arm in arms]
        others = self.against.cells()
        pairs = product(arms, others) if self.pairing == "all" else zip(arms, others, strict=True)
        return [(arm, other) for arm, other in pairs if arm != other]

    def cells(self) -> list[Cell]:
        """All that is needed."""
        return [cell for pair in self.pairs() for cell in pair]

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """One for each pair."""
        for arm, reference in self.pairs():
            yield evidence.loss(arm, reference, regions[self.within])

    def compares(self) -> str:
        """What with what, in words."""
        if isinstance(self.against, str):
            return "against the same defence without attack, which prepares for none"
        if set(self.against.cells()) == set(
            Arm(dataset=self.of.dataset, model=self.of.model).cells()
        ):
            return "against no attack and no defence"
        return "against each other arm" if self.pairing == "all" else "against its counterpart"


class UploadsTest(Section):
    """A measure of the uploads of the first rounds lies in a region, in each window of rounds."""

    kind: Literal["uploads"]
    of: Arm
    measure: Literal["separation", "separation, round by round", "outliers"]
    within: str = Field(description="Name of a region.")

    def cells(self) -> list[Cell]:
        """All that is needed."""
        return self.of.cells()

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """One for each arm and window."""
        for arm in self.cells():
            yield from evidence.uploads(arm, self.measure, regions[self.within])

    def compares(self) -> str:
        """What is looked at, in words."""
        return "for malicious against benign uploads, by windows of rounds"


class SpreadTest(Section):
    """The means of some arms lie closer together than those of others."""

    kind: Literal["spread"]
    of: Arm
    than: Arm

    def cells(self) -> list[Cell]:
        """All that is needed."""
        return [*self.of.cells(), *self.than.cells()]

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """A single one."""
        yield evidence.spread(self.of.cells(), self.than.cells())

    def compares(self) -> str:
        """What with what, in words."""
        return "for the spread of these arms against that of the others"


class CountsTest(Section):
    """A dataset has the size that the paper states."""

    kind: Literal["counts"]
    dataset: str
    counts: dict[str, int]

    def cells(self) -> list[Cell]:
        """No run is needed."""
        return []

    def findings(self, evidence: Evidence, regions: Regions) -> Iterator[Finding]:
        """One for each count."""
        for name, stated in self.counts.items():
            yield evidence.count(self.dataset, name, stated)

    def compares(self) -> str:
        """What with what, in words."""
        return "the paper's"


Test = Annotated[LossTest | UploadsTest | SpreadTest | CountsTest, Field(discriminator="kind")]


class Claim(Section):
    """One statement of the paper that records can decide."""

    id: str
    place: str
    says: str
    needs: str = Field(default="all", description="How many of its numbers: name of a share.")
    test: Test
    beside: Test | None = Field(default=None, description="Shown, but judges nothing.")


class Claims(Section):
    """All claims, and what words such as `slightly` and `most` stand for."""

    regions: dict[str, Region]
    shares: dict[str, float] = Field(
        description="What share of a claim's numbers must be exceeded; 1 for all of them."
    )
    looks: int = Field(default=1, ge=1, description="How often records are judged, more being run.")
    affordable: int = Field(default=20, description="Seeds that an arm may be given.")
    claims: tuple[Claim, ...]

    @staticmethod
    def load(path: Path) -> "Claims":
        """Read a claims file.

        Raises:
            ConfigError: it cannot be read, or a claim is malformed or names an unknown region or
                share.
        """
        values = read_yaml(path)
        try:
            found = Claims.model_validate(values, strict=False)
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, [path], lambda place: ())) from None
        for claim in found.claims:
            for test in filter(None, (claim.test, claim.beside)):
                within = getattr(test, "within", None)
                if within is not None and within not in found.regions:
                    raise ConfigError(f"{path}: {claim.id}: no region is called {within!r}")
            if claim.needs not in found.shares:
                raise ConfigError(f"{path}: {claim.id}: no share is called {claim.needs!r}")
        return found

    @property
    def level(self) -> float:
        """One-sided, of each look: Bonferroni's share of the whole."""
        return LEVEL / self.looks

    @property
    def next_level(self) -> float:
        """That of each look if there is one more."""
        return LEVEL / (self.looks + 1)

    def more_seeds(self, claim: Claim, findings: Sequence[Finding]) -> int | None:
        """How many seeds would decide a claim at the next look; None if too many."""
        needed = self.needed(claim, len(findings))
        return seeds_to_decide(findings, needed, self.next_level, self.affordable)

    def needed(self, claim: Claim, numbers: int) -> int:
        """How many of a claim's numbers have to lie in their regions."""
        return min(numbers, int(np.floor(self.shares[claim.needs] * numbers)) + 1)


def judged(claims: Claims, claim: Claim, findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """A claim's verdict, and what keeps it from being decided."""
    needed = claims.needed(claim, len(findings))
    verdict = decide(findings, needed, claims.level)
    if verdict == "not run":
        gaps = sum(finding.estimate is None for finding in findings)
        return verdict, f"{gaps} of {len(findings)} numbers lack records"
    if verdict != "inconclusive":
        return verdict, "; ".join(sorted({f.note for f in findings if f.note}))
    if not all(finding.known for finding in findings):
        return verdict, "one run says nothing of chance"
    enough = claims.more_seeds(claim, findings)
    if enough is not None:
        stray = any(finding.outside <= claims.level for finding in findings)
        one = f"one of {len(findings)} may stray by chance; " if stray else ""
        return verdict, f"{one}{enough} seeds would decide it, if estimates stayed"
    near = min(open_ones(findings, claims.next_level), key=lambda finding: finding.distance)
    what = f"{near.estimate:.1f} ± {near.half:.1f}, border {near.border:g}"
    return "too close to call", f"{what}: {claims.affordable} seeds would not decide it"


def plan(claims: Claims, evidence: Evidence, records: Sequence[Record]) -> list[Step]:
    """For each claim that more seeds would decide, the runs that it takes; the cheapest first."""
    steps = []
    for claim in claims.claims:
        findings = list(claim.test.findings(evidence, claims.regions))
        undecided = judged(claims, claim, findings)[0] == "inconclusive"
        seeds = claims.more_seeds(claim, findings) if undecided else None
        if seeds is not None and all(finding.known for finding in findings):
            steps.append(step(claim.id, findings, seeds, claims.next_level, records))
    return cheapest_first(steps)


def scorecard(claims: Claims, evidence: Evidence) -> pd.DataFrame:
    """One row for each claim: its verdict and the numbers behind it."""
    rows = []
    for claim in claims.claims:
        findings = list(claim.test.findings(evidence, claims.regions))
        beside = list(claim.beside.findings(evidence, claims.regions)) if claim.beside else []
        verdict, why = judged(claims, claim, findings)
        rows.append(
            {
                "id": claim.id,
                "place": claim.place,
                "says": claim.says,
                "verdict": verdict,
                "why": why,
                "test": _criterion(claims, claim, len(findings)),
                "findings": "; ".join(map(str, findings)),
                "beside": "; ".join(map(str, beside)),
                "records": _records([*findings, *beside]),
            }
        )
    return pd.DataFrame(rows)


def scorecard_table(card: pd.DataFrame, notes: Sequence[str] = ()) -> Table:
    """The scorecard to be read, with the number of claims of each verdict."""
    shown = pd.DataFrame(
        {
            "Claim": card.says,
            "Place": card.place,
            "Verdict": [
                f"{v} ({w})" if w else v for v, w in zip(card.verdict, card.why, strict=True)
            ],
            "Holds if": card.test,
            "Found [95 % interval]": [
                _shortened(f) + (f". Beside it: {_shortened(b)}" if b else "")
                for f, b in zip(card.findings, card.beside, strict=True)
            ],
        }
    )
    title = "The paper's claims"
    traced = "The CSV names the records behind each claim (column records)."
    return Table(title, card, shown, (tally(card.verdict), traced, *notes))


def tally(verdicts: "pd.Series[str]") -> str:
    """How many claims have which verdict."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.value_counts().items())
    return f"{len(verdicts)} claims: {counts}."


def secondary_table(cards: Mapping[str, pd.DataFrame], notes: Sequence[str] = ()) -> Table:
    """The verdicts by other measures, beside those by the first, which judges."""
    first, *others = cards
    main = cards[first]
    values = main[["id", "place", "says"]].copy()
    for name, card in cards.items():
        values[name] = card.verdict
        values[f"{name}: found"] = card.findings
    # Counts and uploads are the same by any measure.
    moved = [any(cards[o].findings[i] != main.findings[i] for o in others) for i in main.index]
    values = values[moved].reset_index(drop=True)
    shown = values[["says", *cards]].rename(columns={"says": "Claim"})
    return Table("The claims by other measures", values, shown, (*_differ(values, cards), *notes))


def _differ(values: pd.DataFrame, cards: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """A sentence for each verdict that is decided otherwise by another measure."""
    first, *others = cards
    yield f"{first} judges; the others are told for comparison."
    rows: Any = values.to_dict("records")
    for row in rows:
        for other in others:
            if row[other] != row[first]:
                yield f"{row['says']} By {first} {row[first]}, by {other} {row[other]}."


def _records(findings: Sequence[Finding]) -> str:
    return " ".join(dict.fromkeys(name for finding in findings for name in finding.records))


def _shortened(findings: str) -> str:
    """The first few of many findings."""
    parts = findings.split("; ")
    more = f"; and {len(parts) - LISTED} more in the CSV" if len(parts) > LISTED else ""
    return "; ".join(parts[:LISTED]) + more


def _criterion(claims: Claims, claim: Claim, numbers: int) -> str:
    """What a claim's findings have to be, and what they compare, in words."""
    needed = claims.needed(claim, numbers)
    many = claim.needs if needed in (1, numbers) else f"{claim.needs} (at least {needed})"
    many = f"{many} of {numbers}: " if numbers > 1 else ""
    return f"{many}{_lies(claims, claim.test)} {claim.test.compares()}"


def _lies(claims: Claims, test: Test) -> str:
    """A region in words."""
    within = getattr(test, "within", None)
    if within is None:
        return {"spread": "below 0", "counts": "equal to"}[test.kind]
    low, high = claims.regions[within]
    between = f"between {number(low)} and {number(high)}"
    bound = f"above {low:g}" if high == np.inf else f"below {high:g}"
    return f"{between if np.isfinite([low, high]).all() else bound} ({within})"


def _listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
