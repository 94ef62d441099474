"""`fedrec`: one thin subcommand for each stage of the study.

The workflow calls these; each one can be run by hand too. Modules that only one stage needs are
imported there, because every job pays for what is imported here.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from fedrec import __version__
from fedrec.config import Block, CellConfig, Dataset, Section, Study, known_keys
from fedrec.config_errors import ConfigError, explain
from fedrec.data.delimited import Delimited
from fedrec.data.errors import DataError
from fedrec.data.interactions import Counts, Interactions, check_counts
from fedrec.data.sources import Source, check_sum
from fedrec.data.split import Split, leave_one_out
from fedrec.files import read_with_sum, sealed, unsealed, write_text, write_with_sum
from fedrec.interruption import TRY_AGAIN, Interrupted, Interruption
from fedrec.records import (
    Record,
    RecordError,
    add_to_pack,
    cell_path,
    read_records,
    write_record,
)

T = TypeVar("T", bound=Section)


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; whatever stops it gives one message and an exit code.

    1: a mistake of the user's, or something that the machine lacks; 75: interrupted, and the same
    command goes on where this one ended.
    """
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except Interrupted as error:
        return _stopped(args.command, str(error), TRY_AGAIN)
    except (ConfigError, DataError, RecordError, RuntimeError, OSError, MemoryError) as error:
        return _stopped(args.command, _explained(error), 1)
    return 0


def download(args: argparse.Namespace) -> None:
    """Bring a dataset's raw file, from FEDREC_MIRROR if that is set, else from the web."""
    from fedrec.data.sources import fetch

    dataset = _dataset(args.dataset)
    sources = {source.name: source for source in (*dataset.raw, *dataset.lists)}
    if args.output.name not in sources:
        raise ConfigError(
            f"this dataset has no file {args.output.name!r}; its files: "
            + (", ".join(sources) or "none, there is nothing to download")
        )
    fetch(sources[args.output.name], args.output, os.environ.get("FEDREC_MIRROR") or None)


def interactions(args: argparse.Namespace) -> None:
    """Read raw files, or generate synthetic interactions."""
    dataset = _dataset(args.dataset)
    if dataset.synthetic:
        dataset.synthetic.generate().save(args.output)
        return
    if len(args.raw or ()) != len(dataset.raw):
        names = " ".join(source.name for source in dataset.raw)
        raise ConfigError(f"this dataset is read from downloads: give them as --raw {names}")
    _check_sums(dataset.raw, args.raw)
    reader = dataset.format or dataset.item_lists
    assert reader  # of a download
    found = reader.read(args.raw[0]) if isinstance(reader, Delimited) else reader.read(args.raw)
    found.save(args.output)


def filter_(args: argparse.Namespace) -> None:
    """Apply a dataset's filter, check its counts, and write both."""
    dataset = _dataset(args.dataset)
    before = Interactions.load(args.input)
    kept = dataset.k_core.apply(before) if dataset.k_core else before
    if dataset.id_lists:
        if len(args.lists or ()) != 2:
            names = " ".join(source.name for source in dataset.lists)
            raise ConfigError(f"this dataset is filtered by lists: give them as --lists {names}")
        _check_sums(dataset.lists, args.lists)
        kept = dataset.id_lists.apply(before, *args.lists)
    if dataset.expect:
        check_counts(kept.counts, dataset.expect, str(args.input))
    kept.save(args.output)
    write_text(args.counts, json.dumps(sealed(vars(kept.counts))) + "\n")
    print(f"kept {kept.counts} of {before.counts}", file=sys.stderr)


def split(args: argparse.Namespace) -> None:
    """Leave each user's last interaction out for testing, and the one before for validation."""
    leave_one_out(Interactions.load(args.input)).save(args.output)


