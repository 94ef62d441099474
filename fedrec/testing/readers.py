"""The rules for every reader of a dataset's files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedrec.data.interactions import Counts, Interactions
from fedrec.data.readers.of_packages import Reader
from fedrec.errors import DataError
from fedrec.testing.rules import hyper_parameters_are_frozen_strict_and_described


def check_reader(
    reader: Reader, paths: Sequence[Path], users: int, items: int, interactions: int
) -> None:
    """Check a reader on files whose number of users, items and interactions is known.

    Raises:
        AssertionError: a rule is broken; the message has the rule's name and requirement.
    """
    hyper_parameters_are_frozen_strict_and_described(type(reader))
    for rule in READER_RULES:
        told = f"{type(reader).__name__}: {rule.__name__.replace('_', ' ')}: {rule.__doc__}"
        assert rule(reader, paths, Counts(users, items, interactions)), told


def every_interaction_is_read(reader: Reader, paths: Sequence[Path], counts: Counts) -> bool:
    """It must find as many users, items and interactions as the files have."""
    return reader.read(paths).counts == counts


def the_log_is_in_order(reader: Reader, paths: Sequence[Path], counts: Counts) -> bool:
    """It must sort by user and time, with ids that count from 0; `from_columns` does this."""
    found = reader.read(paths)
    in_order = np.lexsort((found.time, found.user)) == np.arange(len(found.user))
    return bool(in_order.all()) and _counts_from_0(found)


def the_same_files_give_the_same_log(reader: Reader, paths: Sequence[Path], counts: Counts) -> bool:
    """It must give the same checksum each time."""
    return reader.read(paths).checksum == reader.read(paths).checksum


def a_broken_file_is_refused(reader: Reader, paths: Sequence[Path], counts: Counts) -> bool:
    """It must raise a DataError that names the file, if the file is missing."""
    missing = paths[0].with_name(f"no-{paths[0].name}")
    try:
        reader.read([missing, *paths[1:]])
    except DataError as error:
        return missing.name in str(error)
    except Exception:
        return False
    return False


READER_RULES = (
    every_interaction_is_read,
    the_log_is_in_order,
    the_same_files_give_the_same_log,
    a_broken_file_is_refused,
)


def _counts_from_0(found: Interactions) -> bool:
    ids = ((found.user, found.n_users), (found.item, found.n_items))
    return all(np.array_equal(np.unique(some), np.arange(count)) for some, count in ids)
