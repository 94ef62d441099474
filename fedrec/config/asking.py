"""Any cell by its name, in a table of the study or not, with other values of some fields."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from fedrec.config.entries import fields_of
from fedrec.config.protocol import TrainingProtocol
from fedrec.config.study import ATTRIBUTES, Study
from fedrec.errors import ConfigError
from fedrec.files import NAME
from fedrec.plan.cells import Cell, cell_named
from fedrec.plan.variants import Variant
from fedrec.yaml_files import nearest_name

PROTOCOL = "protocol"


@dataclass(frozen=True)
class Change:
    """Another value of one field, of a named part of the cell or of the one that has the field."""

    part: str  # model, attack, defense, protocol, or nothing
    field: str
    value: Any

    @staticmethod
    def parse(text: str) -> "Change":
        """`clusters=4`, or `attack.negatives=5`.

        Raises:
            ConfigError: it is neither.
        """
        name, equals, value = text.partition("=")
        part, _, field = name.rpartition(".")
        if not (equals and field and value) or part not in ("", PROTOCOL, *ATTRIBUTES.values()):
            raise ConfigError(
                f"--set {text}: write field=value or part.field=value, with part one "
                f"of {', '.join(ATTRIBUTES.values())}, {PROTOCOL}; for example --set clusters=4"
            )
        return Change(part, field, yaml.safe_load(value))


def asked(study: Study, name: str, changes: Iterable[Change] = ()) -> Cell:
    """The cell of a name, such as `ml-1m/MF/ClusterAttack`, with some values changed.

    A changed value becomes part of the cell's name (`ClusterAttack@clusters=4`), so a record says
    what it is of; one that the cell has anyway does not. A cell that a table or figure lists under
    the same values keeps the name that it has there.

    Raises:
        ConfigError: the study has no such name or field, or the values are impossible together.
        RecordError: it is no name of a cell.
    """
    cell = cell_named(name)
    study.check_names(cell)
    for change in changes:
        cell = _changed(study, cell, change)
    (cell,) = study.distinct([cell])
    study.check_cell(cell)
    return next((one for one in listed(study) if _alike(one) == _alike(cell)), cell)


def listed(study: Study) -> Iterator[Cell]:
    """The cells of all tables and figures, one by one, some of them repeatedly."""
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
    values = (
        one.settings() for one in study.parts(group, cell) if change.field in fields_of(one.type)
    )
    same = all(one[change.field] == change.value for one in values)
    return cell if same else _renamed(cell, part, change)


def _owner(study: Study, cell: Cell, field: str) -> str:
    """The part of a cell that has a field."""
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
    """The part whose name says what the protocol's field is: one that has no field of its name."""
    protocol = fields_of(TrainingProtocol)
    if field not in protocol:
        raise ConfigError(
            f"--set: the protocol has no field {field!r}{nearest_name(field, protocol)}"
        )
    return next(part for part, known in _fields(study, cell).items() if field not in known)


def _renamed(cell: Cell, part: str, change: Change) -> Cell:
    variant = Variant.parse(getattr(cell, part))
    changed = Variant(variant.base, {**variant.changes, change.field: change.value})
    if not re.fullmatch(NAME, changed.name) or Variant.parse(changed.name) != changed:
        raise ConfigError(
            f"--set {change.field}: {change.value!r} cannot be part of a cell's name; "
            "give the value in an entry of the config"
        )
    return cell.model_copy(update={part: changed.name})


def _alike(cell: Cell) -> Mapping[str, Any]:
    """A cell as its values have it, whatever the order in its name."""
    variants = {name: Variant.parse(getattr(cell, name)) for name in ATTRIBUTES.values()}
    return cell.model_dump() | variants
