"""Cells by name, in a table of the study or not, with changed values of some fields."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from fedrec.config.entries import fields_of
from fedrec.config.protocol import TrainingProtocol
from fedrec.config.study import ATTRIBUTES, Study
from fedrec.errors import ConfigError
from fedrec.plan.cells import Cell, cell_named
from fedrec.plan.variants import Variant
from fedrec.yaml_files import nearest_name

PROTOCOL = "protocol"


@dataclass(frozen=True)
class Change:
    """A new value for a field of a named part of the cell, or of the one part with that field."""

    part: str  # model, attack, defense, protocol, or empty
    field: str
    value: Any

    @staticmethod
    def parse(text: str) -> "Change":
        """Parse `clusters=4` or `attack.negatives=5`.

        Raises:
            ConfigError: the text has neither form.
        """
        name, equals, value = text.partition("=")
        part, _, field = name.rpartition(".")
        if not (equals and field and value) or part not in ("", PROTOCOL, *ATTRIBUTES.values()):
            raise ConfigError(
                f"--set {text}: write field=value or part.field=value, with part one "
                f"of {', '.join(ATTRIBUTES.values())}, {PROTOCOL}; for example --set clusters=4"
            )
        return Change(part, field, _value(value))


def _value(text: str) -> Any:
    """Return the value that a text has in YAML. YAML takes 1e-5 for a text; here it is a number."""
    return float(text) if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", text) else yaml.safe_load(text)


def asked(study: Study, name: str, changes: Iterable[Change] = ()) -> Cell:
    """Return the cell with a name, such as `ml-1m/MF/ClusterAttack`, and with some values changed.

    A changed value becomes part of the cell's name (`ClusterAttack@clusters=4`), so that a record
    shows its settings; a value that the cell has anyway does not. A cell that a table or figure
    lists with the same values keeps the name that it has there.

    Raises:
        ConfigError: the study has no such name or field, or the values are impossible together.
        RecordError: the text is not a cell's name.
    """
    cell = cell_named(name)
    study.check_names(cell)
    for change in changes:
        cell = _changed(study, cell, change)
    (cell,) = study.distinct([cell])
    study.check_cell(cell)
    return next((one for one in listed(study) if _alike(one) == _alike(cell)), cell)


def listed(study: Study) -> Iterator[Cell]:
    """Yield the cells of all tables and figures; a cell may occur several times."""
    for block in study.blocks().values():
        yield from study.cells(block)


def _changed(study: Study, cell: Cell, change: Change) -> Cell:
    part = change.part or _owner(study, cell, change.field)
    if part == PROTOCOL:
        return _renamed(cell, _free_part(study, cell, change.field), change)
    group = next(group for group, attribute in ATTRIBUTES.items() if attribute == part)
    known = study.fields(group, getattr(cell, part))
    if change.field not in known:
        text = f"{getattr(cell, part)} has no field {change.field!r}"
        raise ConfigError(f"--set: {text}{nearest_name(change.field, known)}")
    same = all(value == change.value for value in study.values_of(cell, part, change.field))
    return cell if same else _renamed(cell, part, change)


def _owner(study: Study, cell: Cell, field: str) -> str:
    """Return the part of a cell that has a field."""
    fields = _fields(study, cell)
    owners = [part for part, known in fields.items() if field in known]
    if not owners:
        known = {name for some in fields.values() for name in some}
        raise ConfigError(
            f"--set: no part of this cell has a field {field!r}{nearest_name(field, known)}"
        )
    if len(owners) > 1:
        raise ConfigError(
            f"--set: `{field}` is a field of {' and '.join(owners)}: write {owners[0]}.{field}=…"
        )
    return owners[0]


def _fields(study: Study, cell: Cell) -> Mapping[str, Iterable[str]]:
    own = {part: study.fields(group, getattr(cell, part)) for group, part in ATTRIBUTES.items()}
    return {**own, PROTOCOL: fields_of(TrainingProtocol)}


def _free_part(study: Study, cell: Cell, field: str) -> str:
    """Return a part whose name can hold a field of the protocol: it has no such field itself."""
    protocol = fields_of(TrainingProtocol)
    if field not in protocol:
        raise ConfigError(
            f"--set: the protocol has no field {field!r}{nearest_name(field, protocol)}"
        )
    return next(part for part, known in _fields(study, cell).items() if field not in known)


def _renamed(cell: Cell, part: str, change: Change) -> Cell:
    try:
        changed = Variant.parse(getattr(cell, part)).with_value(change.field, change.value)
    except ValueError as error:
        raise ConfigError(f"--set {error}") from None
    return cell.model_copy(update={part: changed.name})


def _alike(cell: Cell) -> Mapping[str, Any]:
    """Return a cell's values, independent of the order of changes in its names."""
    variants = {name: Variant.parse(getattr(cell, name)) for name in ATTRIBUTES.values()}
    return cell.model_dump() | variants
