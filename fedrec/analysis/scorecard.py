"""The verdict of the records on each claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from fedrec.analysis.claims import Claim, Claims, criterion
from fedrec.analysis.evidence import Evidence
from fedrec.analysis.more_seeds import Step, cheapest_first, open_ones, step
from fedrec.analysis.summary import ended_early
from fedrec.analysis.verdict import Finding, Verdict, decide
from fedrec.records import Record


def judged(claims: Claims, claim: Claim, findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """Return a claim's verdict, and the reason why it is undecided or what to note about it."""
    needed = claims.needed(claim, len(findings))
    verdict = decide(findings, needed, claims.level)
    if verdict == "not run":
        gaps = sum(finding.estimate is None for finding in findings)
        return verdict, f"{gaps} of {len(findings)} numbers lack records"
    if verdict != "inconclusive":
        return verdict, "; ".join(sorted({f.note for f in findings if f.note}))
    if not all(finding.known for finding in findings):
        return verdict, "a single run gives no interval"
    enough = claims.more_seeds(claim, findings)
    if enough is not None:
        stray = any(finding.outside <= claims.level for finding in findings)
        one = f"one of {len(findings)} may differ by chance; " if stray else ""
        return verdict, f"{one}{enough} seeds would decide it if the estimates stayed the same"
    near = min(open_ones(findings, claims.level), key=lambda finding: finding.distance)
    what = f"{near.estimate:.1f} ± {near.half:.1f}, border {near.border:g}"
    return "too close to call", f"{what}: {claims.affordable} seeds would not decide it"


@dataclass(frozen=True)
class Look:
    """The evidence for a claim at one look."""

    claims: Claims
    claim: Claim
    evidence: Evidence
    number: int  # from 1

    @cached_property
    def findings(self) -> list[Finding]:
        """The numbers that decide the claim."""
        return list(self.claim.test.findings(self.evidence, self.claims.regions))

    @cached_property
    def beside(self) -> list[Finding]:
        """The numbers that are shown, but do not decide the claim."""
        test = self.claim.beside
        return list(test.findings(self.evidence, self.claims.regions)) if test else []

    @cached_property
    def verdict(self) -> tuple[Verdict, str]:
        """The verdict, and the reason why it is undecided."""
        return judged(self.claims, self.claim, self.findings)

    @property
    def undecided(self) -> bool:
        """Whether all numbers have intervals, but do not decide the claim."""
        known = all(finding.known for finding in self.findings)
        return known and self.verdict[0] in ("inconclusive", "too close to call")

    @property
    def next_seeds(self) -> int | None:
        """Seeds per arm for the next look; None after the last. An unfinished look comes first."""
        later = self.claims.looks[self.number - 1 :]
        return next((seeds for seeds in later[:2] if seeds > min(self.seeds)), None)

    @property
    def seeds(self) -> list[int]:
        """The number of seeds of each finding."""
        return [finding.seeds for finding in self.findings]


def looks(claims: Claims, evidence: Evidence) -> list[Look]:
    """Return each claim at the look that judges it: a later one if those before did not decide."""
    shown = [evidence.at(claims.looks[: i + 1]) for i in range(len(claims.looks))]
    return [_last(claims, claim, shown) for claim in claims.claims]


def _last(claims: Claims, claim: Claim, shown: Sequence[Evidence]) -> Look:
    found = Look(claims, claim, shown[0], 1)
    for number, evidence in enumerate(shown[1:], start=2):
        later = Look(claims, claim, evidence, number)
        if not found.undecided or later.seeds == found.seeds:
            break
        found = later
    return found


def plan(claims: Claims, evidence: Evidence, records: Sequence[Record]) -> list[Step]:
    """Return the runs of the next look for each undecided claim, the cheapest claim first."""
    steps = []
    for look in looks(claims, evidence):
        seeds = look.next_seeds
        if look.undecided and seeds:
            found = step(look.claim.id, look.findings, seeds, claims.level, records)
            steps += [found] if found.cells else []
    return cheapest_first(steps)


def scorecard(judging: Sequence[Look]) -> pd.DataFrame:
    """Return one row for each look that judges a claim: verdict, numbers, runs of the first look.

    Of the `runs` needed, `missing` have no record: they have not been run yet, or they failed. Some
    of the others may have `diverged` or been `stopped` before their last round.
    """
    rows = []
    for look in judging:
        claim, findings, beside = look.claim, look.findings, look.beside
        verdict, why = look.verdict
        rows.append(
            {
                "id": claim.id,
                "place": claim.place,
                "says": claim.says,
                "verdict": verdict,
                "why": why,
                "test": criterion(look.claims, claim, len(findings)),
                "findings": "; ".join(map(str, findings)),
                "beside": "; ".join(map(str, beside)),
                "look": look.number,
                **_runs(look),
                "records": _records([*findings, *beside]),
            }
        )
    return pd.DataFrame(rows)


def _runs(look: Look) -> dict[str, int]:
    """Count the runs that a claim's first look needs, by how they ended."""
    arms = dict.fromkeys(arm for finding in look.findings for arm in finding.arms)
    first = look.claims.looks[0]
    there = [run for arm in arms for run in look.evidence.runs(arm) if run.cell.seed < first]
    wanted = first * len(arms)
    return {"runs": wanted, "missing": wanted - len(there), **ended_early(there)}


def _records(findings: Sequence[Finding]) -> str:
    return " ".join(dict.fromkeys(name for finding in findings for name in finding.records))
