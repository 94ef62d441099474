"""The paper's numbers beside ours, as a table."""

from collections.abc import Sequence

import pandas as pd

from fedrec.analysis.noise import ANOTHER
from fedrec.analysis.tables.table import Table, percent, share, value


def numbers_table(found: pd.DataFrame, notes: Sequence[str] = ()) -> Table:
    """The same to be read: those with records, and how many of them agree."""
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
            "Seeds": [f"{seeds:.0f}" for seeds in known.seeds],
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
    return Table("The paper's numbers and ours", found, shown, (summary_of(found), METHOD, *notes))


METHOD = (
    f"A number agrees if it lies where the mean of {ANOTHER} other seeds of ours would, at 95 % "
    "(docs/statistics.md)."
)


def summary_of(found: pd.DataFrame) -> str:
    """The whole in a line."""
    judged = found.dropna(subset="again")
    return (
        f"{int(judged.agrees.sum())} of {len(judged)} numbers agree; chance alone would let 95 % "
        f"agree. {len(found) - len(judged)} of the paper's {len(found)} numbers lack records."
    )
