"""The `new` subcommand: write the config of a new study, which extends an existing one."""

import argparse
import os
import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import stage_of
from fedrec.cli.data import add_known, known_of
from fedrec.errors import ConfigError
from fedrec.files import NAME, write_text
from fedrec.plan.cells import BASELINE, PLAIN

if TYPE_CHECKING:  # importing it takes PyTorch
    from fedrec.config.study import Study

CONFIG = Path("config")


def add_to(stages: Any) -> None:
    """Add the subcommand to the parser."""
    sub = stage_of(stages)("new", new)
    sub.add_argument(
        "study", metavar="STUDY", help="its name, as in config/STUDY.yaml and results/STUDY"
    )
    data = sub.add_mutually_exclusive_group(required=True)
    text = "file of interactions, in any format that `fedrec data inspect` can read"
    data.add_argument("--data", type=Path, metavar="FILE", help=text)
    data.add_argument("--dataset", metavar="NAME", help="a dataset of the extended study")
    for name, default in (
        ("attacks", [BASELINE, "ClusterAttack"]),
        ("defenses", [PLAIN, "MultiKrum+UNION"]),
        ("models", ["MF"]),
    ):
        text = f"names in the extended study, or their variants (default: {' '.join(default)})"
        sub.add_argument(f"--{name}", nargs="+", default=default, metavar="NAME", help=text)
    text = "shares of malicious users (default: 0.01)"
    sub.add_argument("--ratios", nargs="+", type=float, default=[0.01], metavar="SHARE", help=text)
    sub.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="number of seeds (default: 3)"
    )
    sub.add_argument("--rounds", type=int, help="training rounds (default: as in that study)")
    text = "the config to extend (default: config/paper.yaml)"
    sub.add_argument(
        "--extends", type=Path, default=CONFIG / "paper.yaml", metavar="FILE", help=text
    )
    add_known(sub.add_argument_group("how to read the file, if its first lines do not show it"))


def new(args: argparse.Namespace) -> None:
    """Write the config of a new study, and print the command that runs it.

    The config extends another one by about ten lines: the dataset, one table and one figure. The
    attacks, defences and models come from the other config. For example:

      fedrec new plays --data plays.csv --ratios 0.01 0.05
      fedrec new mild --dataset ml-1m --attacks NoAttack LIE@z=1.5 --defenses FedAvg Krum --seeds 5
    """
    from fedrec.cli.workflow import command
    from fedrec.config.study import Study

    if not re.fullmatch(NAME, args.study) or args.seeds < 1:
        raise ConfigError(f"{args.study!r}, {args.seeds} seeds: give a plain name, and a seed")
    path = CONFIG / f"{args.study}.yaml"
    if path.exists():
        raise ConfigError(f"{path}: already exists: choose another name, or delete it")
    write_text(path, "\n".join(_lines(args, path)) + "\n")
    try:
        jobs = _jobs(Study.load(path))
    except ConfigError:
        path.unlink()
        raise
    print(f"{path}: {jobs} training jobs. To run them, and to make the table and the figure:")
    print(f"  {command([], [path])}")


def _jobs(study: "Study") -> int:
    return len({cell for block in study.blocks().values() for cell in study.cells(block)})


def _lines(args: argparse.Namespace, path: Path) -> Iterator[str]:
    """Yield the config, one line for each key."""
    name, entry = _dataset(args)
    yield "# Written by `fedrec new`; config/README.md explains each key."
    yield f"extends: {Path(os.path.relpath(args.extends, path.parent)).as_posix()}"
    yield "replace: [tables, figures]"
    yield f"results: results/{args.study}"
    yield "claims: null"
    yield f"seeds: {list(range(args.seeds))}"
    if args.rounds:
        rounds = {"rounds": args.rounds, "evaluate_every": max(1, args.rounds // 20)}
        yield f"protocol: {_flow(rounds)}"
    if entry:
        yield f"datasets: {_flow({name: entry})}"
    shown = {"datasets": [name], "models": args.models, "attacks": args.attacks}
    shown |= {"defenses": args.defenses, "ratios": args.ratios}
    table = {"title": f"Attacks and defences on {name}.", "kind": "attacks"}
    yield f"tables: {_flow({'attacks': table | shown})}"
    figure = {"title": f"Training on {name}.", "kind": "training_curves"}
    yield f"figures: {_flow({'training-curves': figure | shown})}"


def _flow(values: Any) -> str:
    """Return a value as one line of YAML."""
    import yaml

    text = yaml.safe_dump(
        values, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    return text.removesuffix("\n...\n").strip()


def _dataset(args: argparse.Namespace) -> tuple[str, Any]:
    """Return the dataset's name, and its entry in the config if the dataset is new."""
    if args.dataset:
        return args.dataset, None
    from fedrec.data.inspection import entry_of

    name, entry = entry_of(args.data, known_of(args))
    _check_ratios(args, entry)
    return name, entry


def _check_ratios(args: argparse.Namespace, entry: Any) -> None:
    """Raise an error if a ratio of malicious users is so small that it rounds to no user."""
    from fedrec.data.own_file import parsed_entry, split_of

    users = split_of(parsed_entry(entry)).n_users
    nobody = [ratio for ratio in args.ratios if round(ratio * users) < 1]
    if nobody:
        raise ConfigError(
            f"--ratios {nobody[0]}: none of the {users:,} users would be malicious; "
            f"give {ceil(1000 / users) / 1000:g} or more"
        )
