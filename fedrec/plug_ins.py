"""Classes of settings that other packages offer through entry points."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from fedrec.errors import ConfigError

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
