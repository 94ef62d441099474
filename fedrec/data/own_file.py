"""A dataset without the workflow: from its entry to its split."""

import json
from pathlib import Path
from typing import Any

from fedrec.data.dataset import Dataset
from fedrec.data.interactions import Interactions
from fedrec.data.split import Split, leave_one_out
from fedrec.errors import DataError


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
