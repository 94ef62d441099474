"""Differences between the paper's text and its authors' code, and their effects on the results."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fedrec.analysis.measure import Measure, by_arm, seedless
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import loss
from fedrec.analysis.tables.table import MISSING, rows_of
from fedrec.plan.blocks import DeviationTable
from fedrec.plan.cells import BASELINE, PLAIN, Cell, cell_path
from fedrec.plan.metrics import Report
from fedrec.plan.variants import Switch
from fedrec.records import Record

METRIC = "hr@5"
TRACED = "The CSV names the records behind each loss, including the runs without attack."
EFFECTS = ("attack_loss", "defended_loss")


def deviations(
    switches: Sequence[Switch], records: Sequence[Record], block: DeviationTable, report: Report
) -> pd.DataFrame:
    """Return one row per switch set otherwise: the attack's loss (%), with and without defence.

    Losses of HR@5 are against the run without attack and defence under the same value, with 95 %
    intervals from the noise of all records of the table. The first row is the study as configured.
    Losses without records are missing.
    """
    shown = of_block(records, block)
    arms, noises = by_arm(shown), Noises(shown, Measure(METRIC, report))
    trio = [seedless(cell) for cell in block.trios([0])[0]]
    rows = [_row(None, trio, arms, noises)]
    used = _kinds(shown)
    for switch in switches:
        known = arms if switch.kind in used else {}  # another method may have a field of that name
        changed = [switch.applied(cell, switch.other) for cell in trio]
        rows.append(_row(switch, changed, known, noises))
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
    losses = {"attack_loss": f"{attack}: lost", "defended_loss": f"{attack}, {defense}: lost"}
    shown = pd.DataFrame(
        {
            "Switch": table.switch,
            "Meaning": table.meaning,
            "Here": table.ours,
            "If instead": table["if"],
        }
    )
    for effect, title in losses.items():
        shown[title] = [_interval(row, effect) for row in rows_of(table)]
    return shown


def _row(
    switch: Switch | None,
    trio: Sequence[Cell],
    arms: Mapping[Cell, Sequence[Record]],
    noises: Noises,
) -> dict[str, Any]:
    """Return one row: the study with one switch set otherwise; without a switch, as configured."""
    names = {"switch": "as configured"}
    names |= dict.fromkeys(("meaning", "paper", "code", "ours", "if"), "")
    if switch:
        names = {
            "switch": f"{switch.kind}.{switch.field}",
            "meaning": switch.meaning,
            **{name: _text(getattr(switch, name)) for name in ("paper", "code", "ours")},
            "if": _text(switch.other),
        }
    plain, *attacked = (arms.get(cell, ()) for cell in trio)
    found: dict[str, Any] = {}
    for effect, arm, cell in zip(EFFECTS, attacked, trio[1:], strict=True):
        concerned = switch is None or "@" in f"{cell.model}{cell.attack}{cell.defense}"
        found |= _effect(effect, arm, plain, noises) | {f"{effect}_changes": concerned}
        used = (*arm, *plain) if arm else ()
        found[f"{effect}_records"] = " ".join(cell_path(record.cell) for record in used)
    return names | found


def _effect(
    name: str, arm: Sequence[Record], plain: Sequence[Record], noises: Noises
) -> dict[str, float]:
    try:
        found = loss(arm, plain, noises)
    except ValueError:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    low, high = found.percent - found.half, found.percent + found.half
    return {name: found.percent, f"{name}_low": low, f"{name}_high": high}


def _interval(row: Mapping[Any, Any], effect: str) -> str:
    value, low, high = (row[f"{effect}{end}"] for end in ("", "_low", "_high"))
    if not row[f"{effect}_changes"]:
        return "as configured"
    if pd.isna(value):
        return MISSING
    return f"{value:.1f} %" + ("" if pd.isna(low) else f" [{low:.1f}, {high:.1f}]")


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
