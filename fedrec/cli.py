"""`fedrec`: one thin subcommand for each stage of the study.

The workflow calls these; each one can be run by hand too. Modules that only one stage needs are
imported there, because every job pays for what is imported here.
"""

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import cleandoc
from io import StringIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import pydantic

from fedrec import __version__
from fedrec.ahead import Job, make_with
from fedrec.config_errors import ConfigError, Place, explain
from fedrec.data.errors import DataError
from fedrec.data.filters import Filtered
from fedrec.data.interactions import Counts, Interactions, check_counts
from fedrec.data.rows import TimeFormat
from fedrec.data.sources import RawFile, Source, check_sum, fetch
from fedrec.data.split import Repeats, Split, leave_one_out
from fedrec.data.statistics import load_statistics, save_statistics
from fedrec.files import read_with_sum, write_text, write_with_sum
from fedrec.interruption import TRY_AGAIN, Interrupted, Interruption
from fedrec.outline import Block, Scorecard, Section, Switch
from fedrec.records import (
    Record,
    RecordError,
    add_to_pack,
    cell_path,
    parse_cell,
    read_record,
    read_records,
    write_record,
)

if TYPE_CHECKING:  # importing these takes PyTorch
    from fedrec.bench.cells import Case
    from fedrec.config import Dataset

T = TypeVar("T", bound=Section)
DEVICES = ("auto", "cpu", "cuda")
DIVERGED = 3  # exit code
FIGURES = ("training_curves", "attack_grid", "adaptive_clustering", "uploads")


class Diverged(Exception):
    """Training diverged, and its record says so; the message names record and round."""


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; whatever stops it gives one message and an exit code.

    1: a mistake of the user's, or something that the machine lacks; 3: training diverged, and is
    recorded so; 75: interrupted, and the same command goes on where this one ended.
    """
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except Interrupted as error:
        return _stopped(args.command, str(error), TRY_AGAIN)
    except Diverged as error:
        return _stopped(args.command, str(error), DIVERGED)
    except (ConfigError, DataError, RecordError, RuntimeError, OSError, MemoryError) as error:
        return _stopped(args.command, _explained(error), 1)
    return 0


def download(args: argparse.Namespace) -> None:
    """Bring a dataset's raw file, from FEDREC_MIRROR if that is set, else from the web."""
    dataset = _dataset(args.dataset)
    files = (*dataset.raw, *dataset.lists)
    sources = {source.name: source for source in files if isinstance(source, Source)}
    if args.output.name not in sources:
        raise ConfigError(
            f"this dataset has no file {args.output.name!r}; its files: "
            + (", ".join(sources) or "none, there is nothing to download")
        )
    fetch(sources[args.output.name], args.output, os.environ.get("FEDREC_MIRROR") or None)


def inspect(args: argparse.Namespace) -> None:
    """Say what a file of interactions holds, and how to read it: an entry for the config.

    Separator, header, columns and the format of times are guessed from the first lines of a text
    (plain, .gz or .zip), of item lists or of a Parquet file. Options say what was guessed wrongly.
    Nothing is written. For example

      fedrec data inspect plays.csv.gz
      fedrec data inspect ml-1m.zip --member ml-1m/ratings.dat
      fedrec data inspect visits.tsv --user 0 --item 4 --time 1 --time-zone Europe/Berlin
    """
    from fedrec.data.guessing import Known
    from fedrec.data.inspection import inspect

    known = {field.name: getattr(args, field.name) for field in dataclasses.fields(Known)}
    print(inspect(args.file, Known(**known)), end="")


def interactions(args: argparse.Namespace) -> None:
    """Read raw files, or generate synthetic interactions."""
    dataset = _dataset(args.dataset)
    if dataset.synthetic:
        dataset.synthetic.generate().save(args.output)
        return
    if len(args.raw or ()) != len(dataset.raw):
        names = " ".join(source.name for source in dataset.raw)
        raise ConfigError(f"this dataset is read from files: give them as --raw {names}")
    _check_sums(dataset.raw, args.raw)
    dataset.read(args.raw).save(args.output)


def filter_(args: argparse.Namespace) -> None:
    """Apply a dataset's filter, check its counts, and write both, and what each pass dropped."""
    dataset = _dataset(args.dataset)
    before = Interactions.load(args.input)
    found = _filtered(dataset, before, args.lists or ())
    if dataset.expect:
        check_counts(found.kept.counts, dataset.expect, str(args.input))
    found.kept.save(args.output)
    save_statistics(args.counts, found.kept.counts)
    if args.passes:
        save_statistics(args.passes, found.passes)
    passes = len(found.passes.dropped)
    print(f"kept {found.kept.counts} of {before.counts} in {passes} passes", file=sys.stderr)


