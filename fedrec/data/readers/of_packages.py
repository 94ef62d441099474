"""Readers of other packages, for file formats that fedrec does not read itself.

A package offers a reader through an entry point, named like the `kind` in a dataset's entry:

    [project.entry-points."fedrec.readers"]
    json_lists = "my_package.json_lists:JsonLists"
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import AfterValidator, TypeAdapter, ValidationError

from fedrec.data.interactions import Interactions
from fedrec.plug_ins import Method, find_plug_ins, joined
from fedrec.yaml_files import nearest_name


@runtime_checkable
class Reader(Protocol):
    """Reads the files of a dataset. A frozen class of settings (`fedrec.settings.settings`)."""

    def read(self, paths: Sequence[Path]) -> Interactions:
        """Return the interactions in the files `paths`, which `from_columns` can build.

        Raises:
            DataError: a file cannot be read, or is malformed. The message names file and line.
        """
        ...


@cache
def readers() -> Mapping[str, Method]:
    """Return the installed readers by their kinds.

    Raises:
        ConfigError: two packages offer one kind, or one cannot be loaded.
    """
    return joined("readers", find_plug_ins("readers"))


def reader(values: Mapping[str, Any]) -> Reader:
    """Return the reader of a dataset's entry: its `kind`, and values for its settings.

    Raises:
        ValueError: no installed package offers the kind, or a setting is unknown or has a wrong
            value.
    """
    kind = values.get("kind")
    if not isinstance(kind, str):
        raise ValueError("name the reader's `kind`; `fedrec list readers` shows them")
    if kind not in readers():
        hint = nearest_name(kind, readers()) if readers() else ""
        raise ValueError(f"no reader `{kind}` here: install the package that offers it{hint}")
    settings = {name: value for name, value in values.items() if name != "kind"}
    try:
        made: object = TypeAdapter(readers()[kind].type).validate_json(json.dumps(settings))
    except ValidationError as error:
        raise ValueError("; ".join(_told(problem) for problem in error.errors())) from None
    if not isinstance(made, Reader):
        raise ValueError(f"`{kind}` has no method `read`: add it to {type(made).__name__}")
    return made


def _told(problem: Mapping[str, Any]) -> str:
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    reader(values)
    return values


ReaderEntry = Annotated[dict[str, Any], AfterValidator(_checked)]
