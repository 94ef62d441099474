"""The methods, which are found rather than listed: one per file in this package, and plug-ins.

Another package offers methods through entry points, whose names are the kinds used in configs:

    [project.entry-points."fedrec.attacks"]
    silence = "my_package.silence:Silence"

The groups are `fedrec.attacks`, `fedrec.defenses` and `fedrec.models`.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from fedrec import __version__, attacks, defenses, models
from fedrec.errors import ConfigError

FOLDERS = {"models": models, "attacks": attacks, "defenses": defenses}
OURS = "fedrec"


@dataclass(frozen=True)
class Method:
    """An attack, a defence or a model, and the package that offers it."""

    kind: str
    type: type
    package: str
    version: str

    @property
    def is_plug_in(self) -> bool:
        """Whether another package offers the method."""
        return self.package != OURS


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


def find_plug_ins(group: str, offered: Iterable[EntryPoint] | None = None) -> Iterator[Method]:
    """Yield the methods of a group that other packages offer, by default the installed ones.

    Raises:
        ConfigError: a method cannot be loaded, or is not a class of settings.
    """
    found = entry_points(group=f"{OURS}.{group}") if offered is None else offered
    for entry in sorted(found, key=lambda entry: (entry.name, entry.value)):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")
        yield Method(entry.name, _loaded(entry, group, f"{package} {version}"), package, version)


def joined(group: str, methods: Iterable[Method]) -> dict[str, Method]:
    """Return methods by kind.

    Raises:
        ConfigError: two packages offer the same kind.
    """
    found: dict[str, Method] = {}
    for method in methods:
        if other := found.get(method.kind):
            names = " and ".join(f"{one.package} {one.version}" for one in (other, method))
            raise ConfigError(
                f"{names} both offer `{method.kind}` in `{group}`: uninstall one of them, or "
                "rename its entry point"
            )
        found[method.kind] = method
    return found


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


def _loaded(entry: EntryPoint, group: str, package: str) -> type:
    """Return the class that an entry point names."""
    where = f'{package}: the entry point {entry.name} = "{entry.value}" in {OURS}.{group}'
    if not re.fullmatch("[a-z][a-z0-9_]*", entry.name):
        raise ConfigError(f"{where} is not a kind: name it in lower case, such as my_method")
    try:
        found = entry.load()
    except Exception as error:
        text = f"cannot be loaded ({type(error).__name__}: {error})"
        raise ConfigError(f"{where} {text}: repair or uninstall the package") from error
    if not isinstance(found, type) or "__pydantic_fields__" not in vars(found):
        text = "is not a class of settings: decorate it with `fedrec.settings.settings`"
        raise ConfigError(f"{where} {text}")
    return found


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
