"""JsonLists: one JSON object, with a user's items in order under the user's name."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from fedrec.data.interactions import Interactions, from_columns
from fedrec.errors import DataError
from fedrec.settings import settings


@settings
class JsonLists:
    """Files such as `{"ann": ["song 1", "song 2"]}`; the position in a list is the time."""

    encoding: str = Field(default="utf-8", description="The encoding of the files.")

    def read(self, paths: Sequence[Path]) -> Interactions:
        """Return the interactions of all files."""
        rows = [row for path in paths for row in self._rows(path)]
        users, items, times = (np.array(column) for column in zip(*rows, strict=True))
        return from_columns(users, items, times.astype(np.int64))

    def _rows(self, path: Path) -> list[tuple[str, str, int]]:
        try:
            lists = json.loads(path.read_text(self.encoding))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}): check its name") from None
        except ValueError as error:
            raise DataError(f"{path}: is not JSON ({error}): correct it") from None
        return [(u, item, time) for u, items in lists.items() for time, item in enumerate(items)]
