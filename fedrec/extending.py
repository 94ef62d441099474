"""Config files that extend other config files and override some of their keys.

`extends: paper.yaml` names the base file, relative to the folder of the extending file. Mappings
are merged key by key. Any other value replaces the value of the base, and `null` removes it.
`replace: [tables, models.MF]` names mappings that are not merged but taken from this file alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from fedrec.errors import ConfigError
from fedrec.yaml_files import read_yaml, report

EXTENDS, REPLACE = "extends", "replace"


@dataclass(frozen=True)
class Full:
    """The merged values of config files, and all files they come from, base files first."""

    values: dict[str, Any]
    paths: tuple[Path, ...]


def read(*paths: Path | str) -> Full:
    """Read config files and the files they extend. Later files override earlier ones.

    Raises:
        ConfigError: a file cannot be read, extends itself, or lists under `replace` a mapping that
            it does not contain.
    """
    read = [_read(Path(path)) for path in paths]
    values = reduce(merged, (full.values for full in read), dict[str, Any]())
    return Full(values, tuple(dict.fromkeys(path for full in read for path in full.paths)))


def in_full(values: Mapping[str, Any], paths: Sequence[Path | str]) -> Full:
    """Complete `values`, which Snakemake merged from `paths`, with the files that these extend.

    Values that differ from the files, such as `--config seeds=[0]`, override all files.

    Raises:
        ConfigError: as in `read`.
    """
    own = [read_yaml(Path(path)) for path in paths]
    if not any({EXTENDS, REPLACE} & file.keys() for file in own):
        return Full(dict(values), tuple(map(Path, paths)))
    full, raw = read(*paths), reduce(merged, own, dict[str, Any]())
    return Full(merged(full.values, dict(_differing(values, raw))), full.paths)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `over` into `base`, mapping by mapping; values of `over` win."""
    found = dict(base)
    for key, value in over.items():
        deeper = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if deeper else value
    return found


def _read(path: Path, above: tuple[Path, ...] = ()) -> Full:
    """Read one file and merge it into what it extends; `above` are the files that led to it."""
    if path.resolve() in [other.resolve() for other in above]:
        circle = " → ".join(map(str, [*above, path]))
        raise _wrong(
            above[-1], (EXTENDS,), f"the files form a circle, {circle}: remove one of them"
        )
    values = read_yaml(path)
    base, replaced = values.pop(EXTENDS, None), values.pop(REPLACE, [])
    if base is None and not replaced:
        return Full(values, (path,))
    under = _read(_base_of(path, base), (*above, path))
    kept = _without(under.values, _replaced(path, replaced, values))
    return Full(merged(kept, values), (*under.paths, path))


def _base_of(path: Path, base: Any) -> Path:
    if base is None:
        text = f"has no effect without `{EXTENDS}`: add `{EXTENDS}` with the file to start from"
        raise _wrong(path, (REPLACE,), text)
    if not isinstance(base, str) or not (path.parent / base).is_file():
        text = f"there is no file {str(base)!r} in {path.parent}: give a path from that folder"
        raise _wrong(path, (EXTENDS,), text)
    return path.parent / base


def _replaced(path: Path, given: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the section and the name (or an empty string) of each mapping that a file replaces."""
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        text = "must be a list of keys, such as [tables, models.MF]"
        raise _wrong(path, (REPLACE,), text)
    for i, wanted in enumerate(given):
        section, _, name = wanted.partition(".")
        own = values.get(section)
        if own is None or (name and name not in own):
            text = f"`{wanted}` is not in this file: add it, or leave it out of `{REPLACE}`"
            raise _wrong(path, (REPLACE, i), text)
        yield section, name


def _without(values: Mapping[str, Any], gone: Iterable[tuple[str, str]]) -> dict[str, Any]:
    kept = dict(values)
    for section, name in gone:
        if name and isinstance(kept.get(section), Mapping):
            kept[section] = {k: v for k, v in kept[section].items() if k != name}
        elif not name:
            kept.pop(section, None)
    return kept


def _differing(values: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of `values` that differ from `raw`."""
    for key, value in values.items():
        if key in raw and value == raw[key]:
            continue
        if isinstance(value, Mapping) and isinstance(raw.get(key), Mapping):
            value = dict(_differing(value, raw[key]))
        yield key, value


def _wrong(path: Path, place: tuple[str | int, ...], text: str) -> ConfigError:
    return ConfigError(report([(place, text)], [path]))
