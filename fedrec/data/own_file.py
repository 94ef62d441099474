"""A file of interactions that nobody has described yet: its entry in a config, and its split."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fedrec.data.columns import Known
from fedrec.data.dataset import Dataset
from fedrec.data.interactions import Interactions
from fedrec.data.split import Split, leave_one_out
from fedrec.errors import DataError


def entry_of(path: Path, known: Known | None = None) -> tuple[str, dict[str, Any]]:
    """A name for a file, and the entry that `fedrec data inspect` gives it.

    `known` is what need not be understood from the file's first lines.

    Raises:
        DataError: the file cannot be read or understood; the message says what to state.
    """
    from fedrec.data.inspection import inspect

    return entry_in(inspect(path, known or Known()).splitlines())


def entry_in(lines: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The entry for the config with which an inspection ends.

    Raises:
        DataError: it ends with none.
    """
    starts = (i for i, line in enumerate(lines) if re.match(r"\s+\S.*:$", line))
    for start in sorted(starts, reverse=True):
        found = _parsed("\n".join(lines[start:]))
        if isinstance(found, dict) and len(found) == 1:
            ((name, entry),) = found.items()
            if isinstance(entry, dict) and "source" in entry:
                return str(name), entry
    raise DataError("the file could not be turned into an entry: see `fedrec data inspect`")


def split_of(dataset: Dataset) -> Split:
    """Read, filter and split a dataset that is made up, or of files on this machine.

    Raises:
        DataError: a file has to be downloaded first, or cannot be read, or a user is too short.
    """
    log = dataset.made_up.generate() if dataset.made_up else _read(dataset)
    return leave_one_out(dataset.k_core.apply(log).kept if dataset.k_core else log)


def parsed_entry(entry: dict[str, Any]) -> Dataset:
    """An entry as the config's own type."""
    return Dataset.model_validate_json(json.dumps(entry, default=str))


def _read(dataset: Dataset) -> Interactions:
    paths = [Path(str(getattr(file, "path", ""))) for file in dataset.raw]
    if dataset.id_lists or not all(path.is_file() for path in paths):
        raise DataError(
            "this dataset is made from downloads: have the workflow make its split, then load it"
        )
    return dataset.read(paths)


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
