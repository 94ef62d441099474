"""Grids: values of single fields, which turn a cell into its variants."""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, TypeAlias

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.variants import Variant
from fedrec.settings import Section

RATIO = "ratio"
PARTS = {"model": "models", "attack": "attacks", "defense": "defenses"}  # and the config's sections
KEY = rf"{RATIO}|({'|'.join(PARTS)})\.\w+"
Value: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr
Values = Annotated[tuple[Value, ...], Field(min_length=1)]
Grid: TypeAlias = Mapping[str, Values]


class Tuning(Section):
    """Values of a method's fields, which `fedrec tune` compares by validation HR@5."""

    cell: str = Field(description="A cell with the method, such as `ml-1m/MF/NoAttack/NormBound`.")
    grid: Annotated[Grid, Field(min_length=1)] = Field(
        description="Values of the method's fields, such as `bound: [0.05, 0.1]`; every "
        "combination of them is trained."
    )
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = Field(
        default=(0,), description="Seeds to train with; the mean over them counts."
    )


def check_grid(grid: Grid) -> None:
    """Check the keys of a grid, and that its values can be parts of a cell's name.

    Raises:
        ValueError: a key or a value is not valid.
    """
    for key, values in grid.items():
        if not re.fullmatch(KEY, key):
            parts = ", ".join(f"{part}.FIELD" for part in PARTS)
            raise ValueError(f"grid: {key!r} is not a key: give {RATIO}, {parts}")
        for value in values:
            if key != RATIO:
                Variant.parse("entry").with_value(key.partition(".")[2], value)
            elif isinstance(value, bool | str):
                raise ValueError(f"{key}: {value!r} is not a number; give shares such as 0.01")


def settings_of(grid: Grid) -> Iterator[dict[str, Value]]:
    """Yield every combination of a grid's values, by key."""
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def varies(cell: Cell, key: str) -> bool:
    """Return whether a grid changes a field of a cell: not of no attack and no defence.

    Losses refer to these.
    """
    part = key.partition(".")[0]
    return key == RATIO or Variant.parse(getattr(cell, part)).base not in (BASELINE, PLAIN)


def with_setting(cell: Cell, key: str, value: Value) -> Cell:
    """Return a cell with another value of one field, if that varies; the cell's name says so.

    Raises:
        ValueError: the value cannot be part of a name.
    """
    if key == RATIO:
        return cell.model_copy(update={RATIO: float(value)})
    if not varies(cell, key):
        return cell
    part, _, field = key.partition(".")
    changed = Variant.parse(getattr(cell, part)).with_value(field, value)
    return cell.model_copy(update={part: changed.name})


def setting_in(cell: Cell, key: str) -> Value | None:
    """Return the value that a cell's name gives to a field; None if it gives none."""
    if key == RATIO:
        return cell.ratio or None
    part, _, field = key.partition(".")
    return Variant.parse(getattr(cell, part)).changes.get(field)


def without_setting(cell: Cell, key: str) -> Cell:
    """Return the cell that `with_setting` started from; its ratio becomes 0 if that was set."""
    if key == RATIO:
        return cell.model_copy(update={RATIO: 0.0})
    part, _, field = key.partition(".")
    variant = Variant.parse(getattr(cell, part))
    kept = {name: value for name, value in variant.changes.items() if name != field}
    return cell.model_copy(update={part: Variant(variant.base, kept).name})
