"""Compilation of loops, once for each machine, and the folder that caches them.

numba caches a compiled function until the function's own file changes, even if functions that it
calls in other files change. So the folder of the cache is named after the contents of all files of
this package: after a change in any of them, all loops are compiled again.
"""

import hashlib
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from numba import config as numba_config
from numba import njit
from numba.misc.appdirs import AppDirs
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])
# In a named tuple: a tensor, or an array that shares its memory, as loops need it
Array: TypeAlias = Any

HERE = Path(__file__).parent
config: Any = numba_config  # a type checker does not see its settings


def on_cpu(tensor: Tensor) -> bool:
    """Return whether compiled loops can work on a tensor."""
    return tensor.device.type == "cpu"


def arrays(tensors: Any) -> Any:
    """Convert a named tuple of CPU tensors to one of arrays that share their memory."""
    return type(tensors)(*(tensor.numpy() for tensor in tensors))


def compiled(**options: Any) -> Callable[[F], F]:
    """Return numba's `njit`, for functions that may run in several threads at a time.

    It first removes the type checker that the tests wrap around every function.
    """
    compile = njit(cache=CACHE is not None, nogil=True, error_model="numpy", **options)

    def decorate(function: F) -> F:
        with _kept_in(CACHE):
            return compile(inspect.unwrap(function))

    return decorate


def digest(folder: Path) -> str:
    """Return a short hash of the contents of the Python files in a folder."""
    files = sorted(folder.glob("*.py"))
    whole = b"".join(hashlib.blake2b(file.read_bytes()).digest() for file in files)
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


def cache_folder() -> str | None:
    """Return the folder for compiled loops, or None.

    It is in NUMBA_CACHE_DIR, beside this file, or in the user's cache: the first of these that is
    writable. None if none is.
    """
    homes = config.CACHE_DIR, HERE / "__pycache__", AppDirs("numba", False).user_cache_dir
    folders = [os.path.join(home, f"fedrec-{digest(HERE)}") for home in homes if home]
    return next(filter(_can_be_written, folders), None)


def _can_be_written(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@contextmanager
def _kept_in(folder: str | None) -> Iterator[None]:
    """Make numba cache the functions decorated in this context in a folder.

    Afterwards the user's setting is restored, so other packages' functions stay where they are.
    """
    before, config.CACHE_DIR = config.CACHE_DIR, folder or ""
    try:
        yield
    finally:
        config.CACHE_DIR = before


CACHE = cache_folder()