def _filtered(dataset: "Dataset", before: Interactions, lists: Sequence[Path]) -> Filtered:
    if dataset.k_core:
        return dataset.k_core.apply(before)
    if not dataset.id_lists:
        return Filtered.through([], before)
    if len(lists) != 2:
        names = " ".join(source.name for source in dataset.lists)
        raise ConfigError(f"this dataset is filtered by lists: give them as --lists {names}")
    _check_sums(dataset.lists, lists)
    return dataset.id_lists.apply(before, *lists)


def split(args: argparse.Namespace) -> None:
    """Leave each user's last interaction out for testing, and the one before for validation."""
    found = leave_one_out(Interactions.load(args.input))
    found.save(args.output)
    if args.repeats:
        save_statistics(args.repeats, found.repeats)


def cell(args: argparse.Namespace) -> None:
    """Print the settings of one cell, every field written out: what `train` takes."""
    from fedrec.config import Study

    study = Study.load(*args.config)
    cells = {cell_path(c): c for block in study.blocks().values() for c in study.cells(block)}
    if args.name not in cells:
        raise ConfigError(f"no cell {args.name!r}; the study has\n  " + "\n  ".join(cells))
    print(study.cell_config(cells[args.name]).to_json())


def train(args: argparse.Namespace) -> None:
    """Simulate cells, one after another in one process, and write each record as it is finished.

    A run that was ended, by SIGTERM, SIGINT or otherwise, goes on from `<output>.checkpoint`.
    """
    if len(args.cell) != len(args.output):
        raise ConfigError(f"{len(args.cell)} cells need as many outputs, not {len(args.output)}")
    cells, split = [_json(cell) for cell in args.cell], Split.load(args.split)
    with Interruption() as interruption:

        def stop() -> bool:
            return interruption.requested

        def simulate(job: Job, path: Path) -> None:
            _simulate(job, path, split, args, stop)

        for cell, output in zip(cells, args.output, strict=True):
            job = Job(cell, split.checksum, output)
            if args.together:
                make_with(job, [job.with_seed(seed) for seed in args.siblings], simulate, stop)
            else:
                simulate(job, output)
    _tell_of_divergence(args.output, args.accept_divergence)


def _tell_of_divergence(outputs: Iterable[Path], accept: bool) -> None:
    """Say which records are of runs that diverged.

    Raises:
        Diverged: there are some, and that is not accepted.
    """
    rounds = {path: read_record(path).diverged_at for path in outputs}
    found = [f"{path}: diverged in round {at}" for path, at in rounds.items() if at is not None]
    if found and not accept:
        raise Diverged("; ".join(found) + " (recorded so; no retry can end otherwise)")
    for line in found:
        print(line, file=sys.stderr)


def _simulate(
    job: Job, path: Path, split: Split, args: argparse.Namespace, stop: Callable[[], bool]
) -> None:
    """Run one cell, from its checkpoint if there is one, and write its record to a path."""
    from fedrec.config import CellConfig
    from fedrec.keeper import Keeper
    from fedrec.process import prepare
    from fedrec.run import choose_device, run_cell

    prepare(args.threads)
    keeper = Keeper(job.record, stop, args.save_every)
    record = run_cell(CellConfig.parse(job.values), split, choose_device(args.device), keeper)
    write_record(record, path)
    keeper.forget()


def summary(args: argparse.Namespace) -> None:
    """Aggregate the records of one table over seeds."""
    from fedrec.analysis.summary import summarise

    cells = [parse_cell(path) for path in args.cells]
    frame = summarise(_records_of(args), args.report, cells)
    write_with_sum(args.output, frame.to_csv(index=False))


def table(args: argparse.Namespace) -> None:
    """Make a table of attacks from a summary, as CSV, Markdown, LaTeX and HTML."""
    import pandas as pd

    from fedrec.analysis.notes import of_summary
    from fedrec.analysis.tables import Table, attack_table, constants, formatted

    block = _block(args)
    values = attack_table(
        pd.read_csv(StringIO(_summary(args.summary))), pd.read_csv(args.paper), block.metrics
    )
    title = f"{block.title.rstrip('.')} ({constants(values)})."
    notes = of_summary(values, args.note)
    Table(title, values, formatted(values), notes).write(args.output)


