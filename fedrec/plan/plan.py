"""What a study makes, and from which cells: tables and figures, without the methods themselves.

Nothing here needs PyTorch, so that tables and figures can be made again where it is not installed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from fedrec.errors import ConfigError
from fedrec.files import NAME
from fedrec.records import BASELINE, PLAIN, Cell, Report
from fedrec.settings import Section
from fedrec.yaml_files import explain

Kind = Literal[
    "datasets",
    "attacks",
    "deviations",
    "training_curves",
    "attack_grid",
    "adaptive_clustering",
    "uploads",
]


Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Folder = Annotated[str, Field(pattern=f"^/?{NAME}(/{NAME})*$")]


@dataclass(frozen=True)
class Variant:
    """An entry under another value of some of its fields: `ClusterAttack@clusters=1,decay=0.9`.

    A field that the entry's method does not have is one of the protocol: `MF@negatives=resampled`.
    """

    base: str
    changes: Mapping[str, Any]

    @staticmethod
    def parse(name: str) -> "Variant":
        """A name as tables and cells give it; without `@`, the entry as it is."""
        base, _, given = name.partition("@")
        pairs = (change.partition("=") for change in given.split(",") if change)
        return Variant(base, {field: yaml.safe_load(value) for field, _, value in pairs})

    @property
    def name(self) -> str:
        """What `parse` reads."""
        texts = {field: json.dumps(value).strip('"') for field, value in self.changes.items()}
        changes = ",".join(f"{field}={text}" for field, text in texts.items())
        return f"{self.base}@{changes}" if changes else self.base


class Block(Section):
    """What one table or figure shows: every combination of the names it lists."""

    title: str
    kind: Kind
    datasets: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(default=())
    attacks: tuple[str, ...] = Field(default=())
    defenses: tuple[str, ...] = Field(default=("FedAvg",))
    ratios: tuple[float, ...] = Field(default=(0.01,), description="Shares of malicious users, m%.")
    metrics: tuple[str, ...] = Field(default=("hr@5", "ndcg@5"), description="Shown in a table.")
    seeds: tuple[int, ...] | None = Field(
        default=None, description="Instead of the study's, for what need not be repeated."
    )

    def trios(self, seeds: Sequence[int]) -> list[tuple[Cell, Cell, Cell]]:
        """For each seed: no attack, attack, and attack under the last defence (`deviations`)."""
        found = []
        for seed in self.seeds or seeds:
            attacked = Cell(
                dataset=self.datasets[0], model=self.models[0], attack=self.attacks[0],
                defense=PLAIN, ratio=self.ratios[0], seed=seed,
            )  # fmt: skip
            plain = attacked.model_copy(update={"attack": BASELINE, "ratio": 0.0})
            defended = attacked.model_copy(update={"defense": self.defenses[-1]})
            found.append((plain, attacked, defended))
        return found


class Switch(Section):
    """A point on which the paper's text and its authors' code differ, and what is used here."""

    group: Literal["models", "attacks", "defenses", "protocol"]
    kind: str  # of the method; `protocol` for the protocol's own
    field: str
    meaning: str
    paper: Any
    code: Any
    ours: Any

    @property
    def other(self) -> Any:
        """The value that is not used."""
        return self.code if self.ours == self.paper else self.paper

    def applied(self, cell: Cell, value: Any) -> Cell:
        """The cell with this switch set otherwise, in so far as it is concerned."""
        if self.group == "models":
            return cell.model_copy(update={"model": self._variant(cell.model, value)})
        if self.group == "attacks" and cell.attack != BASELINE:
            return cell.model_copy(update={"attack": self._variant(cell.attack, value)})
        if self.group in ("defenses", "protocol") and cell.defense != PLAIN:
            return cell.model_copy(update={"defense": self._variant(cell.defense, value)})
        return cell

    def _variant(self, name: str, value: Any) -> str:
        return Variant(name, {self.field: value}).name


class Scorecard(Section):
    """Where the paper's claims stand, and what takes the place of their datasets here."""

    file: str = Field(default="config/claims.yaml", description="The claims and their tests.")
    datasets: dict[str, str] = Field(
        default_factory=dict, description="Other datasets in place of those that claims name."
    )


class Outline(BaseModel):
    """The part of a study that tables and figures need; what the methods are set to is not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    results: Folder = Field(default="results", description="Folder of everything the study makes.")
    note: str = Field(default="", description="Stands on every table, figure and page.")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    report: Report = Field(
        default="best_val", description="Round whose test metrics count: best validation, or last."
    )
    datasets: dict[Name, Any]
    attacks: dict[Name, Any]
    defenses: dict[Name, Any]
    tables: dict[Name, Block] = Field(default_factory=dict)
    figures: dict[Name, Block] = Field(default_factory=dict)
    claims: Scorecard | None = None

    @staticmethod
    def read(values: Mapping[str, Any], paths: Sequence[Path | str] = ()) -> "Outline":
        """Take the outline from a config, without a look at the rest of it.

        Raises:
            ConfigError: it says something impossible.
        """
        try:
            return Outline.model_validate_json(json.dumps(values, default=str))
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, paths, lambda place: ())) from None

    def blocks(self) -> Mapping[str, Block]:
        """Every table and figure by name."""
        return {**self.tables, **self.figures}

    def cells(self, block: Block) -> list[Cell]:
        """The training jobs that a table or figure needs. No attack means no malicious clients."""
        found: list[Cell] = []
        for dataset, model in product(block.datasets, block.models):
            names = product(block.defenses, block.ratios, block.attacks, block.seeds or self.seeds)
            cells = [
                Cell(dataset=dataset, model=model, attack=a, defense=f, ratio=r, seed=s)
                for f, r, a, s in names
            ]
            found += [*self._plain(block, cells), *cells]
        return self.distinct(found)

    def _plain(self, block: Block, cells: Sequence[Cell]) -> list[Cell]:
        """What a table reckons losses from, if the study has it."""
        known = BASELINE in self.attacks and PLAIN in self.defenses
        if block.kind != "attacks" or not known:
            return []
        changes = {"attack": BASELINE, "defense": PLAIN, "ratio": 0.0}
        return [cell.model_copy(update=changes) for cell in cells]

    def distinct(self, cells: Iterable[Cell]) -> list[Cell]:
        """Each cell once; without attack there are no malicious clients, whatever was asked."""
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
