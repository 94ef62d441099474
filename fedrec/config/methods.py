"""The methods, which are found rather than listed: one per file in this package, and plug-ins.

Another package offers methods through entry points, whose names are the kinds used in configs:

    [project.entry-points."fedrec.attacks"]
    silence = "my_package.silence:Silence"

The groups are `fedrec.attacks`, `fedrec.defenses` and `fedrec.models`.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from fedrec import __version__, attacks, defenses, models
from fedrec.errors import ConfigError
from fedrec.plug_ins import OURS, Method, find_plug_ins, joined

FOLDERS = {"models": models, "attacks": attacks, "defenses": defenses}


def find_methods(package: ModuleType) -> Mapping[str, type]:
    """Return every method in a folder: file name -> the class with the file's name.

    `cluster_attack.py` holds `ClusterAttack`. `base.py` is not a method, and neither is a file
    whose name begins with an underscore: it holds code shared by several methods of the folder.

    Raises:
        ImportError: a file has no class with its own name.
    """
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    kinds = sorted(name for name in names if name != "base" and not name.startswith("_"))
    return {kind: _class_in(f"{package.__name__}.{kind}", kind) for kind in kinds}


def _ours(group: str) -> Iterator[Method]:
    for kind, method in find_methods(FOLDERS[group]).items():
        yield Method(kind, method, OURS, __version__)


def _class_in(path: str, kind: str) -> type:
    wanted = kind.replace("_", "")
    for name, value in vars(importlib.import_module(path)).items():
        if name.lower() == wanted and isinstance(value, type):
            return value
    raise ImportError(
        f"{path.replace('.', '/')}.py: contains no class named like the file "
        f"(expected {''.join(part.capitalize() for part in kind.split('_'))})"
    )


METHODS: Mapping[str, Mapping[str, Method]] = {
    group: joined(group, [*_ours(group), *find_plug_ins(group)]) for group in FOLDERS
}
KINDS: Mapping[str, Mapping[str, type]] = {
    group: {kind: method.type for kind, method in found.items()} for group, found in METHODS.items()
}


def plug_ins(kinds: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the packages other than this one that offer kinds, by group, with their versions."""
    used = (METHODS[group][kind] for group, some in kinds.items() for kind in some)
    return {method.package: method.version for method in used if method.is_plug_in}


def build(group: str, values: Mapping[str, Any], packages: Mapping[str, str]) -> Any:
    """Build the method described by written values; `packages` are the plug-ins they name.

    Raises:
        ConfigError: no installed package offers the method.
    """
    kind = values["kind"]
    if kind not in KINDS[group]:
        named = ", ".join(f"{name} {version}" for name, version in packages.items())
        raise ConfigError(
            f"no `{kind}` in `{group}`: install {named or 'the package that offers it'}"
        )
    return KINDS[group][kind](**{k: v for k, v in values.items() if k != "kind"})