def dataset_table(args: argparse.Namespace) -> None:
    """Make the table of datasets from their counts, as CSV, Markdown, LaTeX and HTML."""
    import pandas as pd

    from fedrec.analysis.tables import Table, dataset_table, formatted_datasets

    counts, repeats = (
        {path.parent.name: vars(load_statistics(kind, path)) for path in paths}
        for kind, paths in ((Counts, args.counts), (Repeats, args.repeats))
    )
    values = dataset_table(counts, repeats, pd.read_csv(args.paper))
    notes = [args.note] if args.note else []
    Table(_block(args).title, values, formatted_datasets(values), notes).write(args.output)


def deviations(args: argparse.Namespace) -> None:
    """Make the table of switches between the paper's text and code, and of what each does."""
    from fedrec.analysis.deviations import deviations, formatted_deviations, of_block
    from fedrec.analysis.notes import of_records
    from fedrec.analysis.tables import Table

    block = _block(args)
    records = of_block(read_records(args.records), block)
    switches = [Switch.model_validate(entry) for entry in _json(args.switches.read_text())]
    values = deviations(switches, records, block, args.report)
    notes = of_records(records, args.note)
    Table(block.title, values, formatted_deviations(values, block), notes).write(args.output)


def claims(args: argparse.Namespace) -> None:
    """Judge the paper's claims by records: a table, and a picture of all verdicts."""
    from fedrec.analysis.claims import Claims, scorecard, scorecard_table
    from fedrec.analysis.evidence import Evidence
    from fedrec.analysis.figures.scorecard import draw
    from fedrec.analysis.figures.style import save_figure
    from fedrec.analysis.notes import of_records

    known, records = Claims.load(args.claims), read_records(args.records)
    counts = {path.parent.name: vars(load_statistics(Counts, path)) for path in args.counts}
    card = scorecard(
        known,
        Evidence(records, counts, _valid(Scorecard, args.scorecard), known.regions, args.report),
    )
    made = scorecard_table(card, of_records(records, args.note))
    made.write(args.output)
    save_figure(draw(card, made.title, args.note), args.picture)


def runs(args: argparse.Namespace) -> None:
    """List every run: what it measured, what it took, and what code made it."""
    from fedrec.analysis.runs import run_table

    run_table(read_records(args.records), args.report, args.note).write(args.output)


def figure(args: argparse.Namespace) -> None:
    """Draw a figure from records, as PDF, SVG and PNG."""
    from importlib import import_module

    from fedrec.analysis.figures.style import save_figure

    block = _block(args)
    if block.kind not in FIGURES:
        raise ConfigError(f"a figure has no kind {block.kind!r}, only {', '.join(FIGURES)}")
    drawing = import_module(f"fedrec.analysis.figures.{block.kind}")
    records = _records_of(args)
    save_figure(drawing.draw(records, block, args.report, note=args.note), args.output)


def configuration(args: argparse.Namespace) -> None:
    """Show a configuration as a page."""
    import yaml

    from fedrec.analysis.tables import page

    text = yaml.safe_dump(_json(args.config), sort_keys=False, allow_unicode=True)
    write_text(args.output, page("Configuration", text, args.note))


def publish(args: argparse.Namespace) -> None:
    """Keep records and statistics in few small files; older ones stay or are replaced."""
    add_to_pack(read_records(args.records), args.folder / "records.jsonl.gz")
    for path in args.counts or ():
        write_text(args.folder / "data" / path.parent.name / path.name, path.read_text())
    if args.switches:
        write_text(args.folder / "data" / args.switches.name, args.switches.read_text())


def outputs(args: argparse.Namespace) -> None:
    """List the tables, figures and summaries that a study has made."""
    from fedrec.config import Study

    results = Path(Study.load(*args.config).results)
    for folder in ("tables", "figures", "summary"):
        for path in sorted((results / folder).glob("*")):
            if path.suffix not in (".sha256", ".tmp"):
                print(path)


def schema(args: argparse.Namespace) -> None:
    """Print the JSON schema of a config file."""
    from fedrec.config import Study

    print(json.dumps(Study.model_json_schema(), indent=2))


def check(args: argparse.Namespace) -> None:
    """Check config files, and local data that they name; say how many cells they ask for."""
    from fedrec.config import Study

    study = Study.load(*args.config)
    for dataset in study.datasets.values():
        for source in (*dataset.raw, *dataset.lists):
            if not isinstance(source, Source):
                source.check()
    cells = {c for block in study.blocks().values() for c in study.cells(block)}
    print(f"{', '.join(map(str, args.config))}: {len(cells)} training jobs")


