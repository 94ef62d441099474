"""The `tune` subcommand: compare settings of a method by validation HR@5."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from fedrec.cli.arguments import add_config, add_machine, print_lines, stage_of
from fedrec.cli.running import simulated
from fedrec.cli.text import columns
from fedrec.plan.metrics import SELECTION_METRIC, Report
from fedrec.records import Record

if TYPE_CHECKING:  # importing them takes PyTorch
    from fedrec.config.study import Study
    from fedrec.config.tuning import Point


def add_to(stages: Any) -> None:
    """Add the subcommand to the parser."""
    sub = stage_of(stages)("tune", tune)
    text = "an entry of the config that has a cell and a grid under `tuning`"
    sub.add_argument("method", metavar="METHOD", help=text)
    text = "write the result as a comment above the entry; the entry's values stay"
    sub.add_argument("--write", action="store_true", help=text)
    add_config(sub)
    add_machine(sub)
    sub.set_defaults(again=False, save_every=120.0)


def tune(args: argparse.Namespace) -> None:
    """Compare settings of a method by validation HR@5, on one cell, and print the best.

    The cell, the values and the seeds are in the config, under `tuning`. Test metrics are neither
    shown nor used. Records go where `fedrec run` puts them, so that finished runs are kept and
    interrupted ones resume. The study itself does not change: to use a value, write it in the
    entry. For example:

      fedrec tune UNION --config config/demo.yaml
      fedrec tune UNION --config config/demo.yaml --write
    """
    from fedrec.config.study import Study
    from fedrec.config.tuning import points

    study = Study.load(*args.config)
    wanted = points(study, args.method)
    found = [Tuned(*pair, study.report) for pair in _trained(study, wanted, args)]
    print_lines(_lines(found))
    if args.write:
        print(f"written above the entry: {_written(study, found, args)}")


@dataclass(frozen=True)
class Tuned:
    """The records of one combination of values."""

    point: "Point"
    records: Sequence[Record]
    report: Report

    @property
    def values(self) -> list[float]:
        """The validation HR@5 of each seed, at the reported evaluation."""
        found = []
        for record in self.records:
            at = record.reported_index(self.report)
            found.append(record.trajectory.validation[SELECTION_METRIC][at])
        return found

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.values))


def _trained(
    study: "Study", wanted: "Sequence[Point]", args: argparse.Namespace
) -> "Iterator[tuple[Point, list[Record]]]":
    """Yield each point with its records; a bar counts the runs."""
    count = sum(len(point.cells) for point in wanted)
    with tqdm(total=count, unit="run", disable=not sys.stderr.isatty()) as bar:
        for point in wanted:
            bar.set_postfix_str(point.name)
            records = []
            for cell in point.cells:
                records.append(simulated(study, cell, args, shown="validation"))
                bar.update()
            yield point, records


def _best(found: Sequence[Tuned]) -> Tuned:
    """Return the highest mean; the first of equal ones."""
    return max(found, key=lambda one: one.mean)


def _lines(found: Sequence[Tuned]) -> Iterator[str]:
    """Yield a row for each point, and the best."""
    best, fields = _best(found), list(found[0].point.settings)
    rows = [[*fields, "validation HR@5", "by seed", "diverged", ""]]
    for one in found:
        diverged = sum(record.diverged_at is not None for record in one.records)
        rows.append(
            [
                *map(str, one.point.settings.values()),
                f"{one.mean:.4f}",
                " ".join(f"{value:.4f}" for value in one.values),
                str(diverged or "–"),
                "best" if one is best else "",
            ]
        )
    yield from columns(rows, right=range(len(fields) + 1))
    yield f"best: {best.point.name}; to use it, write it in the entry"


def _written(study: "Study", found: Sequence[Tuned], args: argparse.Namespace) -> str:
    """Write the result into the config file that has the entry; return file and line."""
    from fedrec.config.tuning import group_of
    from fedrec.extending import read
    from fedrec.yaml_files import write_comment

    best, tuning = _best(found), study.tuning[args.method]
    tried = "; ".join(f"{k}: {', '.join(map(str, values))}" for k, values in tuning.grid.items())
    text = (
        f"{best.point.name} has the best validation HR@5, {best.mean:.4f}, of {tried} "
        f"({tuning.cell}, seeds {', '.join(map(str, tuning.seeds))})."
    )
    place = (group_of(study, args.method), args.method)
    paths = read(*args.config).paths
    return write_comment(place, paths, f"fedrec tune {args.method}:", text)
