"""Results aggregated over seeds: means, intervals, and losses paired by seed."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from fedrec.analysis.measure import Measure, by_arm, seedless
from fedrec.analysis.noise import Noise, Noises, half_of, mean_error, prediction_error
from fedrec.analysis.statistics import NORMAL, holm, loss, users_error
from fedrec.plan.cells import BASELINE, PLAIN, Cell, cell_path
from fedrec.plan.metrics import Report
from fedrec.records import Record

METRICS = ("hr@5", "ndcg@5", "hr@10", "ndcg@10", "hr@20", "ndcg@20", "mrr")
CPU = "cpu"  # as in records
BETWEEN = "; "  # separates names of devices, which contain spaces
ARM = ["dataset", "model", "attack", "defense", "ratio"]

Error = Callable[[Float[np.ndarray, " seeds"], Noise], tuple[float, float]]
Arms = Mapping[Cell, Sequence[Record]]  # by cell without its seed (-1)


def summarise(
    records: Sequence[Record],
    report: Report,
    wanted: Sequence[Cell] = (),
    metrics: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Return one row per arm and metric, over seeds; arms of `wanted` without a record are empty.

    The noise is estimated from all records (docs/statistics.md); `noise` describes it. `mean` ±
    `ci95` is a 95 % interval, and `mean` ± `again` is the one for the mean of five other seeds.
    `degradation` is the relative loss (%, positive is worse) against the same seeds without attack
    and defence, with the half-width `degradation_ci95` and the p-value of no difference; `p_holm`
    is corrected for all rows of the metric. `users_low` and `users_high` bound the loss for other
    users with these runs. The arm without attack and defence has no loss. `missing` counts wanted
    seeds without a record; `records` names the records, some of which may have `diverged` or been
    `stopped`. `devices` exists if a GPU made a record of any arm.
    """
    arms: dict[Cell, list[Record]] = {seedless(cell): [] for cell in wanted}
    arms |= by_arm(records)
    counts = pd.Series([seedless(cell) for cell in wanted]).value_counts()
    rows = []
    for metric in metrics:
        noises = Noises(records, Measure(metric, report))
        for arm, found in arms.items():
            missing = max(int(counts.get(arm, 0)) - len(found), 0)
            named = {**arm.model_dump(exclude={"seed"}), "metric": metric}
            rows.append(named | _row(arms, arm, noises) | {"missing": missing, **_traces(found)})
    frame = pd.DataFrame(rows).assign(mixed="; ".join(mixtures(records)))
    frame["p_holm"] = frame.groupby("metric").p_value.transform(lambda p: holm(p.to_numpy()))
    # Without GPU records, the summary is byte for byte as before there was GPU support.
    return frame if set(devices(records)) - {CPU} else frame.drop(columns="devices")


def _row(arms: Arms, arm: Cell, noises: Noises) -> dict[str, object]:
    """Return the statistics of one arm and metric."""
    values = np.array([noises.measure(record) for record in arms[arm]])
    noise = noises.of(arms[arm][0]) if arms[arm] else None
    own = {
        "mean": values.mean() if len(values) else np.nan,
        "std": values.std(ddof=1) if len(values) > 1 else np.nan,
        "ci95": _half(mean_error, values, noise),
        "again": _half(prediction_error, values, noise),
        "seeds": len(values),
        "noise": str(noise or ""),
    }
    plain = arm.model_copy(update={"attack": BASELINE, "defense": PLAIN, "ratio": 0.0})
    return own | _against(() if arm == plain else arms[arm], arms.get(plain, ()), noises)


def _half(error: Error, values: Float[np.ndarray, " seeds"], noise: Noise | None) -> float:
    """Return half of a 95 % interval."""
    if noise is None:
        return float("nan")
    return half_of(*error(values, noise))


def _against(ours: Sequence[Record], plain: Sequence[Record], noises: Noises) -> dict[str, object]:
    """Compare an arm with the one without attack and defence."""
    names = ("degradation", "degradation_ci95", "p_value", "users_low", "users_high")
    try:
        found = loss(ours, plain, noises)
    except ValueError:
        return dict.fromkeys(names, np.nan)
    users = NORMAL * users_error(found.pairs, noises.measure)
    ends = found.percent - users, found.percent + users
    return dict(zip(names, (found.percent, found.half, found.p_value, *ends), strict=True))


def _traces(records: Sequence[Record]) -> dict[str, str | int]:
    """Return the sources of a row's numbers."""
    return {
        **ended_early(records),
        "records": " ".join(cell_path(record.cell) for record in records),
        "versions": " ".join(sorted({version(record) for record in records})),
        "devices": BETWEEN.join(devices(records)),
    }


def ended_early(records: Sequence[Record]) -> dict[str, int]:
    """Count the runs that diverged, and those that were stopped before their last round."""
    ends = [ending(record) for record in records]
    return {end: ends.count(end) for end in ("diverged", "stopped")}


def ending(record: Record) -> str:
    """Return how a run ended: `finished`, `diverged`, or `stopped` before its last round."""
    if record.diverged_at is not None:
        return "diverged"
    rounds = record.config.get("protocol", {}).get("rounds", 0)
    return "stopped" if record.trajectory.round[-1] < rounds else "finished"


def version(record: Record) -> str:
    """Return the version of the code that made a record."""
    made = record.provenance
    return f"{made.fedrec}+{made.git}" if made.git else made.fedrec


def devices(records: Sequence[Record]) -> list[str]:
    """Return the devices that made records: `cpu`, and the names of GPUs."""
    return sorted({record.provenance.device for record in records})


def mixtures(records: Sequence[Record]) -> list[str]:
    """Describe parts with the same name but different settings; empty if there are none."""
    found = []
    for part, names in SETTINGS.items():
        settings: dict[tuple[str, ...], set[str]] = {}
        for record in records:
            key = tuple(str(getattr(record.cell, name)) for name in names)
            if part == "protocol":  # the same for the whole study, except for variants
                key = tuple(name.partition("@")[2] for name in key)
            settings.setdefault(key, set()).add(repr(record.config.get(part)))
        found += [
            f"{part} of {', '.join(filter(None, key)) or 'the study'} ({len(values)} settings)"
            for key, values in settings.items()
            if len(values) > 1
        ]
    return found


# The names that may determine each part of a cell's settings.
SETTINGS = {
    "protocol": ("model", "attack", "defense"),
    "model": ("model", "dataset"),
    "attack": ("attack", "dataset", "model"),
    "defense": ("defense", "dataset", "model"),
}
