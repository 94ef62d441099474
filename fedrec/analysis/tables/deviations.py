"""Differences between the paper's text and its authors' code, and their effects on the results."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fedrec.analysis.measure import Measure, by_arm, seedless
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import percent_lost
from fedrec.analysis.tables.table import MISSING, rows_of
from fedrec.plan.blocks import DeviationTable
from fedrec.plan.cells import BASELINE, PLAIN, Cell, cell_path
from fedrec.plan.metrics import Report
from fedrec.plan.variants import Switch
from fedrec.records import Record

METRIC = "hr@5"
TRACED = "The CSV names the records behind each loss, including the runs without attack."
ARMS = ("attack", "defended")


def deviations(
    switches: Sequence[Switch], records: Sequence[Record], block: DeviationTable, report: Report
) -> pd.DataFrame:
    """Return one row per switch set otherwise: what the attack costs, with and without defence.

    Losses of HR@5 (%) are against the run without attack and defence under the same value. Changes
    (%) are against the same arm as configured, seed by seed. Both have 95 % intervals from the
    noise of all records of the table. The first row is the study as configured. What has no
    records is missing.
    """
    shown = of_block(records, block)
    arms, noises = by_arm(shown), Noises(shown, Measure(METRIC, report))
    trio = [seedless(cell) for cell in block.trios([0])[0]]
    concerned = {f"{name}_concerned": True for name in ARMS}  # its numbers are shown
    rows = [_names(None) | _effects(trio, trio, arms, noises) | concerned]
    used = _kinds(shown)
    for switch in switches:
        known = arms if switch.kind in used else {}  # another method may have a field of that name
        changed = [switch.applied(cell, switch.other) for cell in trio]
        rows.append(_names(switch) | _effects(changed, trio, known, noises))
    return pd.DataFrame(rows)


def _kinds(records: Sequence[Record]) -> set[str]:
    """Return the kinds of the methods in some records, and `protocol`."""
    found = {"protocol"}
    for record in records:
        config = record.config
        parts = (config["model"], config["attack"], *config["defense"])
        found |= {part["kind"] for part in parts}
    return found


def of_block(records: Sequence[Record], block: DeviationTable) -> list[Record]:
    """Return the records that the table can use, variants included."""
    names = {
        "dataset": block.datasets,
        "model": block.models,
        "attack": (BASELINE, *block.attacks),
        "defense": (PLAIN, *block.defenses),
    }
    return [
        record
        for record in records
        if all(getattr(record.cell, n).partition("@")[0] in known for n, known in names.items())
        and record.cell.ratio in (0, *block.ratios)
        and (block.seeds is None or record.cell.seed in block.seeds)
    ]


def formatted_deviations(table: pd.DataFrame, block: DeviationTable) -> pd.DataFrame:
    """Format the table of deviations."""
    attack, defense = block.attacks[0], block.defenses[0]
    shown = pd.DataFrame(
        {
            "Switch": table.switch,
            "Meaning": table.meaning,
            "Here": table.ours,
            "If instead": table["if"],
        }
    )
    for arm, title in zip(ARMS, (attack, f"{attack}, {defense}"), strict=True):
        shown[f"{title}: lost"] = [_interval(row, arm, "loss") for row in rows_of(table)]
        changes = [_interval(row, arm, "change", "+z.1f") for row in rows_of(table)]
        shown[f"{title}: HR@5 against as configured"] = ["", *changes[1:]]
    return shown


def _names(switch: Switch | None) -> dict[str, str]:
    """Return the text of a row: a switch set otherwise; without a switch, as configured."""
    if not switch:
        empty = dict.fromkeys(("meaning", "paper", "code", "ours", "if"), "")
        return {"switch": "as configured", **empty}
    return {
        "switch": f"{switch.kind}.{switch.field}",
        "meaning": switch.meaning,
        **{name: _text(getattr(switch, name)) for name in ("paper", "code", "ours")},
        "if": _text(switch.other),
    }


def _effects(
    trio: Sequence[Cell],
    configured: Sequence[Cell],
    arms: Mapping[Cell, Sequence[Record]],
    noises: Noises,
) -> dict[str, Any]:
    """Return the effects of a switch on the attack, with and without defence."""
    plain, *attacked = (arms.get(cell, ()) for cell in trio)
    found: dict[str, Any] = {}
    for name, arm, cell, same in zip(ARMS, attacked, trio[1:], configured[1:], strict=True):
        found |= _lost(f"{name}_loss", arm, plain, noises)
        found |= _changed(f"{name}_change", arm, arms.get(same, ()), noises)
        found[f"{name}_concerned"] = cell != same
        used = (*arm, *plain) if arm else ()
        found[f"{name}_loss_records"] = " ".join(cell_path(record.cell) for record in used)
    return found


def _lost(
    name: str, arm: Sequence[Record], reference: Sequence[Record], noises: Noises
) -> dict[str, float]:
    """Return the loss of an arm against another one with its interval; NaN without records."""
    value, half = percent_lost(arm, reference, noises)
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def _changed(
    name: str, arm: Sequence[Record], reference: Sequence[Record], noises: Noises
) -> dict[str, float]:
    """Return how much more an arm reaches than another one: the loss with its sign turned."""
    value, low, high = _lost(name, arm, reference, noises).values()
    return {name: -value, f"{name}_low": -high, f"{name}_high": -low}


def _interval(row: Mapping[Any, Any], arm: str, effect: str, digits: str = "z.1f") -> str:
    value, low, high = (row[f"{arm}_{effect}{end}"] for end in ("", "_low", "_high"))
    if not row[f"{arm}_concerned"]:
        return "as configured"
    if pd.isna(value):
        return MISSING
    limits = "" if pd.isna(low) else f" [{low:{digits}}, {high:{digits}}]"
    return f"{value:{digits}} %{limits}"


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
