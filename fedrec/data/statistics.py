"""Numbers of a dataset as small JSON files."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from fedrec.data.errors import DataError
from fedrec.files import write_text

T = TypeVar("T")


def save_statistics(path: Path, values: Any) -> None:
    """Write a dataclass of numbers to a file: whole or not at all."""
    write_text(path, json.dumps(dataclasses.asdict(values)) + "\n")


def load_statistics(kind: type[T], path: Path) -> T:
    """Read what `save_statistics` wrote of a dataclass.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_json(
            path.read_bytes(), strict=True, extra="forbid"
        )
    except (OSError, pydantic.ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
        raise DataError(
            f"{path}: holds no {kind.__name__.lower()} ({reason}): delete it and make it again"
        ) from None