def cell(args: argparse.Namespace) -> None:
    """Print the settings of one cell, every field written out: what `train` takes."""
    study = Study.load(*args.config)
    cells = {cell_path(c): c for block in study.blocks().values() for c in study.cells(block)}
    if args.name not in cells:
        raise ConfigError(f"no cell {args.name!r}; the study has\n  " + "\n  ".join(cells))
    print(study.cell_config(cells[args.name]).to_json())


def train(args: argparse.Namespace) -> None:
    """Simulate one cell, round after round, and write its record.

    A run that was ended, by SIGTERM, SIGINT or otherwise, goes on from `<output>.checkpoint`.
    """
    from fedrec.keeper import Keeper
    from fedrec.process import prepare
    from fedrec.run import choose_device, run_cell

    prepare(args.threads)
    with Interruption() as interruption:
        config, split = CellConfig.parse(_json(args.cell)), Split.load(args.split)
        keeper = Keeper(args.output, lambda: interruption.requested, args.save_every)
        record = run_cell(config, split, choose_device(args.device), keeper)
        write_record(record, args.output)
        keeper.forget()
    if record.diverged_at is not None:
        print(f"diverged in round {record.diverged_at}, and is recorded so", file=sys.stderr)


def summary(args: argparse.Namespace) -> None:
    """Aggregate the records of one table or figure over seeds."""
    from fedrec.analysis.summary import summarise

    frame = summarise(_records_of(args), args.report)
    write_with_sum(args.output, frame.to_csv(index=False))


def table(args: argparse.Namespace) -> None:
    """Make a table of attacks from a summary, as CSV, Markdown and LaTeX."""
    import pandas as pd

    from fedrec.analysis.tables import attack_table, formatted, write_table

    paper = pd.read_csv(args.paper)
    paper = paper[paper.table == args.output.stem]
    values = attack_table(pd.read_csv(StringIO(_summary(args.summary))), paper)
    write_table(values, formatted(values), _block(args).title, args.output)


def dataset_table(args: argparse.Namespace) -> None:
    """Make the table of datasets from their counts, as CSV, Markdown and LaTeX."""
    import pandas as pd

    from fedrec.analysis import tables

    block, paper = _block(args), pd.read_csv(args.paper)
    paper = paper[paper.table == args.output.stem]
    counts = {n: _counts(p) for n, p in zip(block.datasets, args.counts, strict=True)}
    values = tables.dataset_table(counts, paper)
    tables.write_table(values, tables.formatted_datasets(values), block.title, args.output)


def figure(args: argparse.Namespace) -> None:
    """Draw a figure from records, as PDF and PNG."""
    from fedrec.analysis.figures import attack_grid, save_figure, training_curves

    block = _block(args)
    drawings: dict[str, Callable[..., Any]] = {
        "training_curves": training_curves,
        "attack_grid": partial(attack_grid, attacks=block.attacks, defenses=block.defenses),
    }
    if block.kind not in drawings:
        raise ConfigError(f"a figure has no kind {block.kind!r}, only {', '.join(drawings)}")
    save_figure(drawings[block.kind](_records_of(args), block.title, args.report), args.output)


def publish(args: argparse.Namespace) -> None:
    """Keep records and dataset counts in few small files; older ones stay or are replaced."""
    add_to_pack(read_records(args.records), args.folder / "records.jsonl.gz")
    for path in args.counts or ():
        write_text(args.folder / "data" / path.parent.name / path.name, path.read_text())


def outputs(args: argparse.Namespace) -> None:
    """List the tables, figures and summaries that a study has made."""
    results = Path(Study.load(*args.config).results)
    for folder in ("tables", "figures", "summary"):
        for path in sorted((results / folder).glob("*")):
            if path.suffix not in (".sha256", ".tmp"):
                print(path)


def schema(args: argparse.Namespace) -> None:
    """Print the JSON schema of a config file."""
    print(json.dumps(Study.model_json_schema(), indent=2))


