"""`fedrec`: one thin subcommand for each stage of the study.

The workflow calls these; each one can be run by hand too. Modules that only one stage needs are
imported there, because every job pays for what is imported here.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from fedrec import __version__
from fedrec.config import Block, CellConfig, Dataset, Study
from fedrec.config_errors import ConfigError
from fedrec.data.errors import DataError
from fedrec.data.interactions import Counts, Interactions, check_counts
from fedrec.data.split import Split, leave_one_out
from fedrec.files import write_text
from fedrec.records import RecordError, pack, read_record, read_records, write_record


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; a mistake of the user's gives one message and exit code 1."""
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except (ConfigError, DataError, RecordError, RuntimeError, OSError) as error:
        print(f"fedrec {args.command}: {error}", file=sys.stderr)
        return 1
    return 0


def download(args: argparse.Namespace) -> None:
    """Bring a dataset's raw file, from FEDREC_MIRROR if that is set, else from the web."""
    from fedrec.data.sources import fetch

    source = _dataset(args.dataset).source
    if source is None:
        raise ConfigError("this dataset has no `source`: there is nothing to download")
    fetch(source, args.output, os.environ.get("FEDREC_MIRROR"))


def interactions(args: argparse.Namespace) -> None:
    """Read a raw file, or generate synthetic interactions."""
    dataset = _dataset(args.dataset)
    if dataset.synthetic:
        dataset.synthetic.generate().save(args.output)
    elif dataset.format and args.raw:
        dataset.format.read(args.raw[0]).save(args.output)
    else:
        raise ConfigError("this dataset is read from a download: give it as --raw FILE")


def filter_(args: argparse.Namespace) -> None:
    """Apply a dataset's filter, check its counts, and write both."""
    dataset = _dataset(args.dataset)
    chosen = dataset.k_core or dataset.id_lists
    kept = Interactions.load(args.input)
    kept = chosen.apply(kept) if chosen else kept
    if dataset.expect:
        check_counts(kept.counts, dataset.expect, str(args.input))
    kept.save(args.output)
    write_text(args.counts, json.dumps(vars(kept.counts)) + "\n")


def split(args: argparse.Namespace) -> None:
    """Leave each user's last interaction out for testing, and the one before for validation."""
    leave_one_out(Interactions.load(args.input)).save(args.output)


def cell(args: argparse.Namespace) -> None:
    """Print the settings of one cell, every field written out: what `train` takes."""
    from fedrec.records import cell_path

    study = Study.load(*args.config)
    cells = {cell_path(c): c for block in study.blocks().values() for c in study.cells(block)}
    if args.name not in cells:
        raise ConfigError(f"no cell {args.name!r}; the study has\n  " + "\n  ".join(cells))
    print(study.cell_config(cells[args.name]).to_json())


def train(args: argparse.Namespace) -> None:
    """Simulate one cell, round after round, and write its record."""
    import torch

    from fedrec.run import choose_device, run_cell

    torch.set_num_threads(args.threads)
    config = CellConfig.parse(_json(args.cell))
    write_record(run_cell(config, Split.load(args.split), choose_device(args.device)), args.output)


def summary(args: argparse.Namespace) -> None:
    """Aggregate the records of one table or figure over seeds."""
    from fedrec.analysis.summary import METRICS, summarise

    frame = summarise(read_records(args.records), METRICS, args.report)
    write_text(args.output, frame.to_csv(index=False))


def pack_(args: argparse.Namespace) -> None:
    """Put many records into one compact file, to be kept."""
    pack([read_record(path) for path in args.records], args.output)


def outputs(args: argparse.Namespace) -> None:
    """List the tables, figures and summaries that a study has made."""
    results = Path(Study.load(*args.config).results)
    for folder in ("tables", "figures", "summary"):
        for path in sorted((results / folder).glob("*")):
            print(path)


def schema(args: argparse.Namespace) -> None:
    """Print the JSON schema of a config file."""
    print(json.dumps(Study.model_json_schema(), indent=2))


def check(args: argparse.Namespace) -> None:
    """Check config files and say how many cells they ask for."""
    study = Study.load(*args.config)
    cells = {c for block in study.blocks().values() for c in study.cells(block)}
    print(f"{', '.join(map(str, args.config))}: {len(cells)} training jobs")
