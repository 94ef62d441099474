"""How loops are compiled, once for each machine, and where that is kept.

numba keeps a compiled function until the function's own file changes, whatever becomes of those
that it calls elsewhere. So loops are kept in a folder that is named after all files of this one:
after a change of any of them, all loops are compiled anew.
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
# In a named tuple: a tensor, or an array of the same memory, which is what loops take
Array: TypeAlias = Any

HERE = Path(__file__).parent
config: Any = numba_config  # whose settings a type checker does not see


def on_cpu(tensor: Tensor) -> bool:
    """Whether compiled loops can work on a tensor."""
    return tensor.device.type == "cpu"


def arrays(tensors: Any) -> Any:
    """A named tuple of tensors on the CPU as one of arrays of the same memory."""
    return type(tensors)(*(tensor.numpy() for tensor in tensors))


def compiled(**options: Any) -> Callable[[F], F]:
    """numba's `njit` of a function that threads may run side by side.

    A type checker that the tests wrap around every function is taken off first.
    """
    compile = njit(cache=CACHE is not None, nogil=True, error_model="numpy", **options)

    def decorate(function: F) -> F:
        with _kept_in(CACHE):
            return compile(inspect.unwrap(function))

    return decorate


def digest(folder: Path) -> str:
    """A short name for what the Python files of a folder hold."""
    files = sorted(folder.glob("*.py"))
    whole = b"".join(hashlib.blake2b(file.read_bytes()).digest() for file in files)
    return hashlib.blake2b(whole, digest_size=8).hexdigest()


def cache_folder() -> str | None:
    """Where to keep compiled loops: in NUMBA_CACHE_DIR, beside this file, or in the user's cache.

    The first of these that can be written; None: nowhere.
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
    """Have numba keep what is decorated meanwhile in a folder.

    Afterwards its setting is the user's again: other packages' functions lie where they did.
    """
    before, config.CACHE_DIR = config.CACHE_DIR, folder or ""
    try:
        yield
    finally:
        config.CACHE_DIR = before


CACHE = cache_folder()
