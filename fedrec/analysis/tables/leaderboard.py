"""The leaderboard: defences in order of their worst case over attacks, with their cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedrec.analysis.summary import CPU, summarise
from fedrec.analysis.tables.table import MISSING, percent, rows_of, seeds_of, value
from fedrec.plan.blocks import Leaderboard
from fedrec.plan.cells import BASELINE, Cell
from fedrec.plan.metrics import Report
from fedrec.plan.variants import Variant
from fedrec.records import Record

METRIC = "hr@5"
UNAWARE, ADAPTIVE = "unaware", "adaptive"  # groups of attacks
WORST = (
    "A worst case is the largest loss over the attacks of its column, and it names the attack. The "
    "largest of several estimates is biased upward, since chance raises some of them: read it as "
    "the loss of that attack, with the ± of that attack alone, which leaves out the choice. The "
    "order is that of the worst case over all attacks; defences that lack an attack come last, "
    "without a rank."
)
KNOWS = (
    "Adaptive attackers know the server's rule: {names}. The attackers of the other attacks do not."
)
UPLOADED = (
    "What a client uploads is the mean over the clients of a round, in KB (1,000 bytes): 8 bytes "
    "for the id of an item, 4 for each number of its row and of the other shared parameters, and 8 "
    "for the sample count and the factor of the L2 gradient. Nothing is compressed. Runs on a GPU "
    "do not count it."
)
UPLOADS = "KB a client uploads"
COSTS = {"ms_a_round": "median", "peak_memory_mb": "max", "upload_bytes": "median"}
COUNTS = ("seeds", "missing", "diverged", "stopped")


def leaderboard(
    records: Sequence[Record], block: Leaderboard, report: Report, wanted: Sequence[Cell] = ()
) -> pd.DataFrame:
    """Return one row per arm, in full precision; the defence with the smallest worst case is first.

    Columns are those of `summarise`, for HR@5. `group` is that of the attack: `unaware`,
    `adaptive`, or empty without attack. `worst` marks the largest loss of its group under the
    defence. `worst_of_all` is the largest loss under the defence (%), and `rank` its place; both
    are missing if an attack has no loss. `ms_a_round`, `peak_memory_mb` and `upload_bytes` are the
    defence's cost (`costs`).
    """
    arms = summarise(records, report, wanted).query("metric == @METRIC")
    arms = arms[arms.defense.isin(arms.defense[arms.attack != BASELINE])]
    arms = arms.assign(group=[_group(attack, block) for attack in arms.attack])
    arms["worst"] = _is_largest(arms)
    losses = arms[arms.group != ""].pivot(index="defense", columns="attack", values="degradation")
    largest = losses.max(axis="columns", skipna=False)
    arms["worst_of_all"] = arms.defense.map(largest)
    arms["rank"] = arms.defense.map(largest.rank(method="min"))
    arms = arms.merge(costs(records)[["defense", *COSTS]], on="defense", how="left")
    return arms.sort_values("rank", kind="stable", ignore_index=True)


def _is_largest(arms: pd.DataFrame) -> "pd.Series[bool]":
    """Return whether a loss is the largest of its group of attacks under its defence."""
    largest = arms.groupby(["defense", "group"]).degradation.transform("max")
    return (arms.group != "") & (arms.degradation == largest)


def costs(records: Sequence[Record]) -> pd.DataFrame:
    """Return the cost of each defence's runs without attack, on the device that made most of them.

    `ms_a_round` is the median, with evaluations; `peak_memory_mb` is the largest, in MiB of host
    memory; `upload_bytes` is the median of what a client uploads in a round, or missing if no
    record has it. Every row names the `device` and the processors.
    """
    found = pd.DataFrame(
        [
            {
                "defense": record.cell.defense,
                "device": record.provenance.device,
                "processor": record.provenance.processor,
                "ms_a_round": 1000 * record.cost.seconds_per_round,
                "peak_memory_mb": record.cost.peak_memory_mb,
                "upload_bytes": record.cost.benign_upload_bytes,
            }
            for record in records
            if record.cell.attack == BASELINE
        ],
        columns=["defense", "device", "processor", *COSTS],
    ).astype(dict.fromkeys(COSTS, float))
    here = found[found.device.isin(found.device.mode()[:1])]
    made = here.groupby("defense", sort=False).agg(COSTS).reset_index()
    return made.assign(
        device=", ".join(here.device.unique()),
        processors=", ".join(sorted(here.processor.unique())),
        others=len(found) - len(here),
    )


def notes_of(block: Leaderboard, records: Sequence[Record]) -> list[str]:
    """Return the notes on worst cases, groups of attacks, and costs."""
    knows = [KNOWS.format(names=", ".join(block.adaptive))] if block.adaptive else []
    made = costs(records)
    counted = [UPLOADED] if made.upload_bytes.notna().any() else []
    return [WORST, *knows, *(_cost_note(row) for row in rows_of(made)[:1]), *counted]


def formatted_leaderboard(table: pd.DataFrame) -> pd.DataFrame:
    """Format a leaderboard: one row for each defence, with a column for each attack.

    The column of uploads is left out if no record has them.
    """
    groups = [group for group in (UNAWARE, ADAPTIVE) if (table.group == group).any()]
    return pd.DataFrame(
        [_row(rows, groups, table) for _, rows in table.groupby("defense", sort=False)]
    )


def _row(rows: pd.DataFrame, groups: Sequence[str], table: pd.DataFrame) -> dict[str, str]:
    """Return the shown row of one defence."""
    first, arms = rows.iloc[0], {row["attack"]: row for row in rows_of(rows)}
    clean: Mapping[str, Any] = arms.get(BASELINE, {"mean": np.nan, "ci95": np.nan})
    attacks = dict.fromkeys(table.attack[table.group != ""])
    sums = {name: int(rows[name].sum()) for name in COUNTS}
    uploaded = {UPLOADS: _number(first.upload_bytes / 1000, 1)}
    return {
        "Rank": MISSING if pd.isna(first["rank"]) else f"{first['rank']:.0f}",
        "Defense": first.defense,
        "HR@5 without attack": value(clean["mean"], clean["ci95"]),
        **{f"{attack}: lost": _loss(arms.get(attack)) for attack in attacks},
        **{_head(group, groups): _worst(rows, group, table) for group in groups},
        "ms a round": _number(first.ms_a_round, 1),
        "Peak MiB": _number(first.peak_memory_mb, 0),
        **(uploaded if table.upload_bytes.notna().any() else {}),
        "Runs": seeds_of(sums),
    }


def _head(group: str, groups: Sequence[str]) -> str:
    """Return the title of a worst-case column."""
    if len(groups) == 1:
        return "Worst case"
    return "Worst adaptive" if group == ADAPTIVE else "Worst, rule unknown"


def _worst(rows: pd.DataFrame, group: str, table: pd.DataFrame) -> str:
    """Format the largest loss of a group, with its attack; say if attacks of it have no loss."""
    wanted = table.attack[table.group == group].nunique()
    known = rows[(rows.group == group) & rows.degradation.notna()]
    if known.empty:
        return MISSING
    row = rows_of(known[known.worst])[0]
    partly = f" ({len(known)} of {wanted} attacks)" if len(known) < wanted else ""
    return f"{row['attack']}: {_loss(row)}{partly}"


def _loss(row: Mapping[str, Any] | None) -> str:
    return MISSING if row is None else percent(row["degradation"], row["degradation_ci95"])


def _number(number: float, digits: int) -> str:
    return MISSING if pd.isna(number) else f"{number:.{digits}f}"


def _group(attack: str, block: Leaderboard) -> str:
    """Return the group of an attack; a variant belongs where its entry does."""
    if attack == BASELINE:
        return ""
    return ADAPTIVE if {attack, Variant.parse(attack).base} & {*block.adaptive} else UNAWARE


def _cost_note(cost: Mapping[str, Any]) -> str:
    """Say what costs are, and where they were measured."""
    made_on = cost["processors"] if cost["device"] == CPU else cost["device"]
    others = f" (runs on other devices, left out: {cost['others']})" if cost["others"] else ""
    return (
        f"Cost is that of the runs without attack, on {made_on}{others}: the median time of a "
        "round, evaluations included, and the largest peak of host memory of the process. A rule "
        "that prepares for malicious uploads expects none there, and may take longer under "
        "attack. Records do not tell whether a run shared its machine or card with others, which "
        "makes it slower, or its process with other seeds, which adds to the peak."
    )
