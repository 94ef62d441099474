"""Subcommands that train cells, verify records and check configs."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fedrec.cli.arguments import add_config, add_machine, json_of, stage_of
from fedrec.cli.kept import Kept
from fedrec.cli.running import add_cell, cell_of
from fedrec.data.sources import LocalFile
from fedrec.data.split import Split
from fedrec.errors import ConfigError, Diverged, RecordError
from fedrec.plan.cells import Cell, cell_path
from fedrec.plan.metrics import Item
from fedrec.records import Record, read_record, read_records, write_record
from fedrec.training.in_turn import Steps, finished, in_turn
from fedrec.training.interruption import Interruption
from fedrec.training.several_seeds import Job, Simulate, make_with
from fedrec.training.verification import first_difference, some_of
from fedrec.yaml_files import nearest_name


def add_to(stages: Any) -> None:
    """Add the subcommands to the parser."""
    stage = stage_of(stages)
    _add_training(stage("train", train))

    sub = stage("cell", cell)
    add_cell(sub)
    add_config(sub)

    sub = stage("missing", missing)
    sub.add_argument("blocks", metavar="NAME", nargs="*", help="tables and figures (default: all)")
    text = "records that already exist (default: those published in the study's folder)"
    sub.add_argument("--records", type=Path, help=text)
    for name in ("dataset", "model", "defense"):
        sub.add_argument(f"--{name}", nargs="+", help="only these and their variants")
    add_config(sub)

    sub = stage("verify", verify)
    text = "records to choose from (default: %(default)s)"
    default = Path("results/published/records.jsonl.gz")
    sub.add_argument("--records", type=Path, default=default, help=text)
    text = "folder with the datasets' splits (default: %(default)s)"
    sub.add_argument("--data", type=Path, default=Path("results/data"), help=text)
    sub.add_argument("--count", type=int, default=3, help="number of records (default: 3)")
    sub.add_argument("--seed", type=int, default=0, help="seed of the choice (default: 0)")
    sub.add_argument("--cells", nargs="+", help="verify the records of these cells instead")
    add_machine(sub)

    add_config(stage("check", check))
    stage("schema", schema)


def _add_training(sub: argparse.ArgumentParser) -> None:
    text = "settings of one or more cells, from `fedrec cell`"
    sub.add_argument("cell", metavar="JSON", nargs="+", help=text)
    sub.add_argument("--split", type=Path, required=True, help="split of the dataset (.npz)")
    text = "file to write the record to (.json), one for each cell"
    sub.add_argument("--output", type=Path, nargs="+", required=True, help=text)
    text = "other seeds of the cell, such as 1,2; their records go beside this one, as seed1.json"
    sub.add_argument("--siblings", type=_seeds, default=[], metavar="SEEDS", help=text)
    text = "1: also train siblings that no other process trains, ahead of their own commands"
    sub.add_argument("--together", type=int, choices=[0, 1], default=0, help=text)
    text = "exit with 0, not 3, if training diverges: an attack may have caused it on purpose"
    sub.add_argument("--accept-divergence", action="store_true", help=text)
    text = "seconds between checkpoints (default: %(default)g); does not change results"
    sub.add_argument("--save-every", type=float, default=120.0, metavar="S", help=text)
    add_machine(sub)


def cell(args: argparse.Namespace) -> None:
    """Print the settings of one cell, with every field: the input of `train`.

    For example:

      fedrec cell ml-1m/MF/ClusterAttack/FedAvg/m0.01/seed0.json
      fedrec cell ml-1m/MF/ClusterAttack --set clusters=4
    """
    from fedrec.config.study import Study

    study = Study.load(*args.config)
    print(study.cell_config(cell_of(study, args)).to_json())


def train(args: argparse.Namespace) -> None:
    """Train cells in one process, and write each record when its cell is finished.

    On the CPU the cells run one after another; on a GPU their rounds alternate.

    A run that was stopped, by SIGTERM, SIGINT or otherwise, resumes from `<output>.checkpoint`.
    """
    if len(args.cell) != len(args.output):
        raise ConfigError(f"{len(args.cell)} cells need as many outputs, not {len(args.output)}")
    cells, split = [json_of(cell) for cell in args.cell], Split.load(args.split)
    with Interruption() as interruption:

        def stop() -> bool:
            return interruption.requested

        def make(job: Job, path: Path) -> Steps[None]:
            return simulating(job, path, split, args, stop)

        given = zip(cells, args.output, strict=True)
        jobs = [Job(cell, split.checksum, output, args.device) for cell, output in given]
        if args.together:
            for job in jobs:
                make_with(job, [job.with_seed(seed) for seed in args.siblings], make, stop)
        else:
            _make_all(jobs, make, args.device)
    _tell_of_divergence(args.output, args.accept_divergence)


def _make_all(jobs: Iterable[Job], make: Simulate, device: str) -> None:
    from fedrec.training.run import choose_device

    if choose_device(device) == "cpu":
        for job in jobs:
            finished(make(job, job.record))
    else:
        in_turn(make(job, job.record) for job in jobs)


def _tell_of_divergence(outputs: Iterable[Path], accept: bool) -> None:
    """Report the records of runs that diverged.

    Raises:
        Diverged: a run diverged, and `accept` is false.
    """
    rounds = {path: read_record(path).diverged_at for path in outputs}
    found = [f"{path}: diverged in round {at}" for path, at in rounds.items() if at is not None]
    if found and not accept:
        raise Diverged("; ".join(found) + " (the record says so; a retry would end the same way)")
    for line in found:
        print(line, file=sys.stderr)


def simulate(
    job: Job,
    path: Path,
    split: Split,
    args: argparse.Namespace,
    stop: Callable[[], bool],
    shown: Item = "test",
) -> None:
    """Train one cell, from its checkpoint if there is one, and write its record to `path`.

    The progress bar has the test or the validation HR@5, whichever is `shown`.
    """
    finished(simulating(job, path, split, args, stop, shown))


def simulating(
    job: Job,
    path: Path,
    split: Split,
    args: argparse.Namespace,
    stop: Callable[[], bool],
    shown: Item = "test",
) -> Steps[None]:
    """Do the same as `simulate`, one round at each step."""
    from fedrec.config.cell_config import CellConfig
    from fedrec.kernels.threads import prepare
    from fedrec.training.progress import Progress
    from fedrec.training.resume import Keeper
    from fedrec.training.run import choose_device, running

    prepare(args.threads)
    keeper = Keeper(job.record, stop, args.save_every)
    config, device = CellConfig.parse(job.values), choose_device(args.device)
    record = yield from running(config, split, device, [keeper, Progress(shown)])
    write_record(record, path)
    keeper.forget()


def missing(args: argparse.Namespace) -> None:
    """Print the missing records of tables and figures, seed by seed, as Snakemake targets.

    Example: snakemake --cores all $(fedrec missing table-1 --model MF)
    """
    from fedrec.config.study import Study

    study = Study.load(*args.config)
    blocks = study.blocks()
    for name in args.blocks:
        if name not in blocks:
            raise ConfigError(f"no table or figure {name!r}{nearest_name(name, blocks)}")
    wanted = study.distinct(c for name in args.blocks or blocks for c in study.cells(blocks[name]))
    kept = read_records([args.records]) if args.records else Kept.of(study).published().values()
    there = {record.cell for record in kept}
    for cell in sorted(wanted, key=lambda cell: cell.seed):
        if cell not in there and _asked_for(cell, args):
            print(f"{study.results}/runs/{cell_path(cell)}")


def _asked_for(cell: Cell, args: argparse.Namespace) -> bool:
    """Return whether a cell passes the filters --dataset, --model and --defense."""
    named = {name: getattr(args, name) for name in ("dataset", "model", "defense")}
    return all(
        names is None or getattr(cell, group).partition("@")[0] in names
        for group, names in named.items()
    )


def verify(args: argparse.Namespace) -> None:
    """Train the cells of some records again, and check that the records are bit-identical.

    If one differs, the first round and measure that differ are printed, and the command exits
    with 1. Without --cells, it chooses among the records made on the kind of device used here.
    """
    records = read_records([args.records])
    if args.cells:
        chosen = [record for record in records if cell_path(record.cell) in args.cells]
    else:
        chosen = some_of(_made_here(records, args.device), args.count, args.seed)
    if not chosen:
        raise RecordError(f"{args.records}: contains no record of the cells to verify")
    parted = [path for path, same in _verified(chosen, args) if not same]
    if parted:
        raise RecordError(f"{len(parted)} of {len(chosen)} records were not reproduced bit for bit")


def _made_here(records: Iterable[Record], device: str) -> list[Record]:
    """Return the records made on the device used here: other devices give different bits."""
    from fedrec.training.provenance import device_name
    from fedrec.training.run import choose_device

    here = device_name(choose_device(device))
    return [record for record in records if record.provenance.device == here]


def _verified(records: Iterable[Record], args: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """Yield each record's cell and whether a second run gives the same; print the result."""
    from fedrec.config.cell_config import CellConfig
    from fedrec.kernels.threads import prepare
    from fedrec.training.progress import Progress
    from fedrec.training.run import choose_device, run_cell

    prepare(args.threads)
    for record in records:
        split = Split.load(_split_of(record, args.data))
        if split.checksum != record.dataset_checksum:
            raise RecordError(f"{cell_path(record.cell)}: was made from another split of its data")
        config, device = CellConfig.parse(record.config), choose_device(args.device)
        again = run_cell(config, split, device, [Progress()])
        parts, made = first_difference(record, again), record.provenance
        path = cell_path(record.cell)
        print(f"{path}: {'differs ' + parts if parts else 'bit-identical'}", end=" ")
        now = again.provenance.device
        told = made.device if now == made.device else f"{made.device}, now {now}"
        print(f"({made.fedrec} at {made.git}, {told}, {made.processor})", flush=True)
        yield path, parts is None


def _split_of(record: Record, folder: Path) -> Path:
    path = folder / record.cell.dataset / "split.npz"
    if not path.exists():
        raise RecordError(f"{path}: file not found; make it with `snakemake --cores 1 {path}`")
    return path


def check(args: argparse.Namespace) -> None:
    """Check config files and the local data that they name; print the number of cells."""
    from fedrec.config.study import Study
    from fedrec.config.tuning import points

    study = Study.load(*args.config)
    for name in study.tuning:
        points(study, name)
    used = {name for block in study.blocks().values() for name in block.datasets}
    for name, dataset in study.datasets.items():
        for source in (*dataset.raw, *dataset.lists):
            # Few users have all files of a catalogue, such as config/datasets.yaml.
            if isinstance(source, LocalFile) and (name in used or source.page is None):
                source.check()
    cells = {c for block in study.blocks().values() for c in study.cells(block)}
    print(f"{', '.join(map(str, args.config))}: {len(cells)} training jobs")


def schema(args: argparse.Namespace) -> None:
    """Print the JSON schema of a config file."""
    from fedrec.config.study import Study

    print(json.dumps(Study.model_json_schema(), indent=2))


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",") if seed]
