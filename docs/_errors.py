"""Every error that ends a command, from the places in the code that raise it."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _fields import table

from fedrec import errors
from fedrec.errors import CommandError

ROOT = Path(__file__).parents[1]
KINDS = {
    name: cls
    for name, cls in vars(errors).items()
    if inspect.isclass(cls) and issubclass(cls, CommandError) and cls is not CommandError
}
LEAD = """# Error messages

A command that cannot continue prints one message and ends with an exit code. The message says where
the mistake is, what is wrong, and what to do about it.

| exit code | meaning | what to do |
| --- | --- | --- |
| 0 | done | nothing |
| 1 | something given is wrong or missing | what the message says; the tables below list them |
| 2 | the command line cannot be understood | read `fedrec COMMAND --help`, which has examples |
| 3 | training diverged: a number was no longer finite | nothing: the record and the tables say so |
| 75 | interrupted: Ctrl-C, SIGTERM or a time limit | run the same command again: it continues |

Exit code 1 is also used for errors of the operating system or PyTorch, such as a full disk. If
memory runs out, the message says so: raise `mem_mb` in the profile. If a GPU's memory runs out, let
fewer jobs share the card ([On a GPU](../gpu.md)).

The tables below are generated from the code. ⟨Brackets⟩ mark the parts that vary.
"""
# How a remedy begins.
REMEDY = re.compile(
    r"(?:check|choose|correct|decorate|delete|did|do|end|fetch|filter|get|give|have|"
    r"install|its|leave|lower|make|name|put|quote|raise|rename|repair|restore|run|save|see|"
    r"set|the|uninstall|unpack|wait|write)\b"
)
# Remedies of messages whose remedy lies elsewhere than after the last colon.
ELSEWHERE = {
    "⟨path⟩: ⟨id⟩: no ⟨wrong⟩": "name what the study has, or add it to the study",
    "no figure ⟨figure⟩": "give the name that the message suggests",
    "pictures need one dataset": "name a figure of one such dataset",
    "is not a JSON object: ⟨remedy⟩": "correct the line",
    "is not among": "give the name that the message suggests; `fedrec list` has all",
    "has no field ⟨field⟩⟨close⟩": "give the name that the message suggests",
    "cells need as many outputs": "give one output for each cell",
    "users would be malicious": "raise the ratio and `protocol.pool` to the shares that it names",
    "must be a mapping of keys": "begin with keys, as `config/paper.yaml` does",
    "cannot be read (⟨strerror⟩)": "correct the file's name, or its permissions",
    "is not YAML": "correct the line that it names",
    "⟨path⟩: ⟨…⟩: ⟨said⟩": "correct the row, or the dataset's `format`, as the message says",
    "line ⟨line⟩: ⟨problem⟩": "correct the line, or the dataset's `format`, as the message says",
    "in columns ⟨columns⟩": "correct the line, or the columns in the dataset's `format`",
    "no record of the cells to show": "run the cells, or give other records",
    "no record of ⟨cell path⟩": "run the cell: `fedrec run CELL`",
    "no record of the cells to verify": "give the file of published records",
    "were not reproduced bit for bit": "compare versions and processors, which both records name",
    "another split of its data": "make the split again from the same raw files and config",
    "diverged in round": "nothing to repair: the record is the result",
    "a retry would end the same way": "nothing to repair: the record is the result",
    "while another process makes": "run the same command again once the other has ended",
}
HEADS = ("cause", "remedy", "raised in")
# Where values are checked that a config gives.
CHECKED = ("attacks", "defenses", "models", "data", "config", "plan")


@dataclass(frozen=True)
class Site:
    """A place that raises an error: the file, and what the message says."""

    file: str
    message: str


def pages() -> dict[str, str]:
    """One page, with a table for each kind of error."""
    sites = _sites()
    parts = [LEAD]
    for kind, cls in KINDS.items():
        rows = [_row(site) for site in sites[kind]]
        text = f"Exit code {cls.exit_code}. {inspect.getdoc(cls)}"
        if rows:
            text += "\n\n" + table(HEADS, rows)
        parts.append(f"## {kind}\n\n{text}")
    rows = [_row(site) for site in sites["ValueError"] if site.file.split("/")[1] in CHECKED]
    rows = [(cause, remedy or "what the message asks for", file) for cause, remedy, file in rows]
    parts.append(
        "## Values that a config may not have\n\nExit code 1. In a ConfigError, these follow the "
        "file, the line and the key. Wrong types and unknown keys are reported in the same way, "
        "the latter with the nearest name.\n\n" + table(HEADS, rows)
    )
    return {"errors.md": "\n\n".join(parts) + "\n"}


def _row(site: Site) -> tuple[str, str, str]:
    """Cause and remedy, which follows the last colon or semicolon."""
    for part, remedy in ELSEWHERE.items():
        if part in site.message:
            return site.message, remedy, f"`{site.file}`"
    for mark in reversed(list(re.finditer("[:;] ", site.message))):
        if REMEDY.match(rest := site.message[mark.end() :]):
            return site.message[: mark.start()], rest, f"`{site.file}`"
    return site.message, "", f"`{site.file}`"


def _sites() -> dict[str, list[Site]]:
    found: dict[str, dict[Site, None]] = {kind: {} for kind in (*KINDS, "ValueError")}
    for path in sorted((ROOT / "fedrec").rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if file.startswith(("fedrec/testing/", "fedrec/reference/", "fedrec/bench/")):
            continue
        for kind, message in _raised(ast.parse(path.read_text(encoding="utf-8"))):
            found[kind][Site(file, message)] = None
    return {kind: list(sites) for kind, sites in found.items()}


def _raised(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The errors that are raised with a message of their own."""
    constants = list(_own(tree, ast.Assign))
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for raised in _own(node, ast.Raise):
            call = raised.exc
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args):
                continue
            if call.func.id in (*KINDS, "ValueError"):
                before = [one for one in _own(node, ast.Assign) if one.lineno < raised.lineno]
                message = _text(call.args[0], _named([*constants, *before]))
                if _says(message):
                    yield call.func.id, message


