"""Methods are found, not listed: a file in a folder is a method, and its name is its kind."""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType


def find_methods(package: ModuleType) -> Mapping[str, type]:
    """Every method of a folder: file name -> the class that carries the file's name.

    `cluster_attack.py` holds `ClusterAttack`. A folder's `base.py` is no method, and neither is a
    file whose name begins with an underscore: several methods of the folder share what it holds.

    Raises:
        ImportError: a file holds no class of its own name.
    """
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    kinds = sorted(name for name in names if name != "base" and not name.startswith("_"))
    return {kind: _method(f"{package.__name__}.{kind}", kind) for kind in kinds}


def _method(path: str, kind: str) -> type:
    wanted = kind.replace("_", "")
    for name, value in vars(importlib.import_module(path)).items():
        if name.lower() == wanted and isinstance(value, type):
            return value
    raise ImportError(
        f"{path.replace('.', '/')}.py: holds no class named like the file "
        f"(expected {''.join(part.capitalize() for part in kind.split('_'))})"
    )
