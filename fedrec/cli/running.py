"""The `run` and `explain` subcommands: train one cell, and show its settings."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import add_config, add_machine, print_lines, stage_of
from fedrec.cli.kept import Kept
from fedrec.cli.text import columns
from fedrec.errors import Diverged, RecordError
from fedrec.plan.blocks import unattacked
from fedrec.plan.cells import Cell, cell_path
from fedrec.plan.metrics import METRICS, Item, Report
from fedrec.records import Record, read_record

if TYPE_CHECKING:  # importing it takes PyTorch
    from fedrec.config.resolution import Part
    from fedrec.config.study import Study

CELL = "dataset/model/attack/defence/ratio/seed; the end may be omitted: ml-1m/MF/ClusterAttack"


def add_to(stages: Any) -> None:
    """Add the subcommands to the parser."""
    stage = stage_of(stages)
    sub = stage("run", run)
    add_cell(sub)
    text = "train again even if a record of this cell, these settings and this version exists"
    sub.add_argument("--again", action="store_true", help=text)
    add_config(sub)
    sub.add_argument(
        "--save-every",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds between checkpoints (default: %(default)g); does not change results",
    )
    add_machine(sub)

    sub = stage("explain", explain)
    add_cell(sub)
    add_config(sub)


def add_cell(sub: argparse.ArgumentParser) -> None:
    """Add the cell's name, and the option that changes its fields."""
    sub.add_argument("cell", metavar="CELL", help=CELL)
    text = "set a field to another value, such as clusters=4 or attack.negatives=5; repeatable"
    sub.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help=text)


def cell_of(study: "Study", args: argparse.Namespace) -> Cell:
    """Return the cell given on the command line."""
    from fedrec.config.asking import Change, asked

    return asked(study, args.cell, map(Change.parse, args.set))


def run(args: argparse.Namespace) -> None:
    """Train one cell, listed in a table or not, and print its metrics.

    The data are prepared first if necessary. The record goes where the workflow would write it; it
    counts for the study if a table lists the cell. A value given with --set becomes part of the
    cell's name (ClusterAttack@clusters=4), so it never replaces another record. A finished cell is
    not trained again, and an interrupted one resumes. For example:

      fedrec run ml-1m/MF/ClusterAttack
      fedrec run ml-1m/MF/ClusterAttack/MultiKrum+UNION/m0.05/seed1 --device cuda
      fedrec run synthetic/MF/Fang/UNION/m0.05 --set rounds=60 --config config/demo.yaml
    """
    from fedrec.config.study import Study

    study = Study.load(*args.config)
    cell = cell_of(study, args)
    record = simulated(study, cell, args)
    print_lines(result_lines(record, study.report, Kept.of(study)))
    if record.diverged_at is not None:
        raise Diverged(f"{cell_path(cell)}: diverged in round {record.diverged_at}")


def simulated(
    study: "Study",
    cell: Cell,
    args: argparse.Namespace,
    shown: Item = "test",
) -> Record:
    """Return the record of a cell: the existing one if it fits, else a new one.

    The progress bar has the test or the validation HR@5, whichever is `shown`.
    """
    from fedrec.cli.training import simulate
    from fedrec.cli.workflow import split_of
    from fedrec.data.split import Split
    from fedrec.training.interruption import Interruption
    from fedrec.training.several_seeds import Job

    config, path = study.cell_config(cell), Kept.of(study).path(cell)
    split = Split.load(split_of(study, cell.dataset, args.config))
    job = Job(config.values, split.checksum, path, args.device)
    if not args.again and (job.take() or job.is_done):
        found = read_record(path)
        print(f"{path}: already exists, made on {found.provenance.device}", file=sys.stderr)
        return found
    with job.claimed() as mine, Interruption() as interruption:
        if not mine:
            raise RecordError(f"{path}: another process is making it; wait until it ends")
        simulate(job, path, split, args, lambda: interruption.requested, shown)
    return read_record(path)


def result_lines(record: Record, report: Report, kept: Kept) -> Iterator[str]:
    """Yield each metric of a record, beside that of the run without attack and defence."""
    plain = unattacked(record.cell)
    found = {} if plain == record.cell else kept.some([plain])
    other = found.get(plain)
    if other and other.dataset_checksum == record.dataset_checksum and other.draws == record.draws:
        yield from columns(
            [["", "this run", "no attack", "change"], *_beside(record, other, report)],
            right=(1, 2, 3),
        )
        yield from _told_apart(record, other)
    else:
        alone = [[name.upper(), f"{record.reported(name, report):.4f}"] for name in METRICS]
        yield from columns([["", "this run"], *alone], right=(1,))
        if plain != record.cell:
            yield f"no run without attack to compare with; make it: fedrec run {cell_path(plain)}"
    yield f"record: {kept.path(record.cell)}"


def _beside(record: Record, other: Record, report: Report) -> Iterator[list[str]]:
    for name in METRICS:
        ours, theirs = record.reported(name, report), other.reported(name, report)
        change = f"{100 * (ours / theirs - 1):+.1f} %" if theirs else "–"
        yield [name.upper(), f"{ours:.4f}", f"{theirs:.4f}", change]


def _told_apart(record: Record, other: Record) -> Iterator[str]:
    """Say that two runs were made on different devices, if they were."""
    here, there = (one.provenance.device for one in (record, other))
    if here != there:
        yield f"this run was made on {here}, the one without attack on {there}"


def explain(args: argparse.Namespace) -> None:
    """Show the settings of a cell, and where each one comes from.

    Each comes from a default, a preset, a line of a config file, the cell's name, or --set.
    For example:

      fedrec explain ml-1m/SASRec/ClusterAttack@clusters=8/NormBound+UNION
      fedrec explain synthetic/MF/Fang/UNION --set near=3.0 --config config/demo.yaml
    """
    from fedrec.config.study import ATTRIBUTES, Study
    from fedrec.extending import read

    study, paths = Study.load(*args.config), read(*args.config).paths
    cell = cell_of(study, args)
    flagged = {text.partition("=")[0].rpartition(".")[2] for text in args.set}
    print(cell_path(cell))
    print_lines(_part_lines("protocol", study.protocol_part(cell), paths, flagged))
    for group, attribute in ATTRIBUTES.items():
        for part in study.parts(group, cell):
            title = f"{attribute} {getattr(cell, attribute)} ({part.kind})"
            print_lines(_part_lines(title, part, paths, flagged))


def _part_lines(
    title: str, part: "Part", paths: Sequence[Path], flagged: set[str]
) -> Iterator[str]:
    rows = [
        [name, str(value), _origin(part, name, paths, flagged)]
        for name, value in part.settings().items()
    ]
    yield title
    yield from columns(rows, right=(1,), indent="  ") if rows else ["  no settings"]


def _origin(part: "Part", field: str, paths: Sequence[Path], flagged: set[str]) -> str:
    """Return what sets a field, in words."""
    from fedrec.yaml_files import located

    layer = part.origin(field)
    if layer is None:
        return "default"
    if layer.origin.startswith("name "):
        return "--set" if field in flagged else "the cell's name"
    found = located((*layer.place, field) if layer.origin == "config" else layer.place, paths)
    where = found[0] if found else ""
    return where if layer.origin == "config" else f"{layer.origin}, {where}"
