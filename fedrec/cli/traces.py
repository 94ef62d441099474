"""The `traces` subcommand: the labelled uploads of chosen rounds, for research on detectors."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from fedrec.cli.arguments import add_config, add_machine, stage_of
from fedrec.cli.running import add_cell, cell_of
from fedrec.errors import ConfigError


def add_to(stages: Any) -> None:
    """Add the subcommand to the parser."""
    sub = stage_of(stages)("traces", traces)
    add_cell(sub)
    text = "rounds whose uploads to keep, such as 1,2,10-20"
    sub.add_argument("--rounds", required=True, metavar="ROUNDS", help=text)
    sub.add_argument("--output", type=Path, required=True, help="file to write (.npz)")
    text = "largest size of the file; a larger trace is an error (default: %(default)g)"
    sub.add_argument("--at-most", type=float, default=500.0, metavar="MB", help=text)
    add_config(sub)
    add_machine(sub)


def traces(args: argparse.Namespace) -> None:
    """Play a cell and write the labelled uploads of some rounds: data for detectors.

    The run ends after the last of these rounds and makes no record. The uploads are those of the
    cell's own run. docs/traces.md lists the arrays of the file. For example:

      fedrec traces ml-1m/MF/ClusterAttack --rounds 1-20 --output uploads.npz
      fedrec traces synthetic/MF/Fang/UNION --rounds 1,2,10-20 --output uploads.npz \\
        --config config/demo.yaml
    """
    from fedrec.cli.workflow import split_of
    from fedrec.config.study import Study
    from fedrec.data.split import Split
    from fedrec.kernels.threads import prepare
    from fedrec.training.run import choose_device
    from fedrec.training.tracing import traced

    study, rounds = Study.load(*args.config), rounds_of(args.rounds)
    cell = cell_of(study, args)
    split = Split.load(split_of(study, cell.dataset, args.config))
    prepare(args.threads)
    device, shown = choose_device(args.device), sys.stderr.isatty()
    trace = traced(study.cell_config(cell), split, device, rounds, args.at_most, shown)
    trace.save(args.output)
    size = args.output.stat().st_size / 1e6
    print(
        f"{args.output}: {len(trace):,} uploads of {len(trace.rounds):,} rounds, "
        f"{trace.malicious.sum():,} malicious, {size:,.1f} MB"
    )


def rounds_of(text: str) -> list[int]:
    """Return the rounds named by a text such as `1,2,10-20`.

    Raises:
        ConfigError: the text cannot be read.
    """
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not ends:
            raise ConfigError(f"--rounds {text}: write it as in 1,2,10-20")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return found
