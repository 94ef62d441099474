"""What records say of each claim."""

from collections.abc import Sequence

import pandas as pd

from fedrec.analysis.claims import Claim, Claims, criterion
from fedrec.analysis.evidence import Evidence
from fedrec.analysis.more_seeds import Step, cheapest_first, open_ones, step
from fedrec.analysis.verdict import Finding, Verdict, decide
from fedrec.records import Record


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
                "test": criterion(claims, claim, len(findings)),
                "findings": "; ".join(map(str, findings)),
                "beside": "; ".join(map(str, beside)),
                "records": _records([*findings, *beside]),
            }
        )
    return pd.DataFrame(rows)


def _records(findings: Sequence[Finding]) -> str:
    return " ".join(dict.fromkeys(name for finding in findings for name in finding.records))
