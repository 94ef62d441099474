"""A config file that extends another one: its keys are laid over those of the other.

`extends: paper.yaml` names the other file, seen from the folder of the file that says so. Mappings
are merged key by key; anything else takes the place of what was there, and `null` takes it away.
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
    """What config files say together, and all files that say it, the undermost first."""

    values: dict[str, Any]
    paths: tuple[Path, ...]


def read(*paths: Path | str) -> Full:
    """Read config files, each with the files that it extends; a later one lies over an earlier.

    Raises:
        ConfigError: a file cannot be read, extends itself, or replaces what it does not give.
    """
    read = [_read(Path(path)) for path in paths]
    values = reduce(merged, (full.values for full in read), dict[str, Any]())
    return Full(values, tuple(dict.fromkeys(path for full in read for path in full.paths)))


def in_full(values: Mapping[str, Any], paths: Sequence[Path | str]) -> Full:
    """Values that another reader (Snakemake) merged from `paths`, with what the files extend.

    What differs from the files, such as `--config seeds=[0]`, lies over all of them.

    Raises:
        ConfigError: as `read` does.
    """
    own = [read_yaml(Path(path)) for path in paths]
    if not any({EXTENDS, REPLACE} & file.keys() for file in own):
        return Full(dict(values), tuple(map(Path, paths)))
    full, raw = read(*paths), reduce(merged, own, dict[str, Any]())
    return Full(merged(full.values, dict(_differing(values, raw))), full.paths)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping."""
    found = dict(base)
    for key, value in over.items():
        deeper = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if deeper else value
    return found


def _read(path: Path, above: tuple[Path, ...] = ()) -> Full:
    """One file laid over what it extends; `above` are the files that led to it."""
    if path.resolve() in [other.resolve() for other in above]:
        circle = " → ".join(map(str, [*above, path]))
        raise _wrong(above[-1], (EXTENDS,), f"goes round in a circle, {circle}: remove one of them")
    values = read_yaml(path)
    base, replaced = values.pop(EXTENDS, None), values.pop(REPLACE, [])
    if base is None and not replaced:
        return Full(values, (path,))
    under = _read(_base_of(path, base), (*above, path))
    kept = _without(under.values, _replaced(path, replaced, values))
    return Full(merged(kept, values), (*under.paths, path))


def _base_of(path: Path, base: Any) -> Path:
    if base is None:
        text = f"leaves nothing out without `{EXTENDS}`, which names the file to start from"
        raise _wrong(path, (REPLACE,), text)
    if not isinstance(base, str) or not (path.parent / base).is_file():
        text = f"there is no file {str(base)!r} in {path.parent}: name one, seen from that folder"
        raise _wrong(path, (EXTENDS,), text)
    return path.parent / base


def _replaced(path: Path, given: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Section and name (or nothing) of each mapping that a file replaces."""
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        text = "must be a list of keys, such as [tables, models.MF]"
        raise _wrong(path, (REPLACE,), text)
    for i, wanted in enumerate(given):
        section, _, name = wanted.partition(".")
        own = values.get(section)
        if own is None or (name and name not in own):
            text = f"`{wanted}` is not in this file: give it, or leave it out of `{REPLACE}`"
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
    """What `values` say otherwise than `raw`."""
    for key, value in values.items():
        if key in raw and value == raw[key]:
            continue
        if isinstance(value, Mapping) and isinstance(raw.get(key), Mapping):
            value = dict(_differing(value, raw[key]))
        yield key, value


def _wrong(path: Path, place: tuple[str | int, ...], text: str) -> ConfigError:
    return ConfigError(report([(place, text)], [path]))
