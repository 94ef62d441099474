"""One page for each attack, defence and model, from its class."""

import importlib
import inspect
import re
from pathlib import Path

import _examples
import yaml
from _fields import described, fields_of, table, value

from fedrec.config.methods import METHODS, Method
from fedrec.settings import preset_values

ROOT = Path(__file__).parents[1]
ONE = {"attacks": "attack", "defenses": "defence", "models": "model"}
MANY = {"attacks": "Attacks", "defenses": "Defences", "models": "Models"}
INTRODUCTION = {
    "attacks": "An attack decides what malicious clients upload. It sees only what these clients "
    "know.",
    "defenses": "A defence is a task for honest clients, a mixer of uploads, a filter, a "
    "transform, a rule that reduces uploads to one gradient, or several of these.",
    "models": "A model is what the federation trains: it scores items for a user.",
}


class _Plain(yaml.SafeDumper):
    """Values are written out wherever they stand."""

    def ignore_aliases(self, data: object) -> bool:
        """Every value stands for itself."""
        return True


def pages() -> dict[str, str]:
    """A page for each of fedrec's own methods, and one for each group."""
    found = {}
    for group, methods in METHODS.items():
        own = {kind: method for kind, method in methods.items() if not method.is_plug_in}
        found[f"methods/{group}/index.md"] = _group_page(group, own)
        for kind, method in own.items():
            found[f"methods/{group}/{kind}.md"] = _page(group, method)
    return found


def _group_page(group: str, methods: dict[str, Method]) -> str:
    rows = [
        (f"[{method.type.__name__}]({kind}.md)", f"`{kind}`", _first_sentence(method.type))
        for kind, method in methods.items()
    ]
    listed = "\n".join(methods)
    return (
        f"# {MANY[group]}\n\n{INTRODUCTION[group]} `fedrec list {group}` prints this list, with "
        f"those of installed packages.\n\n{table(('name', 'kind', 'what it does'), rows)}\n"
        f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    )


def _page(group: str, method: Method) -> str:
    cls, kind = method.type, method.kind
    module = importlib.import_module(cls.__module__)
    file = f"fedrec/{group}/{kind}.py"
    parts = [
        f"# {cls.__name__}",
        f"*{_sentence(inspect.getdoc(module) or '')}*",
        _prose(inspect.getdoc(cls) or ""),
        f"## In a config\n\n{_in_a_config(group, kind, cls)}",
        f"## Parameters\n\n{_parameters(kind, cls)}",
        _examples.of(group, kind, cls),
        f"## The code\n\nThe {ONE[group]} is one file, `{file}`.\n\n"
        f"```{{literalinclude}} ../../../../{file}\n:language: python\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _parameters(kind: str, cls: type) -> str:
    fields = fields_of(cls)
    if not fields:
        return "This method has no parameters."
    paper, sources = preset_values(cls, "paper"), _sources()
    rows = []
    for name, info in fields.items():
        typed, default, meaning = described(info)
        origin = sources.get(f"{kind}.{name}", "")
        rows.append((f"`{name}`", typed, default, meaning, "" if origin == "see above" else origin))
    text = table(("parameter", "type", "default", "meaning", "source of the default"), rows)
    if paper:
        changed = [(f"`{name}`", described(fields[name])[1], value(v)) for name, v in paper.items()]
        text += (
            "\nThe defaults are those of `preset: reproduction`. For these, the paper's text "
            "says otherwise, and `preset: paper` follows it:\n\n"
            + table(("parameter", "`reproduction`", "`paper`"), changed)
        )
    return text + (
        "\n[Text, authors' code, and this reproduction](../../../fidelity.md) has the sources of "
        "all values; *first* and *second* are the two uploads of the authors' code."
    )


def _in_a_config(group: str, kind: str, cls: type) -> str:
    entries = _entries(group, kind)
    if not entries:
        name = cls.__name__
        entry = [{"kind": kind}] if group == "defenses" else {"kind": kind}
        lead, entries = "No entry of `config/paper.yaml` uses it. An example:", {name: entry}
    else:
        lead = "`config/paper.yaml` has:"
    text = yaml.dump({group: entries}, Dumper=_Plain, sort_keys=False, allow_unicode=True)
    return f"{lead}\n\n```yaml\n{text}```"


def _entries(group: str, kind: str) -> dict[str, object]:
    listed = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))[group]
    found = {}
    for name, entry in listed.items():
        parts = entry if isinstance(entry, list) else [entry]
        if any(part["kind"] == kind for part in parts):
            found[name] = entry
    return found


def _sources() -> dict[str, str]:
    """The source that docs/fidelity.md gives for each field."""
    text = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    found = {}
    for heading in ("Sources", "Methods beyond the paper"):
        section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        for line in section.splitlines():
            first, *others = (cell.strip() for cell in line.strip("|").split("|"))
            for name in re.findall(r"`(\w+\.\w+)`", first):
                found[name] = others[1]
    return found


def _first_sentence(cls: type) -> str:
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.:]) ", text)[0].rstrip(":") if text else ""


def _sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split()).replace("*", r"\*")


def _prose(text: str) -> str:
    """A docstring as Markdown."""
    return text.replace("*", r"\*").replace("<", r"\<")
