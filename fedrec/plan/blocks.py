"""What one table or figure shows: a strict type for each kind."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Annotated, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import Field, TypeAdapter

from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.metrics import Metric
from fedrec.plan.variants import Switch
from fedrec.settings import Section

Names = Annotated[tuple[str, ...], Field(min_length=1)]
OneName = Annotated[tuple[str], Field(description="A single name, in brackets.")]
SEEDS = "Instead of the study's, for what need not be repeated."


@runtime_checkable
class Surroundings(Protocol):
    """What a block asks of the study that it stands in."""

    seeds: tuple[int, ...]

    @property
    def reckons_losses(self) -> bool:
        """Whether there is a run without attack and defence to compare with."""

    def distinct(self, cells: Iterable[Cell]) -> list[Cell]:
        """Each cell once."""

    def switches_of(
        self, models: Sequence[str], attacks: Sequence[str], defenses: Sequence[str]
    ) -> Sequence[Switch]:
        """The points on which text and code differ, as far as they concern some methods."""


class Block(Section):
    """What every table and figure says."""

    title: str
    datasets: Names

    def cells(self, study: Surroundings) -> list[Cell]:
        """The training jobs that it needs. No attack means no malicious clients."""
        return []


class Combinations(Block):
    """Every combination of the names that are listed."""

    models: Names
    attacks: Names
    defenses: Names = Field(default=(PLAIN,))
    ratios: Annotated[tuple[float, ...], Field(min_length=1)] = Field(
        default=(0.01,), description="Shares of malicious users, m%."
    )
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] | None = Field(
        default=None, description=SEEDS
    )

    def cells(self, study: Surroundings) -> list[Cell]:
        """One for each combination and seed."""
        return study.distinct(cell for group in self.by_model(study) for cell in group)

    def by_model(self, study: Surroundings) -> list[list[Cell]]:
        """The combinations, in a list for each dataset and model."""
        seeds = self.seeds or study.seeds
        return [
            [
                Cell(dataset=dataset, model=model, attack=a, defense=f, ratio=r, seed=s)
                for f, r, a, s in product(self.defenses, self.ratios, self.attacks, seeds)
            ]
            for dataset, model in product(self.datasets, self.models)
        ]


class AttackTable(Combinations):
    """The paper's performance tables: HR and NDCG, and what is lost by an attack."""

    kind: Literal["attacks"]
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("hr@5", "ndcg@5")

    def cells(self, study: Surroundings) -> list[Cell]:
        """Losses are reckoned from the run without attack and defence, where the study has it."""
        groups = self.by_model(study)
        if study.reckons_losses:
            groups = [[*map(unattacked, cells), *cells] for cells in groups]
        return study.distinct(cell for group in groups for cell in group)


class DatasetTable(Block):
    """Statistics of datasets (paper, Table 2)."""

    kind: Literal["datasets"]


class DeviationTable(Section):
    """What each choice does on which the paper's text and its authors' code differ."""

    title: str
    kind: Literal["deviations"]
    datasets: OneName
    models: OneName
    attacks: OneName
    defenses: OneName
    ratios: tuple[float] = Field(default=(0.01,), description="The share of malicious users, m%.")
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] | None = Field(
        default=None, description=SEEDS
    )

    def cells(self, study: Surroundings) -> list[Cell]:
        """The study as configured, and with each switch set otherwise."""
        cells = [cell for trio in self.trios(study.seeds) for cell in trio]
        switches = study.switches_of(self.models, self.attacks, self.defenses)
        changed = [switch.applied(cell, switch.other) for switch in switches for cell in cells]
        return study.distinct([*cells, *changed])

    def trios(self, seeds: Sequence[int]) -> list[tuple[Cell, Cell, Cell]]:
        """For each seed: no attack, attack, and attack under the defence."""
        (dataset,), (model,), (attack,), (ratio,) = (
            self.datasets, self.models, self.attacks, self.ratios,
        )  # fmt: skip
        found = []
        for seed in self.seeds or seeds:
            attacked = Cell(
                dataset=dataset, model=model, attack=attack, defense=PLAIN, ratio=ratio, seed=seed
            )
            defended = attacked.model_copy(update={"defense": self.defenses[0]})
            found.append((unattacked(attacked), attacked, defended))
        return found


class Drawing(Combinations):
    """A figure of one metric."""

    metric: Metric = "hr@5"


class AttackGrid(Drawing):
    """Attacks under defences, as bars (paper, Figure 2)."""

    kind: Literal["attack_grid"]


class AdaptiveClustering(Drawing):
    """An attack with numbers of clusters that it adapts or holds (paper, Figure 3)."""

    kind: Literal["adaptive_clustering"]


class TrainingCurves(Drawing):
    """Performance against rounds."""

    kind: Literal["training_curves"]


class UploadFigure(Combinations):
    """Uploads and their uniformity in the first rounds (paper, Figure 4).

    Its cells must `observe` uploads: a variant such as `UNION@observe=50`, or the protocol.
    """

    kind: Literal["uploads"]


class Scorecard(Section):
    """Where the paper's claims stand, and what takes the place of their datasets here."""

    file: str = Field(default="config/claims.yaml", description="The claims and their tests.")
    datasets: dict[str, str] = Field(
        default_factory=dict, description="Other datasets in place of those that claims name."
    )


Table: TypeAlias = Annotated[
    AttackTable | DatasetTable | DeviationTable, Field(discriminator="kind")
]
Figure: TypeAlias = Annotated[
    AttackGrid | AdaptiveClustering | TrainingCurves | UploadFigure, Field(discriminator="kind")
]
TABLES = (AttackTable, DatasetTable, DeviationTable)
FIGURES = (AttackGrid, AdaptiveClustering, TrainingCurves, UploadFigure)
FIGURE: TypeAdapter[Figure] = TypeAdapter(Figure)


def kind_of(block: type[Section]) -> str:
    """The kind that a type stands for in the config."""
    (kind,) = block.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    return str(kind)


def unattacked(cell: Cell) -> Cell:
    """The run without attack and defence that a cell is compared with."""
    return cell.model_copy(update={"attack": BASELINE, "defense": PLAIN, "ratio": 0.0})
