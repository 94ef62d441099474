"""Datasets without the workflow: from a config entry to a split."""

import json
from pathlib import Path
from typing import Any

from fedrec.data.dataset import Dataset
from fedrec.data.interactions import Interactions
from fedrec.data.split import Split, leave_one_out
from fedrec.errors import DataError


def split_of(dataset: Dataset) -> Split:
    """Read, filter and split a dataset that is synthetic or stored in files on this machine.

    Raises:
        DataError: a file must be downloaded first or cannot be read, or a user has fewer than
            three interactions.
    """
    log = dataset.generator.generate() if dataset.generator else _read(dataset)
    return leave_one_out(dataset.k_core.apply(log).kept if dataset.k_core else log)


def parsed_entry(entry: dict[str, Any]) -> Dataset:
    """Convert a config entry to a `Dataset`."""
    return Dataset.model_validate_json(json.dumps(entry, default=str))


def _read(dataset: Dataset) -> Interactions:
    paths = [Path(str(getattr(file, "path", ""))) for file in dataset.raw]
    if dataset.id_lists or not all(path.is_file() for path in paths):
        raise DataError(
            "this dataset is made from downloads: make its split with the workflow, then load it"
        )
    return dataset.read(paths)
