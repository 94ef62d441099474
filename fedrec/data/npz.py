"""Named arrays on disk: written atomically, byte-identical for equal arrays."""

import hashlib
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from fedrec.errors import DataError
from fedrec.files import replaced

# All that NumPy and zipfile raise over archives that are damaged or something else.
DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, EOFError, MemoryError),
    *(RuntimeError, BadZipFile, struct.error, zlib.error),
)

Arrays = Mapping[str, np.ndarray]


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write `arrays` to the `.npz` file `path`, which is replaced whole or not at all."""
    with replaced(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(
    path: Path, names: Collection[str], schema: int | None = None
) -> dict[str, np.ndarray]:
    """The arrays called `names` in the file `path`, whose array `schema` is the one given.

    Raises:
        DataError: the file is missing, damaged, lacks one of the names, or has another schema.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            # NumPy reads no further than an array's header says, which may be what is damaged.
            if damaged := archive.zip.testzip():
                raise BadZipFile(f"{damaged} is damaged")
            found = int(archive["schema"]) if "schema" in archive else None
            if found != schema:
                raise DataError(
                    f"{path}: was written by another version of fedrec (schema {found or 1}, not "
                    f"{schema or 1}): delete it and make it again, as the workflow does by itself"
                )
            return {name: archive[name] for name in names}
    except DAMAGE as error:
        raise DataError(
            f"{path}: not an .npz file with the arrays {', '.join(names)} ({error}): delete it and "
            "make it again"
        ) from error


def checksum_arrays(arrays: Arrays) -> str:
    """The sha256 over names, types, shapes and values, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