def bench(args: argparse.Namespace) -> None:
    """Time rounds and their parts against the machine's limits, on data made up at a size."""
    from fedrec.bench.machine import measure_machine
    from fedrec.bench.measure import Effort, apart, measure
    from fedrec.bench.report import Benchmark, comparison, describe, lines, table_lines

    if args.compare:
        return _print(comparison(*map(Benchmark.read, args.compare)))
    cases, effort = _bench_cases(args), Effort(rounds=args.rounds, reference=args.reference)
    machines = [apart(measure_machine, device, args.threads) for device in _devices(args)]
    _print(map(describe, machines))
    made = Benchmark(machines=machines, results=[])
    results = map(made.add, measure(cases, effort))
    _print(table_lines(results, made) if len(cases) > 1 else lines(next(results), machines[0]))
    if args.output:
        made.write(args.output)
    if args.plot:
        from fedrec.bench.scaling import draw

        draw(made).savefig(args.plot)


def _bench_cases(args: argparse.Namespace) -> "list[Case]":
    """Every combination of what is asked for."""
    from fedrec.bench.cells import Case
    from fedrec.bench.scaling import growth
    from fedrec.config import Study

    defenses, attacks = args.defense, args.attack
    if args.grid:
        defenses = list(Study.load("config/paper.yaml").defenses)
        attacks = ["NoAttack", "ClusterAttack"]
    wanted = product(_devices(args), args.size, args.model, defenses, attacks)
    cases = [
        Case.of(model, attack, defense, size, device, args.threads)
        for device, size, model, defense, attack in wanted
    ]
    return [grown for case in cases for grown in growth(case)] if args.plot else cases


def _devices(args: argparse.Namespace) -> list[str]:
    from fedrec.run import choose_device

    return [choose_device(device) for device in args.device]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _stopped(command: str, message: str, code: int) -> int:
    print(f"fedrec {command}: {message}", file=sys.stderr)
    return code


