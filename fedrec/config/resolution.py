"""The value and origin of each setting: layers of values, each with its place in the config."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedrec.config.entries import fields_of, given_by
from fedrec.plan.cells import Cell
from fedrec.settings import Preset, preset_values, written
from fedrec.yaml_files import Place


@dataclass(frozen=True)
class Layer:
    """Values of some fields, and their origin: a key of the config, or the cell's name."""

    origin: str
    values: Mapping[str, Any]
    place: Place = ()  # of that key; empty for a name


@dataclass(frozen=True)
class Part:
    """One method of a cell, or its protocol: its type, and the layers that set its fields."""

    kind: str
    type: type
    layers: Sequence[Layer]

    def settings(self) -> dict[str, Any]:
        """Return every field with its value.

        Raises:
            ValueError: a value is not valid.
        """
        return dataclasses.asdict(self._made())

    def written(self) -> dict[str, Any]:
        """Return the fields as records state them (`fedrec.settings.written`).

        Raises:
            ValueError: a value is not valid.
        """
        return written(self._made())

    def origin(self, field: str) -> Layer | None:
        """Return the last layer that sets a field; None if the field has its default."""
        return next((layer for layer in reversed(self.layers) if field in layer.values), None)

    def _made(self) -> Any:
        given = {name: value for layer in self.layers for name, value in layer.values.items()}
        return self.type(**given)


def entry_layers(
    entry: Any, method: type, place: Place, study: Preset, cell: Cell
) -> Iterator[Layer]:
    """Yield the layers of a preset, an entry and its matching `where` cases."""
    named = (*place, "preset") if entry.preset else ("preset",)
    yield preset_layer(method, entry.preset or study, named)
    yield Layer("config", given_by(entry), place)
    for i, case in enumerate(entry.where):
        if case.dataset in (None, cell.dataset) and case.model in (None, cell.model):
            yield Layer("config", given_by(case), (*place, "where", i))


def preset_layer(method: type, preset: Preset, place: Place) -> Layer:
    """Return the values that a preset gives a method, and the key that selects the preset."""
    return Layer(f"preset {preset}", preset_values(method, preset), place)


def name_layer(name: str, changes: Mapping[str, Any], method: type) -> Layer:
    """Return the values that a variant's name gives a method."""
    known = fields_of(method)
    return Layer(f"name {name}", {k: v for k, v in changes.items() if k in known})
