"""The reference of the configuration, from its types."""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from _fields import described, fields_of, table, value

from fedrec.config.protocol import TrainingProtocol
from fedrec.config.study import Study
from fedrec.data.dataset import Dataset
from fedrec.plan.blocks import FIGURES, TABLES, Scorecard, kind_of
from fedrec.plan.grid import Tuning
from fedrec.plan.metrics import METRICS
from fedrec.settings import preset_values

METHODS = {"models": "models", "attacks": "attacks", "defenses": "defences"}
HEADS = ("key", "type", "default", "meaning")
PLACES = {"tables": TABLES, "figures": FIGURES}
SAYS = {
    "seeds": "One training job for each.",
    "protocol": "How clients are sampled, trained and evaluated (below).",
    "datasets": "Datasets by name (below).",
    "models": "[Models](methods/models/index.md) by name: a `kind` and its fields.",
    "attacks": "[Attacks](methods/attacks/index.md) by name: a `kind` and its fields.",
    "defenses": "[Defences](methods/defenses/index.md) by name: a list of kinds with their fields.",
    "tables": "Tables by name (below).",
    "figures": "Figures by name (below).",
    "claims": "Where the claims are, and on which datasets they are judged (below).",
    "title": "The title shown above it.",
    "metric": "The metric to draw.",
    "metrics": "The metrics shown as columns.",
    "defenses in a block": "Names of defences, or variants such as `UNION@sample=100`.",
    "models in a block": "Names of models, or variants such as `MF@dim=32`.",
    "attacks in a block": "Names of attacks, or variants such as `ClusterAttack@clusters=4`.",
    "datasets in a block": "Names of datasets.",
    "kind in a block": "The kind of the block.",
    "users": "Number of users.",
    "items": "Number of items.",
    "interactions": "Number of interactions.",
    "synthetic": "Synthetic users whose tastes drift.",
    "communities": "Synthetic users who like communities of items.",
    "k_core": "Keeps users and items with enough interactions.",
    "id_lists": "Keeps the users and items that two files name.",
}
TYPES = {
    "models": "entry by name", "attacks": "entry by name", "defenses": "list of entries by name",
    "tuning": "tuning by entry", "tables": "table by name",
    "figures": "figure by name", "protocol": "keys of the protocol",
    "datasets": "dataset by name",
}  # fmt: skip


def pages() -> dict[str, str]:
    """One page: the study's keys, then each section's."""
    return {"configuration.md": "\n\n".join(_parts()) + "\n"}


def _parts() -> Iterator[str]:
    yield (
        "# Configuration reference\n\nEvery key that a config file may contain, from the types "
        "that check it. [The guide](configuration-guide.md) explains how files extend each other, "
        "and has examples. Any other key is an error that names file, line and the nearest key."
    )
    yield "## A study\n\n" + _study()
    yield (
        "## `protocol`\n\n"
        + _doc(TrainingProtocol)
        + "\n\n"
        + _fields_table(TrainingProtocol)
        + "".join(
            f"\n`preset: paper` sets `{name}` to {value(given)}."
            for name, given in preset_values(TrainingProtocol, "paper").items()
        )
    )
    yield (
        "## Entries of `models`, `attacks` and `defenses`\n\nIn addition to the fields of its "
        "method, an entry may have these keys. The fields are on the page of each "
        "[model](methods/models/index.md), [attack](methods/attacks/index.md) and "
        "[defence](methods/defenses/index.md).\n\n" + table(HEADS, _entry_rows())
    )
    yield "## `datasets`\n\n" + _doc(Dataset) + "\n\n" + _fields_table(Dataset)
    for part in _parts_of(Dataset):
        yield f"### {part.__name__}\n\n{_doc(part)}\n\n{_fields_table(part)}"
    for section, kinds in PLACES.items():
        yield f"## `{section}`\n\nThe `kind` of a block decides which keys it takes."
        for kind in kinds:
            rows = _fields_table(kind, " in a block")
            yield f"### `kind: {kind_of(kind)}`\n\n{_doc(kind)}\n\n{rows}"
    yield f"## `tuning`\n\n{_doc(Tuning)}\n\n{_fields_table(Tuning)}"
    yield f"## `claims`\n\n{_doc(Scorecard)}\n\n{_fields_table(Scorecard)}"
    yield "## Metrics\n\n" + ", ".join(f"`{metric}`" for metric in METRICS) + "."


def _study() -> str:
    rows = []
    for name, info in Study.model_fields.items():
        typed, default, meaning = described(info)
        rows.append((f"`{name}`", TYPES.get(name, typed), default, meaning or SAYS[name]))
    return table(HEADS, rows)


def _fields_table(cls: Any, place: str = "") -> str:
    says, rows = _field_docs(cls), []
    for name, info in fields_of(cls).items():
        typed, default, meaning = described(info)
        said = meaning or says.get(name) or SAYS.get(name + place) or SAYS.get(name, "")
        rows.append((f"`{name}`", typed, default, said))
    return table(HEADS, rows)


def _entry_rows() -> Iterable[tuple[str, str, str, str]]:
    yield "`kind`", "text", "required", "The method: the name of its file."
    yield "`preset`", "`reproduction` or `paper`", "the study's", "Other switches for this entry."
    yield "`where`", "list", "empty", "Fields for one `dataset`, one `model`, or both."


def _parts_of(cls: Any) -> list[type]:
    """The types that the fields of a section hold, and those of these, each once."""
    found: dict[type, None] = {}
    for info in fields_of(cls).values():
        for part in _classes(info.annotation):
            found[part] = None
            found.update(dict.fromkeys(_parts_of(part)))
    return list(found)


def _classes(annotation: Any) -> Iterator[type]:
    if inspect.isclass(annotation) and (
        dataclasses.is_dataclass(annotation) or hasattr(annotation, "model_fields")
    ):
        yield annotation
    for part in get_args(annotation):
        yield from _classes(part)


def _doc(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n\nRaises:")[0].replace("*", r"\*")


def _field_docs(cls: type) -> dict[str, str]:
    """The texts that stand below the fields of a plain dataclass."""
    own = [base for base in cls.__mro__ if base.__module__.startswith("fedrec")]
    source = "".join(map(inspect.getsource, own))
    found = re.findall(r'^    (\w+): (?:(?!""").)*?\n    """(.*?)"""', source, flags=re.M | re.S)
    return {name: " ".join(text.split()) for name, text in found}
