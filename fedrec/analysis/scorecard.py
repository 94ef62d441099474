"""What records say of each claim."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from fedrec.analysis.claims import Claim, Claims, criterion
from fedrec.analysis.evidence import Evidence
from fedrec.analysis.plan import Step, cheapest_first, open_ones, step
from fedrec.analysis.tables.table import Table
from fedrec.analysis.verdict import NO_RECORD, Finding, Verdict, decide
from fedrec.records import Record

LISTED = 10  # findings of a claim


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
    """The first few of many findings, without those of which there is no record."""
    parts = [part for part in findings.split("; ") if not part.endswith(NO_RECORD)]
    more = f"; and {len(parts) - LISTED} more in the CSV" if len(parts) > LISTED else ""
    return "; ".join(parts[:LISTED]) + more or NO_RECORD
