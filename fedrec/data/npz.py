"""Named arrays in `.npz` files: written atomically, with equal bytes for equal arrays."""

import hashlib
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from fedrec.errors import DataError
from fedrec.files import replaced

# Everything that NumPy and zipfile raise for archives that are damaged or not archives.
DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, EOFError, MemoryError),
    *(RuntimeError, BadZipFile, struct.error, zlib.error),
)

Arrays = Mapping[str, np.ndarray]


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write `arrays` to the `.npz` file `path` atomically."""
    with replaced(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(
    path: Path, names: Collection[str], schema: int | None = None
) -> dict[str, np.ndarray]:
    """Read the arrays `names` from the file `path`, and check its array `schema`.

    Raises:
        DataError: the file is missing or damaged, lacks one of the names, or has another schema.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            # NumPy reads only as far as an array's header says, and the header may be damaged.
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
    """Return the sha256 over names, types, shapes and values, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
