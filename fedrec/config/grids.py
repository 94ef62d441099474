"""What may be wrong about the grid of a table or figure, given the study's methods."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fedrec.plan.blocks import Figure, Table
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.grid import PARTS, RATIO, Value, setting_in, varies
from fedrec.plan.variants import Variant
from fedrec.yaml_files import Place, Problem

if TYPE_CHECKING:
    from fedrec.config.study import Study


def unknown_fields(study: "Study", place: Place, block: Table | Figure) -> Iterator[Problem]:
    """Yield the fields of a grid that an entry of the block does not have."""
    for key in getattr(block, "grid", ()):
        part, _, field = key.partition(".")
        group = PARTS.get(part, "")
        for name in getattr(block, group, ()):
            base = Variant.parse(name).base
            if base in getattr(study, group) and base not in (BASELINE, PLAIN):
                yield from study.dangling((*place, "grid", key), group, f"{base}@{field}=0")


def wrong_names(
    study: "Study", cell: Cell, place: Place, block: Table | Figure
) -> Iterator[Problem]:
    """Yield the fields that a block calls unchanged, and that have another value in the cell."""
    for key, value in getattr(block, "unchanged", {}).items():
        part, _, field = key.partition(".")
        name = getattr(cell, part)
        if not varies(cell, key) or setting_in(cell, key) is not None:
            continue
        for own in study.values_of(cell, part, field):
            if own != value:
                text = f"{name} has {field}={own} on {cell.dataset}: give that value"
                yield (*place, "unchanged", key), text


def ratios_of(block: Table | Figure, place: Place) -> tuple[Place, Sequence[Value]]:
    """Return the place in the config of a block's ratios, and the ratios."""
    grid = getattr(block, "grid", {})
    if RATIO in grid:
        return (*place, "grid", RATIO), grid[RATIO]
    return (*place, "ratios"), getattr(block, "ratios", ())
