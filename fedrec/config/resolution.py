"""What a setting is and where it comes from: layers, each with its place in the config."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedrec.config.entries import fields_of, given_by
from fedrec.plan.cells import Cell
from fedrec.settings import Preset, preset_values
from fedrec.yaml_files import Place


@dataclass(frozen=True)
class Layer:
    """Values of some fields, and what says so: a key of the config, or the cell's name."""

    origin: str
    values: Mapping[str, Any]
    place: Place = ()  # of the key that says so; nothing for a name


@dataclass(frozen=True)
class Part:
    """One method of a cell, or its protocol: its type, and what is said of its fields."""

    kind: str
    type: type
    layers: Sequence[Layer]

    def settings(self) -> dict[str, Any]:
        """Every field written out.

        Raises:
            ValueError: a value is impossible.
        """
        given = {name: value for layer in self.layers for name, value in layer.values.items()}
        return dataclasses.asdict(self.type(**given))

    def origin(self, field: str) -> Layer | None:
        """The last layer that sets a field; None where its default holds."""
        return next((layer for layer in reversed(self.layers) if field in layer.values), None)


def entry_layers(
    entry: Any, method: type, place: Place, study: Preset, cell: Cell
) -> Iterator[Layer]:
    """What a preset, an entry and its fitting `where` cases say."""
    named = (*place, "preset") if entry.preset else ("preset",)
    yield preset_layer(method, entry.preset or study, named)
    yield Layer("config", given_by(entry), place)
    for i, case in enumerate(entry.where):
        if case.dataset in (None, cell.dataset) and case.model in (None, cell.model):
            yield Layer("config", given_by(case), (*place, "where", i))


def preset_layer(method: type, preset: Preset, place: Place) -> Layer:
    """What a preset says of a method, and which key chooses the preset."""
    return Layer(f"preset {preset}", preset_values(method, preset), place)


def name_layer(name: str, changes: Mapping[str, Any], method: type) -> Layer:
    """What a variant's name says of a method's fields."""
    known = fields_of(method)
    return Layer(f"name {name}", {k: v for k, v in changes.items() if k in known})
