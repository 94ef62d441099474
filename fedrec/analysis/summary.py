"""Seeds aggregated: means, intervals, and losses paired by seed and by user."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from fedrec.analysis.statistics import (
    half_width,
    holm,
    paired,
    paired_p,
    relative_loss,
    two_sided,
    user_bootstrap,
)
from fedrec.records import BASELINE, PLAIN, Cell, Record, Report, cell_path

METRICS = ("hr@5", "ndcg@5", "hr@10", "ndcg@10", "hr@20", "ndcg@20", "mrr")
ARM = ["dataset", "model", "attack", "defense", "ratio"]

Arms = Mapping[Cell, Sequence[Record]]  # by cell, its seed left out (-1)


def by_arm(records: Iterable[Record]) -> dict[Cell, list[Record]]:
    """Records of the same cell but for the seed, together."""
    arms: dict[Cell, list[Record]] = {}
    for record in records:
        arms.setdefault(seedless(record.cell), []).append(record)
    return arms


def seedless(cell: Cell) -> Cell:
    """A cell that stands for all seeds."""
    return cell.model_copy(update={"seed": -1})


def summarise(
    records: Sequence[Record], report: Report, wanted: Sequence[Cell] = ()
) -> pd.DataFrame:
    """One row for each arm and metric, over its seeds; arms of `wanted` without record are empty.

    `mean` ± `ci95` is a 95 % Student-t interval. `degradation` (%, positive is worse) compares
    with the same seeds without attack and defence: relative loss of the mean, with the interval
    `degradation_ci95` and the p-value of the paired t-test; `users_low` and `users_high` bound the
    loss (%) for resampled users, with the p-value `users_p`, which `users_p_holm` corrects for all
    rows of its metric. They are missing for that arm itself, and the intervals over
    seeds with a single one. `missing` counts seeds wanted in vain; `records` names the others, of
    which some may have `diverged`.
    """
    arms: dict[Cell, list[Record]] = {seedless(cell): [] for cell in wanted}
    arms |= by_arm(records)
    counts = pd.Series([seedless(cell) for cell in wanted]).value_counts()
    rows = [
        {**arm.model_dump(exclude={"seed"}), "metric": metric}
        | _row(arms, arm, metric, report)
        | {"missing": max(int(counts.get(arm, 0)) - len(found), 0), **_traces(found)}
        for arm, found in arms.items()
        for metric in METRICS
    ]
    frame = pd.DataFrame(rows).assign(mixed="; ".join(mixtures(records)))
    frame["users_p_holm"] = frame.groupby("metric").users_p.transform(lambda p: holm(p.to_numpy()))
    return frame


def _row(arms: Arms, arm: Cell, metric: str, report: Report) -> dict[str, float]:
    """The statistics of one arm and metric."""
    values = np.array([record.reported(metric, report) for record in arms[arm]])
    own = {
        "mean": values.mean() if len(values) else np.nan,
        "std": values.std(ddof=1) if len(values) > 1 else np.nan,
        "ci95": half_width(values),
        "seeds": len(values),
    }
    plain = arm.model_copy(update={"attack": BASELINE, "defense": PLAIN, "ratio": 0.0})
    pairs = [] if arm == plain else paired(arms[arm], arms.get(plain, ()))
    return own | _against(pairs, metric, report)


def _against(
    pairs: Sequence[tuple[Record, Record]], metric: str, report: Report
) -> dict[str, float]:
    """How an arm compares with the one that losses are reckoned from."""
    names = ("degradation", "degradation_ci95", "p_value", "users_low", "users_high", "users_p")
    found = dict.fromkeys(names, np.nan)
    if not pairs:
        return found
    ours, base = (
        np.array([record.reported(metric, report) for record in side])
        for side in zip(*pairs, strict=True)
    )
    found["degradation"], found["degradation_ci95"] = relative_loss(ours, base)
    found["p_value"] = paired_p(ours, base)
    drawn = user_bootstrap(pairs, metric, report)
    if drawn is not None:
        low, high = np.percentile(100 * drawn / base.mean(), [2.5, 97.5])
        found |= {"users_low": low, "users_high": high, "users_p": two_sided(drawn)}
    return found


def _traces(records: Sequence[Record]) -> dict[str, str | int]:
    """Where the numbers of a row come from."""
    return {
        "diverged": sum(record.diverged_at is not None for record in records),
        "records": " ".join(cell_path(record.cell) for record in records),
        "versions": " ".join(sorted({version(record) for record in records})),
    }


def version(record: Record) -> str:
    """The code that made a record."""
    made = record.provenance
    return f"{made.fedrec}+{made.git}" if made.git else made.fedrec


def mixtures(records: Sequence[Record]) -> list[str]:
    """What stands under one name but was set otherwise, in words; nothing for a clean set."""
    found = []
    for part, names in PARTS.items():
        settings: dict[tuple[str, ...], set[str]] = {}
        for record in records:
            key = tuple(str(getattr(record.cell, name)) for name in names)
            if part == "protocol":  # is the study's, but for variants
                key = tuple(name.partition("@")[2] for name in key)
            settings.setdefault(key, set()).add(repr(record.config.get(part)))
        found += [
            f"{part} of {', '.join(filter(None, key)) or 'the study'} ({len(values)} settings)"
            for key, values in settings.items()
            if len(values) > 1
        ]
    return found


# What each part of a cell's settings may depend on.
PARTS = {
    "protocol": ("model", "attack", "defense"),
    "model": ("model", "dataset"),
    "attack": ("attack", "dataset", "model"),
    "defense": ("defense", "dataset", "model"),
}
