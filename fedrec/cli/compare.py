"""The `compare` subcommand: two records side by side."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import add_config, print_lines, stage_of
from fedrec.cli.kept import Kept
from fedrec.cli.text import columns
from fedrec.plan.cells import cell_named, cell_path
from fedrec.plan.metrics import METRICS
from fedrec.plan.plan import Plan
from fedrec.records import Record, read_record

if TYPE_CHECKING:  # importing them takes a while
    pass


def add_to(stages: Any) -> None:
    """Add the subcommand to a parser's."""
    stage = stage_of(stages)
    sub = stage("compare", compare)
    text = "a record's file, or a cell such as ml-1m/MF/Fang"
    sub.add_argument("records", metavar="RECORD", nargs=2, help=text)
    add_config(sub)


def compare(args: argparse.Namespace) -> None:
    """Compare two records: metrics, settings that differ, and the first round that differs.

    For example:

      fedrec compare ml-1m/MF/ClusterAttack ml-1m/MF/ClusterAttack/FedAvg/m0.01/seed1
      fedrec compare record.json results/runs/ml-1m/MF/Fang/FedAvg/m0.01/seed0.json
    """
    a, b = (_record(text, args.config) for text in args.records)
    report = _plan(args.config).report if all(path.exists() for path in args.config) else "best_val"
    values = [[r.reported(metric, report) for r in (a, b)] for metric in METRICS]
    rows = [
        [metric.upper(), f"{x:.4f}", f"{y:.4f}", f"{100 * (y / x - 1):+.1f} %" if x else "–"]
        for metric, (x, y) in zip(METRICS, values, strict=True)
    ]
    print(f"A: {cell_path(a.cell)}\nB: {cell_path(b.cell)}")
    print_lines(columns([["", "A", "B", "change"], *rows], right=(1, 2, 3)))
    print_lines(_difference_lines(a, b))


def _difference_lines(a: Record, b: Record) -> Iterator[str]:
    """Yield the settings that differ, and the first difference of the trajectories."""
    from fedrec.training.verification import first_parting

    here, there = (
        dict(_flat({**r.config, "data": r.dataset_checksum[:12], **_made_by(r)})) for r in (a, b)
    )
    names = [n for n in dict.fromkeys([*here, *there]) if here.get(n, "–") != there.get(n, "–")]
    rows = [[name, str(here.get(name, "–")), str(there.get(name, "–"))] for name in names]
    yield "settings that differ:" if rows else "the same settings, data and versions"
    yield from columns(rows, indent="  ") if rows else ()
    parted = first_parting(a, b)
    if parted:
        number, name, x, y = parted
        yield f"the trajectories first differ in round {number}, {name}: {x} and {y}"
    else:
        yield "the trajectories are bit-identical"


def _made_by(record: Record) -> dict[str, Any]:
    return {"made by": record.provenance.model_dump()}


def _flat(values: Mapping[str, Any] | Sequence[Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its path, such as `attack.clusters`."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in items:
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping | list):
            yield from _flat(value, name)
        else:
            yield name, value


def _record(text: str, configs: Sequence[Path]) -> Record:
    """Return the record in a file, or that of a cell."""
    path = Path(text)
    return read_record(path) if path.is_file() else Kept.of(_plan(configs)).one(cell_named(text))


def _plan(configs: Sequence[Path]) -> Plan:
    from fedrec.extending import read

    full = read(*configs)
    return Plan.read(full.values)
