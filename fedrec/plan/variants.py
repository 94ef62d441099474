"""Names of entries with changed values, and switches between the paper's text and code."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import yaml

from fedrec.files import NAME
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.settings import Section


@dataclass(frozen=True)
class Variant:
    """An entry with other values of some fields: `ClusterAttack@clusters=1,decay=0.9`.

    A field that the entry's method does not have is a field of the protocol, as in
    `MF@negatives=resampled`.
    """

    base: str
    changes: Mapping[str, Any]

    @staticmethod
    @cache
    def parse(name: str) -> "Variant":
        """Parse a name from a table or cell; a name without `@` is the entry itself."""
        base, _, given = name.partition("@")
        pairs = (change.partition("=") for change in given.split(",") if change)
        return Variant(base, {field: yaml.safe_load(value) for field, _, value in pairs})

    @property
    def name(self) -> str:
        """The name that `parse` reads as this variant."""
        texts = {field: _text(value) for field, value in self.changes.items()}
        changes = ",".join(f"{field}={text}" for field, text in texts.items())
        return f"{self.base}@{changes}" if changes else self.base

    def with_value(self, field: str, value: Any) -> "Variant":
        """Return the variant with another value of a field.

        Raises:
            ValueError: the value cannot be part of a name.
        """
        changed = Variant(self.base, {**self.changes, field: value})
        if not re.fullmatch(NAME, changed.name) or Variant.parse(changed.name) != changed:
            raise ValueError(
                f"{field}: {value!r} cannot be part of a cell's name; "
                "give the value in an entry of the config"
            )
        return changed


def _text(value: Any) -> str:
    """Return a value as YAML reads it: a small float needs a point, or YAML reads it as text."""
    text = json.dumps(value).strip('"')
    mantissa, e, exponent = text.partition("e")
    return (
        f"{mantissa}.0e{exponent}" if isinstance(value, float) and e and "." not in text else text
    )


class Switch(Section):
    """A point on which the paper's text and its authors' code differ, and the value used here."""

    group: Literal["models", "attacks", "defenses", "protocol"]
    kind: str  # of the method; `protocol` for a field of the protocol
    field: str
    meaning: str
    paper: Any
    code: Any
    ours: Any

    @property
    def other(self) -> Any:
        """The value that is not used."""
        return self.code if self.ours == self.paper else self.paper

    def applied(self, cell: Cell, value: Any) -> Cell:
        """Return the cell with this switch set to a value, if the switch concerns the cell."""
        if self.group == "models":
            return cell.model_copy(update={"model": self._variant(cell.model, value)})
        if self.group == "attacks" and cell.attack != BASELINE:
            return cell.model_copy(update={"attack": self._variant(cell.attack, value)})
        if self.group in ("defenses", "protocol") and cell.defense != PLAIN:
            return cell.model_copy(update={"defense": self._variant(cell.defense, value)})
        return cell

    def _variant(self, name: str, value: Any) -> str:
        return Variant(name, {self.field: value}).name
