"""How settings, sections of a config and parts of records are declared: frozen, no unknown key."""

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
    """Make `cls` a frozen, keyword-only dataclass that refuses unknown keys and wrong types.

    Field defaults are the preset `reproduction`: what the authors' code does, or the paper's text
    where they published no code. A class of which the text says something else also carries
    `PRESETS`, which says, per preset, the fields that take another value.
    """
    decorate = pydantic.dataclasses.dataclass(kw_only=True, config=STRICT)
    return decorate(cls)  # type: ignore[return-value]


def preset_values(cls: type, preset: Preset) -> Mapping[str, Any]:
    """The fields of `cls` that `preset` sets otherwise than its defaults."""
    presets: Presets = getattr(cls, "PRESETS", {})
    return presets.get(preset, {})


class Section(BaseModel):
    """A part of the configuration: frozen, no unknown key, no silent conversion."""

    model_config = STRICT


class RecordPart(BaseModel):
    """A part of a record: frozen, no unknown key; JSON may say 1 for 1.0."""

    model_config = ConfigDict(extra="forbid", frozen=True)
