"""The paper's claims, and what records say of each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pydantic
from pydantic import Field

from fedrec.analysis.evidence import MEASURES, Evidence, Finding, Region, Verdict
from fedrec.analysis.tables import Table
from fedrec.config_errors import ConfigError, explain, read_yaml
from fedrec.outline import Section
from fedrec.records import BASELINE, Cell

LISTED = 10  # findings of a claim
Names = str | tuple[str, ...]


class Arm(Section):
    """Cells of all seeds; a list stands for each of its names in turn."""

    dataset: str = "ml-1m"
    model: str = "MF"
    attack: Names = BASELINE
    defense: Names = "FedAvg"
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
    against: Arm
    within: str = Field(description="Name of a region.")
    pairing: Literal["all", "in_turn"] = Field(
        default="all", description="Each of the first with each of the second, or one by one."
    )
    metric: str = "hr@5"

    def findings(self, evidence: Evidence) -> Iterator[Finding]:
        """One for each pair."""
        pair: Any = product if self.pairing == "all" else zip
        for arm, reference in pair(self.of.cells(), self.against.cells()):
            if arm != reference:
                yield evidence.loss(arm, reference, self.metric, self.within)


class UploadsTest(Section):
    """A measure of the uploads of the first rounds lies in a region."""

    kind: Literal["uploads"]
    of: Arm
    measure: Literal["separation", "outliers"]
    within: str = Field(description="Name of a region.")

    def findings(self, evidence: Evidence) -> Iterator[Finding]:
        """One for each arm."""
        for arm in self.of.cells():
            yield evidence.uploads(arm, MEASURES[self.measure], self.measure, self.within)


class SpreadTest(Section):
    """The means of some arms lie closer together than those of others."""

    kind: Literal["spread"]
    of: Arm
    than: Arm

    def findings(self, evidence: Evidence) -> Iterator[Finding]:
        """A single one."""
        yield evidence.spread(self.of.cells(), self.than.cells())


class CountsTest(Section):
    """A dataset has the size that the paper states."""

    kind: Literal["counts"]
    dataset: str
    counts: dict[str, int]

    def findings(self, evidence: Evidence) -> Iterator[Finding]:
        """One for each count."""
        for name, stated in self.counts.items():
            yield evidence.count(self.dataset, name, stated)


Test = Annotated[LossTest | UploadsTest | SpreadTest | CountsTest, Field(discriminator="kind")]


class Claim(Section):
    """One statement of the paper that records can decide."""

    id: str
    place: str
    says: str
    needs: Literal["all", "any"] = Field(
        default="all", description="Whether every finding has to hold, or one of them."
    )
    test: Test


class Claims(Section):
    """All claims, and the regions that words such as `slightly` stand for."""

    regions: dict[str, Region]
    claims: tuple[Claim, ...]

    @staticmethod
    def load(path: Path) -> "Claims":
        """Read a claims file.

        Raises:
            ConfigError: it cannot be read, or a claim is malformed or names an unknown region.
        """
        values = read_yaml(path)
        try:
            found = Claims.model_validate(values, strict=False)
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, [path], lambda place: ())) from None
        for claim in found.claims:
            within = getattr(claim.test, "within", None)
            if within is not None and within not in found.regions:
                raise ConfigError(f"{path}: {claim.id}: no region is called {within!r}")
        return found


def judge(claim: Claim, findings: Sequence[Finding]) -> Verdict:
    """A claim's verdict from those on its findings.

    Where all have to hold, one that fails decides, even if others were not run; where one is
    enough, one that holds does.
    """
    verdicts = [finding.verdict for finding in findings]
    decisive: Verdict = "not reproduced" if claim.needs == "all" else "reproduced"
    for verdict in (decisive, "not run", "inconclusive"):
        if verdict in verdicts:
            return verdict
    return verdicts[0]


def scorecard(claims: Claims, evidence: Evidence) -> pd.DataFrame:
    """One row for each claim: its verdict and the numbers behind it."""
    rows = []
    for claim in claims.claims:
        findings = list(claim.test.findings(evidence))
        rows.append(
            {
                "id": claim.id,
                "place": claim.place,
                "says": claim.says,
                "verdict": (verdict := judge(claim, findings)),
                "why": _why(verdict, findings),
                "test": _criterion(claim, claims.regions),
                "findings": "; ".join(map(str, findings)),
                "records": " ".join(dict.fromkeys(name for f in findings for name in f.records)),
            }
        )
    return pd.DataFrame(rows)


def scorecard_table(card: pd.DataFrame, notes: Sequence[str] = ()) -> Table:
    """The scorecard to be read, with the number of claims of each verdict."""
    tally = card.verdict.value_counts()
    counts = ", ".join(f"{count} {verdict}" for verdict, count in tally.items())
    shown = pd.DataFrame(
        {
            "Claim": card.says,
            "Place": card.place,
            "Verdict": [
                f"{v} ({w})" if w else v for v, w in zip(card.verdict, card.why, strict=True)
            ],
            "Holds if": card.test,
            "Found [95 % interval]": card.findings.map(_shortened),
        }
    )
    title = "The paper's claims"
    traced = "The CSV names the records behind each claim (column records)."
    return Table(title, card, shown, (f"{len(card)} claims: {counts}.", traced, *notes))


def _shortened(findings: str) -> str:
    """The first few of many findings."""
    parts = findings.split("; ")
    more = f"; and {len(parts) - LISTED} more in the CSV" if len(parts) > LISTED else ""
    return "; ".join(parts[:LISTED]) + more


def _why(verdict: Verdict, findings: Sequence[Finding]) -> str:
    """What keeps a claim from being decided."""
    if verdict == "not run":
        gaps = sum(finding.verdict == "not run" for finding in findings)
        return f"{gaps} of {len(findings)} numbers lack records"
    if verdict == "inconclusive":
        blind = any(finding.low is None for finding in findings)
        return "a number has no interval" if blind else "an interval crosses the border"
    return ""


def _criterion(claim: Claim, regions: Mapping[str, Region]) -> str:
    """What a claim's findings have to be, in words."""
    within = getattr(claim.test, "within", None)
    if within is None:
        return {"spread": "below 0", "counts": "as stated"}[claim.test.kind]
    low, high = regions[within]
    between = f"between {low:g} and {high:g}"
    bound = f"above {low:g}" if high == np.inf else f"below {high:g}"
    region = between if np.isfinite([low, high]).all() else bound
    return f"{claim.needs}: {region} ({within})"


def _listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
