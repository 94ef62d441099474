"""The table of the paper's numbers beside this study's."""

from collections.abc import Sequence

import pandas as pd

from fedrec.analysis.noise import ANOTHER
from fedrec.analysis.summary import ARM
from fedrec.analysis.tables.notes import counted
from fedrec.analysis.tables.table import Table, percent, rows_of, seeds_of, share, value


def numbers_table(found: pd.DataFrame, notes: Sequence[str] = ()) -> Table:
    """Format the numbers that have records, with the share of them that agrees."""
    known = found.dropna(subset="mean")
    shown = pd.DataFrame(
        {
            "Table": known.table.str.replace("table-", ""),
            "Dataset": known.dataset,
            "Model": known.model,
            "Defense": known.defense,
            "Attack": known.attack,
            "Malicious": [share(ratio) for ratio in known.ratio],
            "Metric": known.metric.str.upper(),
            "Seeds": [seeds_of(row) for row in rows_of(known)],
            "Paper": [value(number) for number in known.paper],
            "Ours": [value(number) for number in known["mean"]],
            "Five other seeds (95 %)": [
                f"{value(low)} to {value(high)}"
                for low, high in zip(known.low, known.high, strict=True)
            ],
            "Paper against ours": [percent(p) for p in 100 * (known.paper / known["mean"] - 1)],
            "Agrees": known.agrees.map({True: "yes", False: "no"}).fillna("–"),
        }
    )
    said = (summary_of(found), _runs(found), METHOD, *notes)
    return Table("The paper's numbers and ours", found, shown, said)


def _runs(found: pd.DataFrame) -> str:
    """Describe how the runs behind the numbers ended; each arm's runs count once."""
    arms = found.drop_duplicates(ARM)
    names = ("seeds", "missing", "diverged", "stopped")
    seeds, missing, diverged, stopped = (int(arms[name].sum()) for name in names)
    return counted(seeds + missing, missing, diverged, stopped)


METHOD = (
    f"A number agrees if it lies in our 95 % prediction interval for the mean of {ANOTHER} new "
    "seeds (docs/statistics.md)."
)


def summary_of(found: pd.DataFrame) -> str:
    """Summarise the comparison in a line."""
    judged = found.dropna(subset="again")
    return (
        f"{int(judged.agrees.sum())} of {len(judged)} numbers agree; chance alone would let 95 % "
        f"agree. {len(found) - len(judged)} of the paper's {len(found)} numbers lack records."
    )