def _says(message: str) -> bool:
    """Whether there are words beside what is filled in."""
    return len(re.sub("⟨[^⟩]*⟩", "", message).split()) > 1


def _own(owner: ast.AST, wanted: type) -> Iterator[Any]:
    """The nodes below another one that belong to no function within it."""
    for child in ast.iter_child_nodes(owner):
        if isinstance(child, wanted):
            yield child
        if not isinstance(child, ast.FunctionDef):
            yield from _own(child, wanted)


def _named(assigned: Iterable[ast.Assign]) -> dict[str, ast.expr]:
    """Texts that are given a name before they are raised."""
    return {
        target.id: node.value
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.JoinedStr | ast.Constant)
    }


def _text(node: ast.expr, texts: Mapping[str, ast.expr]) -> str:
    """A message, with brackets around what is filled in."""
    if isinstance(node, ast.Constant):
        return " ".join(str(node.value).split("\n")).replace("<", r"\<").replace("*", r"\*")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, texts) + _text(node.right, texts)
    if isinstance(node, ast.Name) and node.id in texts:
        return _text(texts[node.id], {k: v for k, v in texts.items() if k != node.id})
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, texts) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, texts)
    if isinstance(node, ast.Attribute):
        return _filled(node.attr)
    if isinstance(node, ast.Name):
        return _filled(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "nearest_name":
            return "; did you mean ⟨…⟩?"
        if node.func.id in ("str", "len", "repr", "ceil") and node.args:
            return _text(node.args[0], texts)
        return "⟨…⟩" if node.func.id == "getattr" else _filled(node.func.id)
    return "⟨…⟩"


def _filled(name: str) -> str:
    return f"⟨{name.strip('_').replace('_', ' ').lower()}⟩"
