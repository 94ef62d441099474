"""The settings of a method that `fedrec tune` compares, each with its cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedrec.config.asking import Change, asked
from fedrec.config.study import Study
from fedrec.errors import ConfigError
from fedrec.plan.cells import Cell, cell_named, cell_path
from fedrec.plan.grid import PARTS, Tuning, settings_of
from fedrec.plan.variants import Variant
from fedrec.yaml_files import nearest_name


@dataclass(frozen=True)
class Point:
    """One combination of the grid's values, and its cell for each seed."""

    settings: Mapping[str, Any]
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The values, such as `bound=0.1`."""
        return ", ".join(f"{field}={value}" for field, value in self.settings.items())


def points(study: Study, name: str) -> list[Point]:
    """Return what `fedrec tune` trains for an entry.

    A point with the values that the entry has anyway has the cells of the study.

    Raises:
        ConfigError: the study has no such tuning, or its cell or a value is not valid.
    """
    if name not in study.tuning:
        close = nearest_name(name, study.tuning)
        raise ConfigError(f"no {name!r} under `tuning`{close}; give its cell and its grid there")
    tuning = study.tuning[name]
    cell = cell_named(tuning.cell)
    study.check_names(cell)
    part = _part_of(study, name, cell)
    return [
        Point(
            settings,
            tuple(
                asked(
                    study,
                    cell_path(cell.model_copy(update={"seed": seed})),
                    [Change(part, field, value) for field, value in settings.items()],
                )
                for seed in tuning.seeds
            ),
        )
        for settings in settings_of(tuning.grid)
    ]


def group_of(study: Study, name: str) -> str:
    """Return the section of the config with the entry that a tuning concerns."""
    return PARTS[_part_of(study, name, cell_named(study.tuning[name].cell))]


def _part_of(study: Study, name: str, cell: Cell) -> str:
    """Return the part of a cell that a method of this name plays; check the grid's fields."""
    tuning: Tuning = study.tuning[name]
    part = next((p for p in PARTS if Variant.parse(getattr(cell, p)).base == name), None)
    if part is None:
        raise ConfigError(
            f"tuning.{name}.cell: {tuning.cell} does not have {name}: name a cell that has it"
        )
    known = study.fields(PARTS[part], name)
    for field in tuning.grid:
        if field not in known:
            close = nearest_name(field, known)
            raise ConfigError(f"tuning.{name}.grid: {name} has no field {field!r}{close}")
    return part
