"""The artifact appendix: for each claim its command, time, disk, and what to expect."""

from collections.abc import Sequence

import pandas as pd

from fedrec.analysis.claims import criterion
from fedrec.analysis.effort import effort
from fedrec.analysis.scorecard import Look
from fedrec.analysis.tables.table import Table
from fedrec.analysis.verdict import Finding, number
from fedrec.plan.cells import Cell
from fedrec.records import Record

NOTES = (
    "Each command trains every run of the claim's first look here, ignoring published records, and "
    "prints the verdict. Without `--again` it trains only runs that have no record yet. Times are "
    "sums of what records state; runs are independent, so several cores share them. Runs on a GPU "
    "may have shared the card.",
    "Tolerance: the same seeds on a CPU give the same MF records, to the bit. Other seeds, or a "
    "GPU, should give numbers within the ± of their 95 % interval.",
)
EXPECTED = 6  # findings shown of a claim


def appendix_table(
    looks: Sequence[Look], records: Sequence[Record], options: str = "", notes: Sequence[str] = ()
) -> Table:
    """One row for each claim.

    Args:
        looks: what records say of each claim.
        records: runs that tell how long others take.
        options: what commands end with, such as ` --config mine.yaml`.
        notes: sentences below the table.
    """
    values = pd.DataFrame([_row(look, records, options) for look in looks])
    shown = pd.DataFrame(
        {
            "Claim": values.says,
            "Command": values.command,
            "Runs": values.runs,
            "Time": values.time,
            "Disk": values.disk,
            "Holds if": values.test,
            "Expect": values.expect,
        }
    )
    return Table("Artifact appendix: each claim by itself", values, shown, (*NOTES, *notes))


def _row(look: Look, records: Sequence[Record], options: str) -> dict[str, object]:
    claim, cells = look.claim, _cells(look)
    takes = effort(cells, records)
    return {
        "id": claim.id,
        "says": claim.says,
        "command": f"fedrec claim {claim.id} --run --again{options}",
        "runs": len(cells),
        "time": takes.time or "–",
        "disk": takes.disk if cells else "–",
        "test": criterion(look.claims, claim, len(look.findings)),
        "expect": _expected(look.findings),
        "verdict": look.verdict[0],
    }


def _cells(look: Look) -> list[Cell]:
    """The runs of a claim's first look."""
    arms = dict.fromkeys(arm for one in [*look.findings, *look.beside] for arm in one.arms)
    seeds = range(look.claims.looks[0])
    return [arm.model_copy(update={"seed": seed}) for arm in arms for seed in seeds]


def _expected(findings: Sequence[Finding]) -> str:
    """What the records here gave, with half of the interval."""
    found = [f"{f.what}: {_number(f)}" for f in findings if f.estimate is not None]
    more = [f"and {len(found) - EXPECTED} more"] if len(found) > EXPECTED else []
    return "; ".join([*found[:EXPECTED], *more]) or "not run here"


def _number(finding: Finding) -> str:
    half = f" ± {number(finding.half)}" if finding.known and finding.half else ""
    return number(finding.estimate or 0.0) + half
