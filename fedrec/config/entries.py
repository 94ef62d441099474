"""The types of config entries, which are generated from the methods."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union

import pydantic
from pydantic import BaseModel, Field, create_model

from fedrec.config.methods import KINDS
from fedrec.config.protocol import TrainingProtocol
from fedrec.settings import STRICT, Preset, Section


class Entry(Section):
    """A method's entry in a config. Its `kind` decides which other fields it may have."""

    # An entry that changes one of an extended file takes its kind from there. Where a kind is
    # needed, `Study` says so in the schema.
    model_config = STRICT | {"json_schema_extra": lambda schema: schema["required"].remove("kind")}


def fields_of(method: type) -> dict[str, Any]:
    """Return a method's hyper-parameters in the form that `create_model` takes."""
    found: Mapping[str, pydantic.fields.FieldInfo] = vars(method)["__pydantic_fields__"]
    return {name: (info.annotation, info) for name, info in found.items()}


def _entry_type(group: str) -> Any:
    """Return the type of one entry of a group; its `kind` decides which fields it may have."""
    entries = []
    for kind, method in KINDS[group].items():
        fields = fields_of(method)
        selectors: dict[str, Any] = {"dataset": (str | None, None), "model": (str | None, None)}
        where: Any = create_model(
            f"{method.__name__}Where",
            __base__=Section,
            __doc__="Other values for one dataset, one model, or both.",
            **selectors,
            **fields,
        )
        structure: dict[str, Any] = {
            "kind": (Literal[kind], ...),
            "preset": (Preset | None, None),
            "where": (tuple[where, ...], Field(default=())),
        }
        name = f"{method.__name__}Entry"
        entries.append(
            create_model(name, __base__=Entry, __doc__=method.__doc__, **structure, **fields)
        )
    return Annotated[Union[tuple(entries)], Field(discriminator="kind")]  # noqa: UP007


def given_by(entry: BaseModel) -> dict[str, Any]:
    """Return the hyper-parameters that an entry itself sets."""
    structure = {"kind", "preset", "where", "dataset", "model"}
    return {k: getattr(entry, k) for k in entry.model_fields_set - structure}


if TYPE_CHECKING:  # these types depend on the methods found, so they cannot be checked statically
    ProtocolEntry: TypeAlias = Any
    ModelEntry: TypeAlias = Any
    AttackEntry: TypeAlias = Any
    DefenseEntry: TypeAlias = Any
else:
    ProtocolEntry = create_model(
        "ProtocolEntry",
        __base__=Section,
        __doc__=TrainingProtocol.__doc__,
        **fields_of(TrainingProtocol),
    )
    ModelEntry = _entry_type("models")
    AttackEntry = _entry_type("attacks")
    DefenseEntry = _entry_type("defenses")