def _explained(error: Exception) -> str:
    """An error's message; PyTorch and NumPy say in different ways that memory is used up."""
    text = str(error)
    if isinstance(error, MemoryError) or re.search("out of memory|t allocate memory", text):
        first = text.partition("\n")[0] or "no more to be had"
        return f"out of memory ({first}): give the job more (`mem_mb` in the profile)"
    return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="fedrec", description=__doc__, formatter_class=_Help)
    top.add_argument("--version", action="version", version=f"fedrec {__version__}")
    stages = top.add_subparsers(dest="command", required=True, metavar="STAGE")

    stage = partial(_add_stage, stages)

    for name, run in (("download", download), ("interactions", interactions), ("filter", filter_)):
        sub = stage(name, run)
        sub.add_argument("dataset", metavar="JSON", help="the dataset's entry in the config")
        sub.add_argument("--output", type=Path, required=True, help="file to write")
        if name == "interactions":
            sub.add_argument("--raw", type=Path, nargs="*", help="downloaded files, in order")
        if name == "filter":
            sub.add_argument("--input", type=Path, required=True, help="interactions (.npz)")
            sub.add_argument("--counts", type=Path, required=True, help="counts to write (.json)")
            sub.add_argument("--passes", type=Path, help="what each pass dropped, to write (.json)")
            sub.add_argument("--lists", type=Path, nargs="*", help="lists of users and items")

    text = "Look at files of interactions."
    data = stages.add_parser("data", help=text, description=text)
    looks = data.add_subparsers(required=True, metavar="COMMAND")
    sub = _add_stage(looks, "inspect", inspect)
    sub.set_defaults(command="data inspect")
    _add_known(sub)

    sub = stage("split", split)
    sub.add_argument("--input", type=Path, required=True, help="filtered interactions (.npz)")
    sub.add_argument("--output", type=Path, required=True, help="split to write (.npz)")
    text = "counts of targets that their users took before, to write (.json)"
    sub.add_argument("--repeats", type=Path, help=text)

    sub = stage("cell", cell)
    sub.add_argument("name", help="such as ml-1m/MF/ClusterAttack/FedAvg/m0.01/seed0.json")
    _add_config(sub)

    sub = stage("train", train)
    text = "settings of one cell or several, from `fedrec cell`"
    sub.add_argument("cell", metavar="JSON", nargs="+", help=text)
    sub.add_argument("--split", type=Path, required=True, help="split of the dataset (.npz)")
    text = "record to write (.json), one for each cell"
    sub.add_argument("--output", type=Path, nargs="+", required=True, help=text)
    text = "other seeds of the cell, such as 1,2: their records go beside this one, as seed1.json"
    sub.add_argument("--siblings", type=_seeds, default=[], metavar="SEEDS", help=text)
    text = "1: train the siblings too where nobody else does, and leave each for its own command"
    sub.add_argument("--together", type=int, choices=[0, 1], default=0, help=text)
    text = "end with 0, not 3, if training diverges: an attack may have meant it to"
    sub.add_argument("--accept-divergence", action="store_true", help=text)
    text = "seconds between checkpoints (default: %(default)g); changes no result"
    sub.add_argument("--save-every", type=float, default=120.0, metavar="S", help=text)
    _add_machine(sub)

    sub = stage("summary", summary)
    _add_records(sub)
    _add_cells(sub)
    sub.add_argument("--output", type=Path, required=True, help="summary to write (.csv)")

    sub = stage("figure", figure)
    _add_block(sub)
    _add_records(sub)
    _add_cells(sub)
    sub.add_argument("--output", type=Path, required=True, help="PDF; SVG and PNG go beside it")

    for name, run in (("table", table), ("dataset-table", dataset_table)):
        sub = stage(name, run)
        _add_block(sub)
        if name == "table":
            sub.add_argument("--summary", type=Path, required=True, help="summary (.csv)")
        else:
            _add_counts(sub)
            text = "repeats.json of each dataset, likewise"
            sub.add_argument("--repeats", type=Path, nargs="+", required=True, help=text)
        sub.add_argument("--paper", type=Path, required=True, help="the paper's values (.csv)")
        _add_table(sub)

    sub = stage("deviations", deviations)
    _add_block(sub)
    _add_records(sub)
    sub.add_argument("--switches", type=Path, required=True, help="switches.json")
    _add_table(sub)

    sub = stage("claims", claims)
    sub.add_argument("--claims", type=Path, required=True, help="claims and their tests (.yaml)")
    sub.add_argument("--scorecard", default="{}", help="the scorecard's entry in the config")
    _add_records(sub)
    _add_counts(sub)
    _add_table(sub)
    sub.add_argument("--picture", type=Path, required=True, help="PDF; SVG and PNG go beside it")

    sub = stage("runs", runs)
    _add_records(sub)
    _add_table(sub)

    sub = stage("configuration", configuration)
    sub.add_argument("config", metavar="JSON", help="the configuration")
    sub.add_argument("--note", default="", help="stands below it")
    sub.add_argument("--output", type=Path, required=True, help="page to write (.html)")

    sub = stage("publish", publish)
    sub.add_argument("records", type=Path, nargs="+", help="records of single runs")
    sub.add_argument("--counts", type=Path, nargs="+", help="counts and other statistics")
    sub.add_argument("--switches", type=Path, help="switches.json")
    sub.add_argument("--folder", type=Path, required=True, help="folder to keep them in")

    for name, run in (("check", check), ("outputs", outputs)):
        _add_config(stage(name, run))
    stage("schema", schema)

    sub = stage("bench", bench)
    sub.add_argument("--grid", action="store_true", help="every defence with and without attack")
    for name, default in (("model", "MF"), ("attack", "NoAttack"), ("defense", "FedAvg")):
        text = f"names in config/paper.yaml (default: {default})"
        sub.add_argument(f"--{name}", nargs="+", default=[default], help=text)
    sizes = ["ml-1m", "gowalla", "million"]
    sub.add_argument("--size", nargs="+", choices=sizes, default=["ml-1m"])
    sub.add_argument("--rounds", type=int, default=200, help="rounds to time (default: 200)")
    text = "rounds of the plain client-by-client version to time as well (default: none)"
    sub.add_argument("--reference", type=int, default=0, metavar="ROUNDS", help=text)
    sub.add_argument("--output", type=Path, help="results to write (.json)")
    text = "also time each case with 2, 4 and 8 times the items, users and clients, and draw that"
    sub.add_argument("--plot", type=Path, metavar="PNG", help=text)
    text = "show two files of results side by side, and time nothing"
    sub.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help=text)
    sub.add_argument("--device", nargs="+", choices=DEVICES, default=["auto"])
    sub.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return top


