"""Each number of the paper: would this study's results predict it?"""

from collections.abc import Mapping, Sequence

import pandas as pd

from fedrec.analysis.summary import ARM, summarise
from fedrec.plan.metrics import Report
from fedrec.records import Record

KEYS = [*ARM, "metric"]
OURS = ["mean", "again", "seeds", "diverged", "stopped", "noise", "records"]


def numbers(
    records: Sequence[Record],
    paper: pd.DataFrame,
    datasets: Mapping[str, str],
    report: Report,
    seeds: Sequence[int] = (),
) -> pd.DataFrame:
    """Return one row for each performance number of the paper, with this study's if it has records.

    `agrees` is true if the paper's number lies in [`low`, `high`], the 95 % prediction interval for
    the mean of five other seeds (Patil, Peng and Leek 2016). A number in several tables counts
    once. `datasets` maps the paper's datasets to those used instead. If `seeds` are given, only
    they count, and `missing` counts those without a record.
    """
    records = [record for record in records if not seeds or record.cell.seed in seeds]
    stated = paper.dropna(subset="attack").rename(columns={"value": "paper"})
    stated = stated.assign(dataset=stated.dataset.replace(dict(datasets)))
    tables = stated.groupby(KEYS, sort=False).table.agg(" ".join)
    stated = stated.drop_duplicates(KEYS).drop(columns="table").join(tables, on=KEYS)
    ours = summarise(records, report, metrics=list(stated.metric.unique()))[[*KEYS, *OURS]]
    found = stated.merge(ours, on=KEYS, how="left")
    counts = found[["seeds", "diverged", "stopped"]].fillna(0).astype(int)
    found = found.assign(**counts, missing=(len(seeds) - counts.seeds).clip(lower=0))
    low, high = found["mean"] - found.again, found["mean"] + found.again
    agrees = found.paper.between(low, high).where(found.again.notna())
    return found.assign(low=low, high=high, agrees=agrees)
