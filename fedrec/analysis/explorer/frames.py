"""The data behind the charts. All of it is computed here: the page only selects and draws."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from fedrec.analysis.explorer.runs import Run
from fedrec.analysis.measure import by_arm
from fedrec.analysis.statistics import half_width
from fedrec.analysis.summary import ARM, summarise
from fedrec.analysis.tables.table import percent, rows_of, value
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.metrics import Report
from fedrec.records import Pictures, Record

METRICS = ("hr@5", "ndcg@5")  # the paper's; each further metric adds a quarter to the page's data
CHOICES = ("dataset", "model", "attack", "defense", "ratio", "metric")  # chosen by the reader
SHARES = ("recall", "precision")  # reported by a filter about a round's uploads


def numbers(
    records: Sequence[Record],
    wanted: Sequence[Cell],
    report: Report,
    runs: Mapping[Cell, Sequence[Run]],
) -> pd.DataFrame:
    """Return one row for each arm and metric: the numbers of `summarise`, and their text.

    `row` numbers the rows, `key` identifies a choice, `low` and `high` bound the loss (%), `shown`
    and `lost` are the result and the loss as text, `href` links to the arm's runs.
    """
    frame = summarise(records, report, wanted)
    frame = frame[frame.metric.isin(METRICS)].reset_index(drop=True)
    arms = [Cell(**row, seed=-1) for row in rows_of(frame[ARM])]
    order = list(runs)
    return pd.DataFrame(
        {
            "row": frame.index,
            "key": [key(arm, metric) for arm, metric in zip(arms, frame.metric, strict=True)],
            **{name: frame[name] for name in ARM if name != "ratio"},
            "ratio": [f"{ratio:g}" for ratio in frame.ratio],
            "metric": frame.metric,
            "mean": frame["mean"],
            "loss": frame.degradation,
            "low": frame.degradation - frame.degradation_ci95,
            "high": frame.degradation + frame.degradation_ci95,
            "shown": list(map(value, frame["mean"], frame.ci95)),
            "lost": list(map(percent, frame.degradation, frame.degradation_ci95)),
            "users": list(map(_between, frame.users_low, frame.users_high)),
            "runs": [_counted(runs[arm]) for arm in arms],
            "seeds": frame.seeds,
            "href": [f"#{arm_id(order.index(arm))}" for arm in arms],
        }
    )


def arm_id(number: int) -> str:
    """Return the id of an arm in the page, from its place in the order of arms."""
    return f"arm-{number}"


def key(arm: Cell, metric: str) -> str:
    """Return an arm and a metric as one text; the page builds the same text from the choices."""
    c = arm
    return "|".join([c.dataset, c.model, c.attack, c.defense, f"{c.ratio:g}", metric])


def curves(records: Sequence[Record], named: pd.DataFrame) -> pd.DataFrame:
    """Return each arm's test metrics by round: mean over runs, 95 % Student-t interval, runs.

    `row` refers to the rows of `named`, made by `numbers`. One run has no interval.
    """
    points = [
        (key(arm, metric), number, result)
        for arm, found in by_arm(records).items()
        for metric in METRICS
        for record in found
        for number, result in zip(
            record.trajectory.round, record.trajectory.test.get(metric, ()), strict=False
        )
    ]
    return _over_runs(pd.DataFrame(points, columns=["key", "round", "value"]), ["key"], named)


def filtered(records: Sequence[Record], named: pd.DataFrame) -> pd.DataFrame:
    """Return the shares that a filter reports, by round; rounds without values are left out.

    Means, intervals and `row` are as in `curves`.
    """
    frame = pd.DataFrame(_shares(records), columns=["key", "share", "round", "value"])
    return _over_runs(frame.dropna(subset="value"), ["key", "share"], named)


def items(pictures: Pictures) -> pd.DataFrame:
    """Return every item of every picture; `panel` numbers the pictures.

    `x` and `y` are between -1 and 1. All pictures of a round have one scale, at which the largest
    one fits.
    """
    reach: dict[int, float] = {}
    for p in pictures.pictures:
        farthest = max(map(abs, [*p.component_1, *p.component_2]))
        reach[p.round] = max(farthest, reach.get(p.round, 0.0))
    parts = [
        pd.DataFrame({"x": p.component_1, "y": p.component_2}) / (reach[p.round] or 1.0)
        for p in pictures.pictures
    ]
    parts = [part.assign(panel=i, community=pictures.community) for i, part in enumerate(parts)]
    return pd.concat(parts).round(3)


def first_choice(numbers: pd.DataFrame, points: pd.DataFrame) -> dict[str, str]:
    """Return the first choice: the arm with the most evaluations, if possible with a defence."""
    counts = numbers.row.map(points.groupby("row").points.sum()).fillna(0)
    attacked, defended = numbers.attack != BASELINE, numbers.defense != PLAIN
    wished = (attacked & defended, attacked, attacked | ~attacked)
    rows = next(numbers[these] for these in wished if (these & (counts > 0)).any())
    best = rows_of(rows.iloc[[int(counts[rows.index].to_numpy().argmax())]])[0]
    return {name: str(best[name]) for name in CHOICES}


def options(numbers: pd.DataFrame) -> dict[str, list[str]]:
    """Return what can be chosen, in the study's order; no attack only if there is nothing else."""
    found = {name: list(dict.fromkeys(map(str, numbers[name]))) for name in CHOICES}
    for name, nothing in (("attack", BASELINE), ("ratio", "0")):
        found[name] = [text for text in found[name] if text != nothing] or found[name]
    found["ratio"].sort(key=float)
    return found


def _shares(records: Sequence[Record]) -> Iterator[tuple[str, str, int, float | None]]:
    """Yield one row for each record, share and evaluation."""
    for record in records:
        track = record.trajectory
        for share in SHARES:
            for number, found in zip(track.round, track.defense.get(share, ()), strict=False):
                yield key(record.cell, METRICS[0]), share, number, found


def _over_runs(points: pd.DataFrame, by: list[str], named: pd.DataFrame) -> pd.DataFrame:
    """Return means over runs with intervals, by round, with the rows' numbers."""
    groups = points.groupby([*by, "round"], sort=False).value
    found = groups.agg(mean="mean", points="size")
    half = groups.agg(lambda values: half_width(values.to_numpy()))
    found = found.assign(low=found["mean"] - half, high=found["mean"] + half).reset_index()
    found["row"] = found.key.map(named.set_index("key").row)
    return found.drop(columns="key")


def _between(low: float, high: float) -> str:
    return "" if np.isnan(low) else f"{low:.2f} to {high:.2f} %"


def _counted(runs: Sequence[Run]) -> str:
    """Describe how many runs there are, and how the others ended."""
    made = [run for run in runs if run.link]
    others = {
        state: sum(run.state == state for run in runs)
        for state in ("diverged", "stopped", "failed")
    }
    told = "".join(f", {count} {state}" for state, count in others.items() if count)
    whole = f"{len(made)} of {len(runs)}" if len(made) < len(runs) else str(len(made))
    return f"{whole} run{'s' * (len(runs) != 1)}{told}"