def _add_stage(
    stages: Any, name: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    text = cleandoc(str(run.__doc__))
    sub: argparse.ArgumentParser = stages.add_parser(
        name, help=text.partition("\n")[0], description=text, formatter_class=_Help
    )
    sub.set_defaults(run=run)
    return sub


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the paragraphs of the description."""


def _add_config(sub: argparse.ArgumentParser) -> None:
    text = "config files; a later one overrides keys of an earlier (default: config/paper.yaml)"
    default = [Path("config/paper.yaml")]
    sub.add_argument("--config", type=Path, nargs="+", default=default, help=text)


def _add_known(sub: argparse.ArgumentParser) -> None:
    """What a file's user knows about it."""
    sub.add_argument("file", type=Path, metavar="FILE", help="text, .gz, .zip or Parquet")
    sub.add_argument("--separator", type=_unescaped, help=r"between fields, such as , or \t or ::")
    flag = argparse.BooleanOptionalAction
    sub.add_argument("--header", action=flag, help="the first line holds names, or does not")
    for what in ("user", "item", "time", "rating"):
        text = f"column of the {what}: its name, or its number from 0"
        sub.add_argument(f"--{what}", type=_column, metavar="COLUMN", help=text)
    sub.add_argument("--min-rating", type=float, help="leave lower ratings out (with --rating)")
    sub.add_argument("--time-format", choices=get_args(TimeFormat))
    text = "of times that name none, such as Europe/Berlin (default: UTC)"
    sub.add_argument("--time-zone", default="UTC", metavar="ZONE", help=text)
    sub.add_argument("--member", help="the file within a .zip archive")
    sub.add_argument("--item-lists", action="store_true", help="a user and its items on each line")


def _column(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _unescaped(text: str) -> str:
    return text.replace("\\t", "\t")


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",") if seed]


def _add_machine(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--device", choices=DEVICES, default="auto")
    sub.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


def _add_block(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("block", metavar="JSON", help="the table's or figure's entry in the config")
    sub.add_argument("--note", default="", help="stands on the table or figure")


def _add_records(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--records", type=Path, nargs="+", required=True, help=".json or .jsonl.gz")
    sub.add_argument("--report", choices=["best_val", "last"], default="best_val")


def _add_cells(sub: argparse.ArgumentParser) -> None:
    text = "what to show, in this order, such as ml-1m/MF/Fang/Krum/m0.01/seed0.json (default: all)"
    sub.add_argument("--cells", nargs="+", default=[], help=text)


def _add_counts(sub: argparse.ArgumentParser) -> None:
    text = "counts.json of each dataset, in a folder of its name"
    sub.add_argument("--counts", type=Path, nargs="*", default=[], help=text)


def _add_table(sub: argparse.ArgumentParser) -> None:
    text = "CSV; Markdown, LaTeX and HTML go beside it"
    sub.add_argument("--output", type=Path, required=True, help=text)
    if not any(action.dest == "note" for action in sub._actions):
        sub.add_argument("--note", default="", help="stands below the table")


def _json(text: str) -> Any:
    """JSON given on the command line, or the file that holds it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error}; quote it, as in '{{...}}'") from None


def _check_sums(sources: Iterable[RawFile], paths: Iterable[Path]) -> None:
    """Refuse files that are missing or others than meant."""
    for source, path in zip(sources, paths, strict=True):
        if isinstance(source, Source):
            check_sum(source, path)
        else:
            source.check()


def _summary(path: Path) -> str:
    try:
        return read_with_sum(path)
    except ValueError as error:
        raise RecordError(f"{path}: {error}: delete it and run `summary` again") from None


def _dataset(text: str) -> "Dataset":
    from fedrec.config import Dataset, known_keys

    return _valid(Dataset, text, known_keys)


def _block(args: argparse.Namespace) -> Block:
    return _valid(Block, args.block)


def _valid(section: type[T], text: str, known: Callable[[Place], Iterable[str]] | None = None) -> T:
    """A section of the config, given as JSON on the command line."""
    _json(text)
    try:
        return section.model_validate_json(text)
    except pydantic.ValidationError as error:
        raise ConfigError(
            explain(error, [], known or (lambda place: section.model_fields))
        ) from None


def _records_of(args: argparse.Namespace) -> list[Record]:
    """The records of the cells that are to be shown, in their order.

    Raises:
        RecordError: there is none.
    """
    order = {path: i for i, path in enumerate(args.cells)}
    records = read_records(args.records)
    if not order:
        return records
    records = [record for record in records if cell_path(record.cell) in order]
    if not records:
        raise RecordError(f"{args.records[0]} and others: no record of the cells to show")
    return sorted(records, key=lambda record: order[cell_path(record.cell)])


if __name__ == "__main__":
    sys.exit(main())
