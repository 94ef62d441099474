"""Subcommands that turn raw files into a split."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import add_stage, stage_of, valid
from fedrec.data.dataset import Dataset, known_keys
from fedrec.data.filters import Filtered
from fedrec.data.interactions import Interactions, check_counts
from fedrec.data.sources import RawFile, Source, check_sum, fetch
from fedrec.data.split import Split, leave_one_out
from fedrec.data.statistics import save_statistics
from fedrec.errors import ConfigError

if TYPE_CHECKING:  # importing it takes a while
    from fedrec.data.columns import Known


def add_to(stages: Any) -> None:
    """Add the subcommands to the parser."""
    stage = stage_of(stages)
    _add_output(stage("download", download))

    sub = stage("interactions", interactions)
    _add_output(sub)
    sub.add_argument("--raw", type=Path, nargs="*", help="downloaded files, in order")

    sub = stage("filter", filter_)
    _add_output(sub)
    sub.add_argument("--input", type=Path, required=True, help="interactions (.npz)")
    sub.add_argument("--counts", type=Path, required=True, help="write the counts here (.json)")
    sub.add_argument("--passes", type=Path, help="write what each pass dropped here (.json)")
    sub.add_argument("--lists", type=Path, nargs="*", help="files with lists of users and items")

    sub = stage("split", split)
    sub.add_argument("--input", type=Path, required=True, help="filtered interactions (.npz)")
    sub.add_argument("--output", type=Path, required=True, help="write the split here (.npz)")
    text = "write here for how many users a target repeats an earlier item (.json)"
    sub.add_argument("--repeats", type=Path, help=text)

    sub = stage("groups", groups)
    sub.add_argument("--input", type=Path, required=True, help="split (.npz)")
    sub.add_argument("--output", type=Path, required=True, help="write the groups here (.json)")
    text = "share of users that may be malicious and are not evaluated (protocol.pool)"
    sub.add_argument("--pool", type=float, required=True, help=text)
    text = "protocol.repeat_targets: drop_user leaves users out (default: miss)"
    sub.add_argument(
        "--repeat-targets", choices=["miss", "drop_user", "unmask"], default="miss", help=text
    )

    text = "Inspect files of interactions."
    data = stages.add_parser("data", help=text, description=text)
    looks = data.add_subparsers(required=True, metavar="COMMAND")
    sub = add_stage(looks, "inspect", inspect)
    sub.set_defaults(command="data inspect")
    sub.add_argument("file", type=Path, metavar="FILE", help="text, JSON lines or Parquet")
    add_known(sub)


def _add_output(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dataset", metavar="JSON", help="the dataset's entry in the config")
    sub.add_argument("--output", type=Path, required=True, help="file to write")


def download(args: argparse.Namespace) -> None:
    """Download a dataset's raw file, from FEDREC_MIRROR if that is set, else from the web."""
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
    """Show what a file of interactions contains, and print a config entry that reads it.

    The separator, header, columns and time format are detected from the first lines of a text file
    or of JSON lines (plain, .gz, .bz2, .xz, .zst or .zip), of item lists or of a Parquet file. If
    two readings are possible, options decide; on a terminal, the command asks. It writes no file.
    For example:

      fedrec data inspect plays.csv.gz
      fedrec data inspect ml-1m.zip --member ml-1m/ratings.dat --user 0 --item 1 --time 3
      fedrec data inspect visits.tsv --user 0 --item 4 --time 1 --time-zone Europe/Berlin
    """
    from fedrec.data.columns import Unsure
    from fedrec.data.inspection import inspect

    known = known_of(args)
    while True:
        try:
            print(inspect(args.file, known), end="")
            return
        except Unsure as question:
            if not sys.stdin.isatty():
                raise
            print(question, file=sys.stderr)
            known = dataclasses.replace(known, **_answers(question.options))


def known_of(args: argparse.Namespace) -> "Known":
    """Return the settings given by the options of `add_known`."""
    from fedrec.data.columns import Known

    return Known(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Known)})


