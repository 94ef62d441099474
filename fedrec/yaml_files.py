"""Reading YAML, and error messages that give file, line, key, mistake and remedy."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import pydantic
import yaml

from fedrec.errors import ConfigError
from fedrec.files import write_text

FEW = 10  # the most names that a message lists
Place = tuple[str | int, ...]  # keys and list positions, from the top of the file
Problem = tuple[Place, str]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, is not a mapping, or has a key twice.
    """
    check_keys(path)
    values = _parsed(path, yaml.safe_load)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of keys, such as config/paper.yaml")
    return values


def check_keys(path: Path) -> None:
    """Reject a YAML file that has a key twice in one mapping, because only the last would count.

    Raises:
        ConfigError: a key occurs twice, or the file cannot be read or is not YAML.
    """
    repeated = dict.fromkeys(_repeated_keys(_parsed(path, yaml.compose)))
    if repeated:
        raise ConfigError("\n".join(f"{path}:{line}: {text}" for line, text in repeated))


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read ({error}): save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from None


def _repeated_keys(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Yield the line of each key that its mapping already has, and a message with the remedy."""
    first: dict[str, int] = {}
    for key, line, child in _children(node):
        if key in first and key != "<<":
            yield line, f"the key `{key}` is already on line {first[key]}: keep one of the two"
        first.setdefault(str(key), line)
        yield from _repeated_keys(child)


def nearest_name(wrong: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return a hint to append to a message: the most similar known name.

    If no name is similar, the hint lists all known names, or the three nearest if there are many.
    """
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=cutoff)
    if close:
        return f"; did you mean `{close[0]}`?"
    if len(names) > FEW:
        names, label = difflib.get_close_matches(wrong, names, n=3, cutoff=0.0), "nearest"
    else:
        label = "known"
    return f"; {label}: {', '.join(f'`{name}`' for name in names)}" if names else ""


def explain(
    error: pydantic.ValidationError,
    paths: Sequence[Path | str],
    known_keys: Callable[[Place], Iterable[str]],
) -> str:
    """Turn pydantic's errors into lines with file, line, key and remedy."""
    found = [(e["loc"], _message(e, known_keys)) for e in error.errors()]
    return "\n".join(_located(place, message, paths, tagged=True) for place, message in found)


def report(problems: Iterable[Problem], paths: Sequence[Path | str]) -> str:
    """Format problems, one line each: file, line, key, and what is wrong."""
    return "\n".join(_located(place, message, paths) for place, message in problems)


def _message(error: Any, known_keys: Callable[[Place], Iterable[str]]) -> str:
    place, kind, given = error["loc"], error["type"], error["input"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key{nearest_name(str(place[-1]), known_keys(place))}"
    if kind == "union_tag_invalid":
        kinds, tag = re.findall(r"'([^']+)'", error["ctx"]["expected_tags"]), error["ctx"]["tag"]
        return f"unknown kind {tag!r}{nearest_name(tag, kinds, cutoff=0.8)}"
    if kind == "union_tag_not_found":
        return "`kind` is missing"
    if kind == "literal_error":
        values = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        return f"{given!r} is not a valid value{nearest_name(str(given), values)}"
    if kind == "missing":
        return f"`{place[-1]}` is missing"
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return (
            f"{given!r} names a file or folder: use only letters, digits, + _ @ = , - and single "
            "dots between them"
        )
    message = f"{error['msg']}, but found {given!r}"
    if kind == "float_type" and isinstance(given, str) and "e" in given.lower():
        message += " (YAML reads 1e-5 as text: write 1.0e-5)"
    return message


def _located(place: Place, message: str, paths: Sequence[Path | str], tagged: bool = False) -> str:
    """Put the key and its place, in the last file that has it, in front of a message."""
    found = located(place, paths, tagged)
    if not found:
        return f"{'.'.join(map(str, place))}: {message}"
    where, keys = found
    return f"{where}: {'.'.join(keys) or 'the file'}: {message}"


def located(
    place: Place, paths: Sequence[Path | str], tagged: bool = False
) -> tuple[str, list[str]] | None:
    """Find the file and line of a key, or of its deepest parent that exists, and the key path.

    If several files have it, the last one counts. Return None if there are no files.
    """
    found = [(path, *_find(Path(path), place, tagged)) for path in reversed(paths)]
    if not found:
        return None
    path, line, keys = max(found, key=lambda hit: len(hit[2]))
    return f"{path}:{line}", keys


def write_comment(place: Place, paths: Sequence[Path | str], head: str, text: str) -> str:
    """Write a comment above a key, in the last file that has it; return file and line.

    A comment above the key that begins with the same `head` is replaced. Nothing else changes.

    Raises:
        ConfigError: no file has the key.
    """
    found = [(Path(path), *_find(Path(path), place, False)) for path in reversed(paths)]
    has = [(path, line) for path, line, keys in found if keys == list(place)]
    if not has:
        raise ConfigError(
            f"{'.'.join(map(str, place))}: no config file has this key; put it into one"
        )
    path, line = has[0]
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    key = lines[line - 1]
    begins = key[: len(key) - len(key.lstrip())] + "# "
    above = _without_comment(lines[: line - 1], begins, head)
    told = wrap(
        f"{head} {text}", 100, initial_indent=begins, subsequent_indent=f"{begins}  ",
        break_on_hyphens=False,
    )  # fmt: skip
    write_text(path, "".join([*above, *(f"{one}\n" for one in told), *lines[line - 1 :]]))
    return f"{path}:{len(above) + 1}"


def _without_comment(lines: list[str], begins: str, head: str) -> list[str]:
    """Return lines without the comment at their end, if it begins with `head`."""
    end = len(lines)
    while end and lines[end - 1].startswith(f"{begins}  "):
        end -= 1
    return lines[: end - 1] if end and lines[end - 1].startswith(begins + head) else lines


def _find(path: Path, place: Place, tagged: bool) -> tuple[int, list[str]]:
    """Follow `place` down a file as far as it goes; return the line and the keys on the way.

    Parts that are not keys of the file are skipped. With `tagged`, the kind of an entry is skipped
    too: pydantic puts it after the entry's name, and it may also be one of the entry's keys.
    """
    node = yaml.compose(path.read_text(encoding="utf-8"))
    line, keys, kind = 1, [], None
    for part in place:
        if tagged and part == kind:
            kind = None
            continue
        for key, key_line, child in _with_merged(node):
            if key == part:
                line, node, kind = key_line, child, _kind(child)
                keys.append(str(part))
                break
    return line, keys


def _kind(node: yaml.Node) -> str | None:
    """Return the value of an entry's key `kind`, or None."""
    return next((str(c.value) for key, _, c in _children(node) if key == "kind"), None)


def _with_merged(node: yaml.Node | None) -> Iterator[tuple[str | int, int, yaml.Node]]:
    """Yield the children of a node, then those of the mappings that `<<` merges into it."""
    own = _children(node)
    yield from own
    for key, _, child in own:
        if key == "<<":
            merged = child.value if isinstance(child, yaml.SequenceNode) else [child]
            for one in merged:
                yield from _with_merged(one)


def _children(node: yaml.Node | None) -> list[tuple[str | int, int, yaml.Node]]:
    """Return the keys or positions of a node, with their lines and child nodes."""
    if isinstance(node, yaml.MappingNode):
        return [(key.value, key.start_mark.line + 1, child) for key, child in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(i, child.start_mark.line + 1, child) for i, child in enumerate(node.value)]
    return []
