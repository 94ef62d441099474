"""Tables of fields, in Markdown: name, type, default, meaning."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(heads), ["---"] * len(heads), *map(list, rows)]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def described(info: FieldInfo) -> tuple[str, str, str]:
    """The type of a field with its bounds, its default, and what it means."""
    return type_of(info.annotation, info.metadata), default_of(info), info.description or ""


def fields_of(cls: Any) -> Mapping[str, FieldInfo]:
    """The fields of a section or of a class of hyper-parameters, whichever it is."""
    found = getattr(cls, "model_fields", None) or vars(cls).get("__pydantic_fields__")
    if found is not None:
        return found
    return {field.name: _plain(cls, field) for field in dataclasses.fields(cls)}


def type_of(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in words, such as `integer ≥ 1` or `"clip"` or `"rescale"`."""
    bounds = [
        f"{sign} {getattr(part, name):g}"
        for part in metadata
        for name, sign in BOUNDS.items()
        if getattr(part, name, None) is not None
    ]
    return " ".join([_words(annotation), " and ".join(bounds)]).strip()


def default_of(info: FieldInfo) -> str:
    """A default as YAML has it."""
    if info.default_factory is not None:
        made = info.default_factory()  # type: ignore[call-arg]
        return "empty" if made in ({}, ()) else "its own defaults"
    return "required" if info.default is PydanticUndefined else value(info.default)


def value(given: Any) -> str:
    """A value as YAML has it."""
    if given is None:
        return "none"
    if isinstance(given, bool):
        return f"`{str(given).lower()}`"
    if isinstance(given, (tuple, list)):
        return f"`[{', '.join(map(str, given))}]`"
    return f"`{given}`" if str(given).strip() else f'`"{given}"`'


def _words(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return "none"
    if origin is Literal:
        return _either([f"`{part}`" for part in parts])
    if origin is typing.Annotated:
        return type_of(parts[0], parts[1:])
    if origin in (typing.Union, types.UnionType):
        return _either([_words(part) for part in parts if part is not type(None)])
    if origin in (tuple, list):
        if len(parts) == 1:
            return f"list of one {_words(parts[0])}"
        return f"list of {_words(parts[0])}{'s' if parts[0] in (int, float) else ''}"
    if origin is not None and issubclass(origin, Mapping):
        return f"{_words(parts[1])} by name"
    names = {int: "integer", float: "number", bool: "true or false", str: "text"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _plain(cls: Any, field: dataclasses.Field[Any]) -> FieldInfo:
    """A field of a plain dataclass."""
    hint = typing.get_type_hints(cls, include_extras=True)[field.name]
    if field.default is not dataclasses.MISSING:
        return FieldInfo.from_annotated_attribute(hint, field.default)
    if field.default_factory is not dataclasses.MISSING:
        return FieldInfo(annotation=hint, default_factory=field.default_factory)
    return FieldInfo.from_annotation(hint)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
