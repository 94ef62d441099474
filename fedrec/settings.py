"""Base classes of settings, config sections and record parts: frozen, no unknown keys."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, dataclass_transform

import pydantic
from pydantic import BaseModel, ConfigDict, Field

Preset = Literal["reproduction", "paper"]
Presets = Mapping[str, Mapping[str, Any]]

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that rejects unknown keys and wrong types.

    The defaults of the fields are the preset `reproduction`: what the authors' code does, or what
    the paper's text says if no code was published. Where text and code differ, the class has
    `PRESETS`, which gives for each preset the fields that take another value.
    """
    decorate = pydantic.dataclasses.dataclass(kw_only=True, config=STRICT)
    return decorate(cls)  # type: ignore[return-value]


def preset_values(cls: type, preset: Preset) -> Mapping[str, Any]:
    """Return the fields of `cls` that `preset` sets to something other than their defaults."""
    presets: Presets = getattr(cls, "PRESETS", {})
    return presets.get(preset, {})


def written(one: Any) -> dict[str, Any]:
    """Return the fields of an instance of a `settings` class as records state them.

    `LATER` of a class names fields that are newer than published records. At its default, such a
    field is omitted. So the settings of older records, and their hashes, stay the same.
    """
    values = dataclasses.asdict(one)
    for field in getattr(type(one), "LATER", ()):
        if values[field] == vars(type(one))["__pydantic_fields__"][field].default:
            del values[field]
    return values


class Section(BaseModel):
    """A part of the configuration: frozen, no unknown keys, no silent conversion."""

    model_config = STRICT


class RecordPart(BaseModel):
    """A part of a record: frozen, no unknown keys; JSON may have 1 for 1.0."""

    model_config = ConfigDict(extra="forbid", frozen=True)