def check(args: argparse.Namespace) -> None:
    """Check config files and say how many cells they ask for."""
    study = Study.load(*args.config)
    cells = {c for block in study.blocks().values() for c in study.cells(block)}
    print(f"{', '.join(map(str, args.config))}: {len(cells)} training jobs")


def bench(args: argparse.Namespace) -> None:
    """Time a round and its parts, on made-up data of a dataset's size."""
    from fedrec.bench import SIZES, bench, bench_cell, bench_split
    from fedrec.process import prepare
    from fedrec.run import choose_device

    device, size = choose_device(args.device), SIZES[args.size]
    if args.grid:
        return _bench_grid(args, device)
    prepare(args.threads)
    config = bench_cell(args.attack, args.defense, args.model)
    timing = bench(config, bench_split(size), device, args.rounds)
    cell = f"{args.model}, {args.size}, {args.attack}, {args.defense}"
    print(f"{cell} on {device}, {args.threads} threads")
    for part, milliseconds in timing.milliseconds.items():
        print(f"{part:30s}{milliseconds:9.2f} ms")
    print(f"{'peak memory':30s}{timing.peak_memory_mb:9.0f} MiB")


def _bench_grid(args: argparse.Namespace, device: str) -> None:
    from fedrec.bench import SIZES, bench_grid

    defenses, size = list(Study.load("config/paper.yaml").defenses), SIZES[args.size]
    print(f"{args.model}, {args.size} on {device}, {args.threads} threads;", end=" ")
    print("x: times FedAvg without attack")
    print(f"{'defense':18s}{'attack':16s}{'ms a round':>12s}{'x':>8s}{'peak MiB':>10s}")
    plain = None
    for cell in bench_grid(args.model, defenses, size, device, args.threads, args.rounds):
        plain = plain or cell.milliseconds
        ratio = cell.milliseconds / plain
        print(
            f"{cell.defense:18s}{cell.attack:16s}{cell.milliseconds:12.2f}{ratio:8.2f}"
            f"{cell.peak_memory_mb:10.0f}",
            flush=True,
        )


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

    def stage(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        text = str(run.__doc__)
        sub = stages.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    for name, run in (("download", download), ("interactions", interactions), ("filter", filter_)):
        sub = stage(name, run)
        sub.add_argument("dataset", metavar="JSON", help="the dataset's entry in the config")
        sub.add_argument("--output", type=Path, required=True, help="file to write")
        if name == "interactions":
            sub.add_argument("--raw", type=Path, nargs="*", help="downloaded files, in order")
        if name == "filter":
            sub.add_argument("--input", type=Path, required=True, help="interactions (.npz)")
            sub.add_argument("--counts", type=Path, required=True, help="counts to write (.json)")
            sub.add_argument("--lists", type=Path, nargs="*", help="lists of users and items")

    sub = stage("split", split)
    sub.add_argument("--input", type=Path, required=True, help="filtered interactions (.npz)")
    sub.add_argument("--output", type=Path, required=True, help="split to write (.npz)")

    sub = stage("cell", cell)
    sub.add_argument("name", help="such as ml-1m/MF/ClusterAttack/FedAvg/m0.01/seed0.json")
    _add_config(sub)

    sub = stage("train", train)
    sub.add_argument("cell", metavar="JSON", help="settings of the cell, from `fedrec cell`")
    sub.add_argument("--split", type=Path, required=True, help="split of the dataset (.npz)")
    sub.add_argument("--output", type=Path, required=True, help="record to write (.json)")
    text = "seconds between checkpoints (default: %(default)g); changes no result"
    sub.add_argument("--save-every", type=float, default=120.0, metavar="S", help=text)
    _add_machine(sub)

    sub = stage("summary", summary)
    _add_records(sub)
    sub.add_argument("--output", type=Path, required=True, help="summary to write (.csv)")

    sub = stage("figure", figure)
    _add_records(sub)
    sub.add_argument(
        "--output", type=Path, required=True, help="PDF to write; a PNG goes beside it"
    )

    for name, run, given in (
        ("table", table, "summary"),
        ("dataset-table", dataset_table, "counts"),
    ):
        sub = stage(name, run)
        sub.add_argument("block", metavar="JSON", help="the table's entry in the config")
        sub.add_argument(
            f"--{given}", type=Path, required=True, nargs=None if given == "summary" else "+",
            help="summary (.csv)" if given == "summary" else "counts of each dataset (.json)",
        )  # fmt: skip
        sub.add_argument("--paper", type=Path, required=True, help="the paper's values (.csv)")
        sub.add_argument("--output", type=Path, required=True, help="CSV to write")

    sub = stage("publish", publish)
    sub.add_argument("records", type=Path, nargs="+", help="records of single runs")
    sub.add_argument("--counts", type=Path, nargs="+", help="counts.json of each dataset")
    sub.add_argument("--folder", type=Path, required=True, help="folder to keep them in")

    for name, run in (("check", check), ("outputs", outputs)):
        _add_config(stage(name, run))
    stage("schema", schema)

    sub = stage("bench", bench)
    sub.add_argument("--grid", action="store_true", help="every defence with and without attack")
    sub.add_argument("--model", default="MF", help="name in config/paper.yaml (default: MF)")
    sub.add_argument("--attack", default="NoAttack", help="name in config/paper.yaml")
    sub.add_argument("--defense", default="FedAvg", help="name in config/paper.yaml")
    sub.add_argument("--size", choices=["ml-1m", "gowalla"], default="ml-1m")
    sub.add_argument("--rounds", type=int, default=200, help="rounds to time (default: 200)")
    _add_machine(sub)
    return top


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the paragraphs of the description."""


def _add_config(sub: argparse.ArgumentParser) -> None:
    text = "config files; a later one overrides keys of an earlier (default: config/paper.yaml)"
    default = [Path("config/paper.yaml")]
    sub.add_argument("--config", type=Path, nargs="+", default=default, help=text)


def _add_machine(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    sub.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


def _add_records(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("block", metavar="JSON", help="the table's or figure's entry in the config")
    sub.add_argument("--records", type=Path, nargs="+", required=True, help=".json or .jsonl.gz")
    sub.add_argument("--report", choices=["best_val", "last"], default="best_val")


def _json(text: str) -> Any:
    """JSON given on the command line, or the file that holds it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error}; quote it, as in '{{...}}'") from None


