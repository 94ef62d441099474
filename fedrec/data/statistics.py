"""Statistics of a dataset in small JSON files."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from fedrec.errors import DataError
from fedrec.files import sealed, unsealed, write_text

T = TypeVar("T")


def save_statistics(path: Path, values: Any) -> None:
    """Write a dataclass of numbers with its checksum to a file, atomically."""
    write_text(path, json.dumps(sealed(dataclasses.asdict(values))) + "\n")


def load_statistics(kind: type[T], path: Path) -> T:
    """Read a dataclass that `save_statistics` wrote.

    Raises:
        DataError: the file is missing or has other contents.
    """
    try:
        values = json.dumps(unsealed(path.read_bytes()))
        return pydantic.TypeAdapter(kind).validate_json(values, strict=True, extra="forbid")
    except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors
        reason = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
        raise DataError(
            f"{path}: has no {kind.__name__.lower()} ({reason}): delete it and make it again"
        ) from None
