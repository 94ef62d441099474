"""The `list` subcommand: methods, datasets and claims by name, and their settings."""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import add_config, print_lines, stage_of
from fedrec.cli.text import columns, short
from fedrec.errors import ConfigError
from fedrec.yaml_files import nearest_name

if TYPE_CHECKING:  # importing it takes PyTorch
    from fedrec.config.study import Study
    from fedrec.data.dataset import Dataset
    from fedrec.plug_ins import Method

METHOD_GROUPS = ("attacks", "defenses", "models")
GROUPS = (*METHOD_GROUPS, "datasets", "readers", "claims")


def add_to(stages: Any) -> None:
    """Add the subcommand to the parser."""
    sub = stage_of(stages)("list", list_)
    sub.add_argument("group", choices=GROUPS, help="what to list")
    sub.add_argument("names", nargs="*", metavar="NAME", help="show only these, with all fields")
    sub.add_argument("--fields", action="store_true", help="show the fields of every entry")
    add_config(sub)


def list_(args: argparse.Namespace) -> None:
    """List attacks, defences, models, datasets, readers of packages, or claims, one per line.

    Methods that no entry of the config uses come last, under their kinds. A method from another
    package shows the package's name, and an attack shows what it knows besides the broadcast
    parameters. With NAMEs, or with --fields, each hyper-parameter is shown:
    its value in the config or else its default, its meaning and its source. For example:

      fedrec list attacks
      fedrec list defenses NormBound+UNION
      fedrec list models --fields --config config/demo.yaml
    """
    from fedrec.config.study import Study

    study = Study.load(*args.config)
    known = _entries(study, args.group)
    for name in args.names:
        if name not in known:
            close = nearest_name(name, known)
            raise ConfigError(f"{name!r} is not among `{args.group}`{close}")
    if args.names or args.fields:
        print_lines(line for name in args.names or known for line in _detailed(name, known[name]))
    else:
        print_lines(columns([[name, *_summary(entry)] for name, entry in known.items()]))


def _entries(study: "Study", group: str) -> Mapping[str, Any]:
    """Return what to list, by name: entries of the config, then kinds without an entry."""
    if group == "claims":
        from fedrec.analysis.claims import Claims
        from fedrec.plan.blocks import Scorecard

        file = Path((study.claims or Scorecard()).file)
        return {claim.id: claim for claim in Claims.load(file).claims}
    if group == "readers":
        from fedrec.data.readers.of_packages import readers

        return {kind: [(method, None)] for kind, method in readers().items()}
    entries = getattr(study, group)
    if group == "datasets":
        return entries
    from fedrec.config.methods import METHODS

    listed = {name: e if isinstance(e, tuple) else (e,) for name, e in entries.items()}
    used = {part.kind for parts in listed.values() for part in parts}
    methods = {name: [(METHODS[group][p.kind], p) for p in parts] for name, parts in listed.items()}
    rest = {k: [(method, None)] for k, method in METHODS[group].items() if k not in used}
    return methods | rest


def _summary(entry: Any) -> list[str]:
    """Return the columns that follow the name."""
    if isinstance(entry, list):
        kinds = " + ".join(method.kind for method, _ in entry)
        origin = _origin(method for method, _ in entry)
        unused = "; no entry in the config" if entry[0][1] is None else ""
        first = entry[0][0].type.__doc__ or ""
        return [kinds, *_knowledge(entry[0][0]), short(first, 88) + origin + unused]
    if hasattr(entry, "says"):
        return [entry.place, short(entry.says, 100)]
    return [_source(entry), str(entry.expect or "")]


def _knowledge(method: "Method") -> list[str]:
    """Return a column with what an attack knows; nothing for other methods."""
    from fedrec.attacks.base import knowledge_of

    return [f"knows {knowledge_of(method.type)}"] if hasattr(method.type, "forge") else []


def _origin(methods: Iterable["Method"]) -> str:
    packages = {f"{m.package} {m.version}" for m in methods if m.is_plug_in}
    return f" [{', '.join(sorted(packages))}]" if packages else ""


def _source(dataset: "Dataset") -> str:
    if dataset.generator:
        return "synthetic"
    return ", ".join(file.name for file in dataset.raw)


def _detailed(name: str, entry: Any) -> Iterator[str]:
    """Yield the lines that describe one entry in full."""
    if isinstance(entry, list):
        for method, part in entry:
            yield from _method_lines(name, method, part)
        return
    import yaml

    text = yaml.safe_dump(
        entry.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True
    )
    yield name
    yield from (f"  {line}" for line in text.splitlines())


def _method_lines(name: str, method: "Method", entry: Any) -> Iterator[str]:
    """Yield a method's description and its fields."""
    from textwrap import wrap

    from fedrec.config.entries import fields_of, given_by

    yield f"{name} ({method.kind}){_origin([method])}"
    yield from (
        f"  {line}".rstrip() for line in (method.type.__doc__ or "").strip().splitlines()[:1]
    )
    yield from (f"  {known}" for known in _knowledge(method))
    given = given_by(entry) if entry is not None else {}
    for field, (_, info) in fields_of(method.type).items():
        value = f"{given[field]} (default {info.default})" if field in given else str(info.default)
        yield f"    {field} = {value}"
        yield from wrap(
            info.description or "", 92, initial_indent=" " * 8, subsequent_indent=" " * 8
        )
