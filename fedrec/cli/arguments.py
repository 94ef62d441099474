"""Arguments that several subcommands share, and how they are parsed."""

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
    """Return a function that adds a subcommand, given its name and what it runs."""
    return partial(add_stage, stages)


def add_stage(stages: Any, name: str, run: Run) -> argparse.ArgumentParser:
    """Add a subcommand that runs a function; the function's docstring is its help."""
    text = cleandoc(str(run.__doc__))
    sub: argparse.ArgumentParser = stages.add_parser(
        name, help=text.partition("\n")[0], description=text, formatter_class=Help
    )
    sub.set_defaults(run=run)
    return sub


class Help(argparse.RawDescriptionHelpFormatter):
    """A help formatter that keeps the paragraphs of the description."""


def add_config(sub: argparse.ArgumentParser) -> None:
    """Add the option for the study's config."""
    text = "config files; later ones override keys of earlier ones (default: config/paper.yaml)"
    default = [Path("config/paper.yaml")]
    sub.add_argument("--config", type=Path, nargs="+", default=default, help=text)


def add_machine(sub: argparse.ArgumentParser) -> None:
    """Add the options for device and threads."""
    sub.add_argument("--device", choices=DEVICES, default="auto")
    sub.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


def add_block(sub: argparse.ArgumentParser) -> None:
    """Add the arguments for a table or figure."""
    sub.add_argument("block", metavar="JSON", help="the table's or figure's entry in the config")
    sub.add_argument("--note", default="", help="note shown on the table or figure")


def add_records(sub: argparse.ArgumentParser) -> None:
    """Add the options for records, and for which of their evaluations counts."""
    sub.add_argument("--records", type=Path, nargs="+", required=True, help=".json or .jsonl.gz")
    sub.add_argument("--report", choices=["best_val", "last"], default="best_val")


def add_cells(sub: argparse.ArgumentParser) -> None:
    """Add the option for the cells whose records are shown."""
    text = "show these, in this order, such as ml-1m/MF/Fang/Krum/m0.01/seed0.json (default: all)"
    sub.add_argument("--cells", nargs="+", default=[], help=text)


def add_counts(sub: argparse.ArgumentParser) -> None:
    """Add the option for the counts of datasets."""
    text = "counts.json of each dataset, in a folder with the dataset's name"
    sub.add_argument("--counts", type=Path, nargs="*", default=[], help=text)


def add_table(sub: argparse.ArgumentParser) -> None:
    """Add the options for a table's file and for the note below it."""
    text = "CSV file to write; Markdown, LaTeX and HTML files go beside it"
    sub.add_argument("--output", type=Path, required=True, help=text)
    if not any(action.dest == "note" for action in sub._actions):
        sub.add_argument("--note", default="", help="note shown below the table")


def json_of(text: str) -> Any:
    """Parse JSON given on the command line.

    Raises:
        ConfigError: the text is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error}; quote it, as in '{{...}}'") from None


def valid(section: type[T], text: str, known: Callable[[Place], Iterable[str]] | None = None) -> T:
    """Parse a section of the config, given as JSON on the command line."""
    return _valid(section.model_validate_json, text, known or (lambda place: section.model_fields))


def figure_of(text: str) -> Figure:
    """Parse a figure's entry in the config, of any kind."""
    return _valid(FIGURE.validate_json, text, lambda place: ())


def _valid(parse: Callable[[str], S], text: str, known: Callable[[Place], Iterable[str]]) -> S:
    json_of(text)
    try:
        return parse(text)
    except pydantic.ValidationError as error:
        raise ConfigError(explain(error, [], known)) from None


def print_lines(lines: Iterable[str]) -> None:
    """Print each line as soon as it is available."""
    for line in lines:
        print(line, flush=True)
