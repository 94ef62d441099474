"""Tables of the verdicts on the paper's claims."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from fedrec.analysis.tables.table import Table, rows_of
from fedrec.analysis.verdict import NO_RECORD

LISTED = 10  # findings shown for a claim


def scorecard_table(card: pd.DataFrame, notes: Sequence[str] = ()) -> Table:
    """Format the scorecard, with the number of claims of each verdict."""
    shown = pd.DataFrame(
        {
            "Claim": card.says,
            "Place": card.place,
            "Verdict": [
                f"{v} ({w})" if w else v for v, w in zip(card.verdict, card.why, strict=True)
            ],
            "Runs": [_runs(row) for row in rows_of(card)],
            "Holds if": card.test,
            "Found [95 % interval]": [
                _shortened(f) + (f". Beside it: {_shortened(b)}" if b else "")
                for f, b in zip(card.findings, card.beside, strict=True)
            ],
        }
    )
    title = "The paper's claims"
    traced = "The CSV names the records behind each claim (column records)."
    return Table(title, card, shown, (tally(card.verdict), LOOKS, traced, *notes))


LOOKS = (
    "Runs are those of a claim's first look, with the number that is missing, diverged or was "
    "stopped; a failed run counts as missing. If the first look leaves a claim undecided, a second "
    "look has five more seeds. Each look is at 5 % / 2; the intervals shown are 95 % intervals."
)


def _runs(row: Mapping[str, Any]) -> str:
    """Describe how many runs a claim needs, and how they ended."""
    found = [f"{row[how]} {how}" for how in ("missing", "diverged", "stopped") if row[how]]
    second = ", second look" if row["look"] > 1 else ""
    return f"{row['runs']}" + (f" ({', '.join(found)})" if found else "") + second


def tally(verdicts: "pd.Series[str]") -> str:
    """Describe how many claims have each verdict."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.value_counts().items())
    return f"{len(verdicts)} claims: {counts}."


def secondary_table(cards: Mapping[str, pd.DataFrame], notes: Sequence[str] = ()) -> Table:
    """Format the verdicts by other measures, beside those by the first measure, which judges."""
    first, *others = cards
    main = cards[first]
    values = main[["id", "place", "says"]].copy()
    for name, card in cards.items():
        values[name] = card.verdict
        values[f"{name}: found"] = card.findings
    # Claims about counts and uploads have the same numbers by any measure, and are left out.
    moved = [any(cards[o].findings[i] != main.findings[i] for o in others) for i in main.index]
    values = values[moved].reset_index(drop=True)
    shown = values[["says", *cards]].rename(columns={"says": "Claim"})
    return Table("The claims by other measures", values, shown, (*_differ(values, cards), *notes))


def _differ(values: pd.DataFrame, cards: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yield a sentence for each verdict that differs by another measure."""
    first, *others = cards
    yield f"{first} decides; the other measures are for comparison."
    rows: Any = values.to_dict("records")
    for row in rows:
        for other in others:
            if row[other] != row[first]:
                yield f"{row['says']} By {first} {row[first]}, by {other} {row[other]}."


def _shortened(findings: str) -> str:
    """Return the first few of many findings, without those that lack records."""
    parts = [part for part in findings.split("; ") if not part.endswith(NO_RECORD)]
    more = f"; and {len(parts) - LISTED} more in the CSV" if len(parts) > LISTED else ""
    return "; ".join(parts[:LISTED]) + more or NO_RECORD
