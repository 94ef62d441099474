"""Seeds aggregated: means, intervals, and degradation paired by seed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from fedrec.records import Record, Report

METRICS = ("hr@5", "ndcg@5", "hr@10", "ndcg@10", "hr@20", "ndcg@20", "mrr")
BASELINE = "NoAttack"
ARM = ["dataset", "model", "attack", "defense", "ratio"]


def summarise(records: Sequence[Record], report: Report) -> pd.DataFrame:
    """One row for each arm and metric, over its seeds.

    `mean` ± `ci95` is a 95 % Student-t interval. `degradation` (%, positive is worse) compares
    with the same seeds of the unattacked arm: relative loss of the mean, with the interval
    `degradation_ci95` and the p-value of the paired t-test. They are missing for the unattacked
    arm itself, and the intervals with a single seed.
    """
    rows = [
        {**record.cell.model_dump(), "metric": metric, "value": record.reported(metric, report)}
        for record in records
        for metric in METRICS
    ]
    values = pd.DataFrame(rows)
    base = values[values.attack == BASELINE].drop(columns=["attack", "ratio"])
    keys = ["dataset", "model", "defense", "seed", "metric"]
    paired = values.merge(base, on=keys, how="left", suffixes=("", "_base"))
    groups = paired.groupby([*ARM, "metric"], sort=False)
    return pd.DataFrame([dict(zip([*ARM, "metric"], k, strict=True)) | _row(g) for k, g in groups])


def _row(seeds: pd.DataFrame) -> dict[str, float]:
    """The statistics of one arm and metric."""
    own = {
        "mean": seeds.value.mean(),
        "ci95": half_width(seeds.value.to_numpy()),
        "seeds": len(seeds),
    }
    both = seeds.dropna(subset="value_base")
    if both.empty or both.attack.iloc[0] == BASELINE:
        return own | {"degradation": np.nan, "degradation_ci95": np.nan, "p_value": np.nan}
    base = both.value_base.mean()
    lost = both.value_base - both.value
    ratio = lost.mean() / base
    return own | {
        "degradation": 100 * ratio,
        # Of a ratio of means (delta method): a seed's loss beyond the ratio's share of its base.
        "degradation_ci95": half_width((100 * (lost - ratio * both.value_base) / base).to_numpy()),
        "p_value": _paired_p(both),
    }


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % Student-t interval of a mean; missing for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def _paired_p(both: pd.DataFrame) -> float:
    if len(both) < 2 or np.ptp(both.value - both.value_base) == 0:
        return float("nan")
    return float(stats.ttest_rel(both.value, both.value_base).pvalue)