def _check_sums(sources: Sequence[Source], paths: Sequence[Path]) -> None:
    for source, path in zip(sources, paths, strict=True):
        check_sum(source, path)


def _counts(path: Path) -> dict[str, int]:
    """What `filter` counted."""
    try:
        return vars(Counts(**unsealed(path.read_bytes())))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}: delete it and filter the dataset again") from None


def _summary(path: Path) -> str:
    try:
        return read_with_sum(path)
    except ValueError as error:
        raise RecordError(f"{path}: {error}: delete it and run `summary` again") from None


def _dataset(text: str) -> Dataset:
    return _valid(Dataset, text)


def _block(args: argparse.Namespace) -> Block:
    return _valid(Block, args.block)


def _valid(section: type[T], text: str) -> T:
    """A section of the config, given as JSON on the command line."""
    _json(text)
    try:
        return section.model_validate_json(text)
    except pydantic.ValidationError as error:
        raise ConfigError(explain(error, [], known_keys)) from None


def _records_of(args: argparse.Namespace) -> list[Record]:
    """The records that belong to a table or figure, in the order in which it lists its cells."""
    block = _block(args)
    shown = [record for record in read_records(args.records) if block.shows(record.cell)]
    if not shown:
        raise RecordError(f"none of the records given belongs to {block.title!r}: run its cells")
    return sorted(shown, key=lambda record: block.order(record.cell))


if __name__ == "__main__":
    sys.exit(main())
