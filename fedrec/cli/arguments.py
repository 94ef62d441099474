"""Arguments that several stages take, and how they are read."""

import argparse
import json
from collections.abc import Callable, Iterable
from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from fedrec.errors import ConfigError
from fedrec.plan.blocks import FIGURE, Figure
from fedrec.settings import Section
from fedrec.yaml_files import Place, explain

T = TypeVar("T", bound=Section)
S = TypeVar("S")
Run = Callable[[argparse.Namespace], None]
AddStage = Callable[[str, Run], argparse.ArgumentParser]
DEVICES = ("auto", "cpu", "cuda")


def stage_of(stages: Any) -> AddStage:
    """What adds a subcommand, by its name and what it runs, to a parser's."""
    return partial(add_stage, stages)


def add_stage(stages: Any, name: str, run: Run) -> argparse.ArgumentParser:
    """Add a subcommand that runs a function, whose docstring is its help."""
    text = cleandoc(str(run.__doc__))
    sub: argparse.ArgumentParser = stages.add_parser(
        name, help=text.partition("\n")[0], description=text, formatter_class=Help
    )
    sub.set_defaults(run=run)
    return sub


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the paragraphs of the description."""


def add_config(sub: argparse.ArgumentParser) -> None:
    """The study's config."""
    text = "config files; a later one overrides keys of an earlier (default: config/paper.yaml)"
    default = [Path("config/paper.yaml")]
    sub.add_argument("--config", type=Path, nargs="+", default=default, help=text)


def add_machine(sub: argparse.ArgumentParser) -> None:
    """What to compute on."""
    sub.add_argument("--device", choices=DEVICES, default="auto")
    sub.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


def add_block(sub: argparse.ArgumentParser) -> None:
    """A table or figure."""
    sub.add_argument("block", metavar="JSON", help="the table's or figure's entry in the config")
    sub.add_argument("--note", default="", help="stands on the table or figure")


def add_records(sub: argparse.ArgumentParser) -> None:
    """Records, and which of their evaluations counts."""
    sub.add_argument("--records", type=Path, nargs="+", required=True, help=".json or .jsonl.gz")
    sub.add_argument("--report", choices=["best_val", "last"], default="best_val")


def add_cells(sub: argparse.ArgumentParser) -> None:
    """Which cells' records to show."""
    text = "what to show, in this order, such as ml-1m/MF/Fang/Krum/m0.01/seed0.json (default: all)"
    sub.add_argument("--cells", nargs="+", default=[], help=text)


def add_counts(sub: argparse.ArgumentParser) -> None:
    """Counts of datasets."""
    text = "counts.json of each dataset, in a folder of its name"
    sub.add_argument("--counts", type=Path, nargs="*", default=[], help=text)


def add_table(sub: argparse.ArgumentParser) -> None:
    """Where a table goes, and what stands below it."""
    text = "CSV; Markdown, LaTeX and HTML go beside it"
    sub.add_argument("--output", type=Path, required=True, help=text)
    if not any(action.dest == "note" for action in sub._actions):
        sub.add_argument("--note", default="", help="stands below the table")


def json_of(text: str) -> Any:
    """JSON given on the command line.

    Raises:
        ConfigError: it is none.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error}; quote it, as in '{{...}}'") from None


def valid(section: type[T], text: str, known: Callable[[Place], Iterable[str]] | None = None) -> T:
    """A section of the config, given as JSON on the command line."""
    return _valid(section.model_validate_json, text, known or (lambda place: section.model_fields))


def figure_of(text: str) -> Figure:
    """A figure's entry in the config, of whatever kind."""
    return _valid(FIGURE.validate_json, text, lambda place: ())


def _valid(parse: Callable[[str], S], text: str, known: Callable[[Place], Iterable[str]]) -> S:
    json_of(text)
    try:
        return parse(text)
    except pydantic.ValidationError as error:
        raise ConfigError(explain(error, [], known)) from None


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they come."""
    for line in lines:
        print(line, flush=True)
