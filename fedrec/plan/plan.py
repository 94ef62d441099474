"""A study's tables and figures and the cells they need, without the methods themselves.

Nothing here needs PyTorch, so tables and figures can be made again without PyTorch installed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from fedrec.errors import ConfigError
from fedrec.extending import in_full
from fedrec.files import NAME
from fedrec.plan.blocks import Figure, Scorecard, Table
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.metrics import Report
from fedrec.plan.variants import Switch, Variant
from fedrec.yaml_files import explain

Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Folder = Annotated[str, Field(pattern=f"^/?{NAME}(/{NAME})*$")]


class Plan(BaseModel):
    """The part of a study that tables and figures need; the methods' settings are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    results: Folder = Field(default="results", description="Folder for everything the study makes.")
    note: str = Field(default="", description="Note shown on every table, figure and page.")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    report: Report = Field(
        default="best_val", description="Round whose test metrics count: best validation or last."
    )
    datasets: dict[Name, Any]
    attacks: dict[Name, Any]
    defenses: dict[Name, Any]
    tables: dict[Name, Table] = Field(default_factory=dict)
    figures: dict[Name, Figure] = Field(default_factory=dict)
    claims: Scorecard | None = None

    @staticmethod
    def read(values: Mapping[str, Any], paths: Sequence[Path | str] = ()) -> "Plan":
        """Read the plan from a config, without checking the rest of the config.

        Raises:
            ConfigError: a value is not valid.
        """
        full = in_full(values, paths)
        try:
            return Plan.model_validate_json(json.dumps(full.values, default=str))
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, full.paths, lambda place: ())) from None

    def blocks(self) -> Mapping[str, Table | Figure]:
        """Return every table and figure by name."""
        return {**self.tables, **self.figures}

    def cells(self, block: Table | Figure) -> list[Cell]:
        """Return the training jobs that a table or figure needs."""
        return block.cells(self)

    @property
    def reckons_losses(self) -> bool:
        """Whether the study has a run without attack and defence to compare with."""
        return BASELINE in self.attacks and PLAIN in self.defenses

    def switches_of(
        self, models: Sequence[str], attacks: Sequence[str], defenses: Sequence[str]
    ) -> Sequence[Switch]:
        """Return no switches between text and code: they belong to the methods, not read here."""
        return ()

    def distinct(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return each cell once; without an attack, the ratio of malicious clients becomes 0."""
        return list(
            dict.fromkeys(
                cell.model_copy(update={"ratio": 0.0}) if self._harmless(cell) else cell
                for cell in cells
            )
        )

    def _harmless(self, cell: Cell) -> bool:
        entry = self.attacks[Variant.parse(cell.attack).base]
        kind = entry["kind"] if isinstance(entry, Mapping) else entry.kind
        return kind == "no_attack"
