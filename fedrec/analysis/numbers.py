"""The paper's numbers, one by one: does ours say that it would come out again?"""

from collections.abc import Mapping, Sequence

import pandas as pd

from fedrec.analysis.noise import ANOTHER
from fedrec.analysis.summary import ARM, summarise
from fedrec.analysis.tables.table import Table, percent, share, value
from fedrec.records import Record, Report

KEYS = [*ARM, "metric"]


def numbers(
    records: Sequence[Record], paper: pd.DataFrame, datasets: Mapping[str, str], report: Report
) -> pd.DataFrame:
    """One row for each number of the paper on performance, with ours where there are records.

    `agrees` where it lies in [`low`, `high`], the 95 % prediction interval for the mean of five
    other seeds (Patil, Peng and Leek 2016). A number that stands in several tables counts once.
    `datasets` take the place of the paper's.
    """
    stated = paper.dropna(subset="attack").rename(columns={"value": "paper"})
    stated = stated.assign(dataset=stated.dataset.replace(dict(datasets)))
    tables = stated.groupby(KEYS, sort=False).table.agg(" ".join)
    stated = stated.drop_duplicates(KEYS).drop(columns="table").join(tables, on=KEYS)
    ours = summarise(records, report)[[*KEYS, "mean", "again", "seeds", "noise", "records"]]
    found = stated.merge(ours, on=KEYS, how="left")
    low, high = found["mean"] - found.again, found["mean"] + found.again
    agrees = found.paper.between(low, high).where(found.again.notna())
    return found.assign(low=low, high=high, agrees=agrees)


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