def _answers(options: Mapping[str, int | str | None]) -> dict[str, Any]:
    """Ask the user at the terminal for each option; an empty line accepts the suggestion."""
    found: dict[str, int | str] = {}
    for option, likely in options.items():
        while option not in found:
            said = input(f"{option}{'' if likely is None else f' [{likely}]'}: ").strip()
            if said:
                found[option] = said if option == "time_format" else _column(said)
            elif likely is not None:
                found[option] = likely
    return found


def interactions(args: argparse.Namespace) -> None:
    """Read raw files, or generate synthetic interactions."""
    dataset = _dataset(args.dataset)
    if dataset.generator:
        dataset.generator.generate().save(args.output)
        return
    if len(args.raw or ()) != len(dataset.raw):
        names = " ".join(source.name for source in dataset.raw)
        raise ConfigError(f"this dataset is read from files: give them as --raw {names}")
    _check_sums(dataset.raw, args.raw)
    dataset.read(args.raw).save(args.output)


def filter_(args: argparse.Namespace) -> None:
    """Apply a dataset's filter, check its counts, and write interactions, counts and passes."""
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


def _filtered(dataset: Dataset, before: Interactions, lists: Sequence[Path]) -> Filtered:
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
    """Hold out each user's last interaction for testing, and the one before for validation."""
    found = leave_one_out(Interactions.load(args.input))
    found.save(args.output)
    if args.repeats:
        save_statistics(args.repeats, found.repeats)


def groups(args: argparse.Namespace) -> None:
    """Divide the evaluated users into fifths, by activity and by their test items' popularity.

    The pool of possibly malicious users must be the same for all seeds (`pool_drawn: once`).
    """
    import numpy as np

    from fedrec.data.groups import groups
    from fedrec.federation import Population
    from fedrec.rng import Streams

    split = Split.load(args.input)
    evaluated = Population.draw(split.n_users, args.pool, 0.0, Streams(0)).evaluated
    if args.repeat_targets == "drop_user":
        evaluated = np.setdiff1d(evaluated, np.flatnonzero(split.test_seen))
    save_statistics(args.output, groups(split, evaluated))


def add_known(sub: argparse._ActionsContainer) -> None:
    """Add the options for what the user knows about a file."""
    sub.add_argument("--separator", type=_unescaped, help=r"between fields, such as , or \t or ::")
    text = "character that encloses fields (default: \"); '' if quotes are part of the text"
    sub.add_argument("--quote", default='"', help=text)
    flag = argparse.BooleanOptionalAction
    sub.add_argument("--header", action=flag, help="whether the first line has column names")
    for what in ("user", "item", "time", "clock", "rating"):
        text = f"column of the {what}: its name, or its number from 0"
        sub.add_argument(f"--{what}", type=_column, metavar="COLUMN", help=text)
    sub.add_argument("--min-rating", type=float, help="leave lower ratings out (with --rating)")
    text = "unix, unix_ms, unix_us, unix_ns, iso8601, a pattern such as %%d/%%m/%%Y, or order"
    sub.add_argument("--time-format", metavar="FORMAT", help=text)
    text = "what to do with rows whose user or item is NULL, None, NA or the like"
    sub.add_argument("--missing-ids", choices=["refuse", "drop", "keep"], help=text)
    text = "time zone of times that name none, such as Europe/Berlin (default: UTC)"
    sub.add_argument("--time-zone", default="UTC", metavar="ZONE", help=text)
    sub.add_argument("--member", help="the file within a .zip archive")
    sub.add_argument("--item-lists", action="store_true", help="each line: a user and its items")


def _column(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _unescaped(text: str) -> str:
    return text.replace("\\t", "\t")


def _check_sums(sources: Iterable[RawFile], paths: Iterable[Path]) -> None:
    """Raise an error for files that are missing or have a different checksum."""
    for source, path in zip(sources, paths, strict=True):
        if isinstance(source, Source):
            check_sum(source, path)
        else:
            source.check()


def _dataset(text: str) -> Dataset:
    return valid(Dataset, text, known_keys)
