"""Copies of the project, in which loops that are compiled already need not be compiled again."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from numba import config
from numba.core.caching import UserWideCacheLocator

from fedrec.kernels.compiled import CACHE, HERE

ROOT = Path(__file__).parents[1]


def copy_project(folder: Path, parts: Iterable[str]) -> None:
    """Copy files and folders of the project into a new folder, with what is compiled."""
    for part in parts:
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns("fedrec-*") if part == "fedrec" else None
            shutil.copytree(ROOT / part, folder / part, ignore=ignore)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / part, folder)
    share_compiled(folder / "fedrec" / "kernels")


def share_compiled(kernels: Path) -> None:
    """Let a copy of `fedrec/kernels` use the compiled loops of the project, and add to them.

    Inside its cache, numba names a folder after the path of the source, so a copy would find none.
    """
    if CACHE is None:
        return
    cache = Path(CACHE)
    theirs = cache if config.CACHE_DIR else kernels / "__pycache__" / cache.name
    theirs.mkdir(parents=True, exist_ok=True)
    ours = cache / folder_of(HERE)
    ours.mkdir(exist_ok=True)
    link = theirs / folder_of(kernels)
    link.unlink(missing_ok=True)
    link.symlink_to(ours)


def folder_of(kernels: Path) -> str:
    """Return numba's name for the folder of what is compiled from files in `kernels`."""
    return UserWideCacheLocator.get_suitable_cache_subpath(str(kernels / "any.py"))
