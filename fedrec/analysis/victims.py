"""Which users an attack harms: results and losses of groups of users (docs/statistics.md)."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import loss
from fedrec.analysis.users import gains
from fedrec.errors import RecordError
from fedrec.plan.cells import BASELINE, cell_path
from fedrec.plan.metrics import SELECTION_METRIC, Report
from fedrec.records import Hits, Record, Trajectory

Digits = str  # for each user, its group; 0 if it is not evaluated


def victims(records: Sequence[Record], digits: Digits, metric: str, report: Report) -> pd.DataFrame:
    """Return one row for each attack and group, over the seeds of an HR@k, all with one defence.

    `mean` ± `half` is the 95 % interval of the share of the group's users who are hit. `loss` ±
    `loss_half` is the relative loss (%) against the same users and seeds without attack; it is NaN
    without such runs, or if they hit no user of the group. Each group of each attack is an arm, and
    all arms share one dispersion.

    Raises:
        RecordError: a record does not name the users hit, or evaluated other users.
    """
    parts = {
        (attack, group): runs
        for group in sorted(set(digits) - {"0"})
        for attack, runs in _runs(records, digits, group, metric, report)
    }
    noises = Noises([run for runs in parts.values() for run in runs], Measure(metric, report))
    rows = []
    for (attack, group), runs in parts.items():
        plain = () if attack == BASELINE else parts.get((BASELINE, group), ())
        mean, half = noises.mean(runs)
        lost = _loss(runs, plain, noises)
        rows.append((attack, int(group), mean, half, *lost))
    return pd.DataFrame(rows, columns=["attack", "group", "mean", "half", "loss", "loss_half"])


def of_group(record: Record, digits: Digits, group: str, metric: str, report: Report) -> Record:
    """Return the record that a run would have if it evaluated the users of one group alone.

    Its attack's name has the group as a suffix, because each group is an arm of its own.

    Raises:
        RecordError: the record does not name the users hit, or evaluated other users.
    """
    hits = _checked(record, digits, report)
    both = zip(hits.user, hits.position, strict=True)
    inside = [(user, position) for user, position in both if digits[user] == group]
    own = Hits(
        users=digits.count(group), user=[u for u, _ in inside], position=[p for _, p in inside]
    )
    share = float(gains(own, metric)[1].sum()) / own.users
    alone = Trajectory(
        round=[record.trajectory.round[record.reported_index(report)]],
        validation={SELECTION_METRIC: [0.0]},
        test={metric: [share]},
        loss=[0.0],
        attack={},
        defense={},
    )
    cell = record.cell.model_copy(update={"attack": f"{record.cell.attack} {group}"})
    return record.model_copy(update={"cell": cell, "trajectory": alone, "hits": {report: own}})


def _runs(
    records: Sequence[Record], digits: Digits, group: str, metric: str, report: Report
) -> Iterator[tuple[str, list[Record]]]:
    """Yield each attack, and its runs for the users of one group."""
    for arm, runs in by_arm(records).items():
        yield arm.attack, [of_group(run, digits, group, metric, report) for run in runs]


def _loss(runs: Sequence[Record], plain: Sequence[Record], noises: Noises) -> tuple[float, float]:
    try:
        found = loss(runs, plain, noises)
    except ValueError:
        return np.nan, np.nan
    return found.percent, found.half


def _checked(record: Record, digits: Digits, report: Report) -> Hits:
    """Return the hits of a record, if all its evaluated users are in groups, and no other user."""
    hits = (record.hits or {}).get(report)
    if hits is None:
        raise RecordError(f"{cell_path(record.cell)}: names no users; run its cell again")
    evaluated = len(digits) - digits.count("0")
    known = all(user < len(digits) and digits[user] != "0" for user in hits.user)
    if hits.users != evaluated or not known:
        raise RecordError(
            f"{cell_path(record.cell)}: evaluated other users than are in the groups; set "
            "`pool_drawn: once` and one `pool` for all cells, and make groups.json again"
        )
    return hits
