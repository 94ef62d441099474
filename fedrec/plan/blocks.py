"""The types of tables and figures in the config, one for each kind."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Annotated, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import Field, TypeAdapter, model_validator

from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.grid import RATIO, Grid, Value, check_grid, settings_of, with_setting
from fedrec.plan.metrics import Metric
from fedrec.plan.variants import Switch
from fedrec.settings import Section

Names = Annotated[tuple[str, ...], Field(min_length=1)]
OneName = Annotated[tuple[str], Field(description="A single name, in brackets.")]
SEEDS = "Seeds to use instead of the study's, for what need not be repeated."


@runtime_checkable
class Surroundings(Protocol):
    """The properties of a study that its tables and figures need."""

    seeds: tuple[int, ...]

    @property
    def reckons_losses(self) -> bool:
        """Whether the study has a run without attack and defence to compare with."""

    def distinct(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return each cell once."""

    def switches_of(
        self, models: Sequence[str], attacks: Sequence[str], defenses: Sequence[str]
    ) -> Sequence[Switch]:
        """Return the switches between the paper's text and code that concern these methods."""


class Block(Section):
    """The fields that every table and figure has."""

    title: str
    datasets: Names

    def cells(self, study: Surroundings) -> list[Cell]:
        """Return the training jobs that it needs. No attack means no malicious clients."""
        return []


class Combinations(Block):
    """Every combination of the listed names."""

    models: Names
    attacks: Names
    defenses: Names = Field(default=(PLAIN,))
    ratios: Annotated[tuple[float, ...], Field(min_length=1)] = Field(
        default=(0.01,), description="Shares of malicious users, m%."
    )
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] | None = Field(
        default=None, description=SEEDS
    )
    grid: Grid = Field(
        default_factory=dict,
        description="Values of single fields, such as `attack.clusters: [1, 2, 4]`; every "
        "combination of them is made. A key is `ratio` (instead of `ratios`), or a part of the "
        "cell (`model`, `attack`, `defense`) and a field of that part or of the protocol.",
    )
    unchanged: Mapping[str, Value] = Field(
        default_factory=dict,
        description="Values of the grid that the entries have anyway. There, entries keep their "
        "names, so that no cell is trained twice.",
    )

    @model_validator(mode="after")
    def _usable_grid(self) -> "Combinations":
        check_grid(self.grid)
        for key, value in self.unchanged.items():
            if key == RATIO or value not in self.grid.get(key, ()):
                raise ValueError(f"unchanged.{key}: give one of the values that grid.{key} has")
        return self

    def cells(self, study: Surroundings) -> list[Cell]:
        """Return one cell for each combination and seed."""
        return study.distinct(cell for group in self.by_model(study) for cell in group)

    def by_model(self, study: Surroundings) -> list[list[Cell]]:
        """Return the combinations, in a list for each dataset and model."""
        seeds, settings = self.seeds or study.seeds, list(settings_of(self.grid))
        arms = list(product(self.defenses, self.ratios, self.attacks, settings, seeds))
        return [
            [
                self._with(
                    some, Cell(dataset=dataset, model=model, attack=a, defense=f, ratio=r, seed=s)
                )
                for f, r, a, some, s in arms
            ]
            for dataset, model in product(self.datasets, self.models)
        ]

    def _with(self, settings: Mapping[str, Value], cell: Cell) -> Cell:
        """Return the cell with these settings; those that are its own anyway leave its name."""
        for key, value in settings.items():
            if key not in self.unchanged or self.unchanged[key] != value:
                cell = with_setting(cell, key, value)
        return cell


class Losses(Combinations):
    """Combinations whose losses are shown."""

    def cells(self, study: Surroundings) -> list[Cell]:
        """Return the cells, and any runs without attack and defence that losses refer to."""
        groups = self.by_model(study)
        if study.reckons_losses:
            groups = [[*map(unattacked, cells), *cells] for cells in groups]
        return study.distinct(cell for group in groups for cell in group)


class AttackTable(Losses):
    """The paper's performance tables: HR and NDCG, and the loss that an attack causes."""

    kind: Literal["attacks"]
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("hr@5", "ndcg@5")


class Leaderboard(Losses):
    """Defences in order of their worst case over several attacks, with their cost."""

    kind: Literal["leaderboard"]
    datasets: OneName
    models: OneName
    ratios: tuple[float] = Field(default=(0.01,), description="The share of malicious users, m%.")
    adaptive: tuple[str, ...] = Field(
        default=(),
        description="Those of the attacks whose attackers know the server's rule. The worst case "
        "over them is shown apart from that over the others.",
    )

    @model_validator(mode="after")
    def _one_table(self) -> "Leaderboard":
        for name in self.adaptive:
            if name not in self.attacks:
                raise ValueError(f"adaptive: {name!r} is not among the attacks; add it there too")
        for key in self.grid:
            if key.partition(".")[0] not in ("attack", "defense"):
                raise ValueError(f"grid.{key}: name only fields of attacks and defences here")
        return self

    def cells(self, study: Surroundings) -> list[Cell]:
        """Return the cells, and each defence without attack."""
        if not study.reckons_losses:
            return super().cells(study)
        attacks = tuple(dict.fromkeys([BASELINE, *self.attacks]))
        return Losses.cells(self.model_copy(update={"attacks": attacks}), study)


class DatasetTable(Block):
    """Statistics of datasets (paper, Table 2)."""

    kind: Literal["datasets"]


class DeviationTable(Section):
    """The effect of each choice on which the paper's text and its authors' code differ."""

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
        """Return the cells of the study as configured, and with each switch set otherwise."""
        cells = [cell for trio in self.trios(study.seeds) for cell in trio]
        switches = study.switches_of(self.models, self.attacks, self.defenses)
        changed = [switch.applied(cell, switch.other) for switch in switches for cell in cells]
        return study.distinct([*cells, *changed])

    def trios(self, seeds: Sequence[int]) -> list[tuple[Cell, Cell, Cell]]:
        """Return for each seed: no attack, attack, and attack under the defence."""
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


class LossMap(Drawing, Losses):
    """Losses as a map: a column for each attack, a row for each defence, the best at the top."""

    kind: Literal["loss_map"]


class AdaptiveClustering(Drawing):
    """An attack with an adaptive or a fixed number of clusters (paper, Figure 3)."""

    kind: Literal["adaptive_clustering"]


class Sweep(Drawing, Losses):
    """Losses by the values of one field: a panel for each attack, a line for each defence."""

    kind: Literal["sweep"]
    axis: str | None = Field(
        default=None, description="Label of the horizontal axis (default: the field's name)."
    )

    @model_validator(mode="after")
    def _one_field(self) -> "Sweep":
        if len(self.grid) != 1:
            raise ValueError("give one field in `grid`, such as {ratio: [0.01, 0.02]}")
        return self

    @property
    def key(self) -> str:
        """The field on the horizontal axis."""
        return next(iter(self.grid))


class TrainingCurves(Drawing):
    """Performance by round."""

    kind: Literal["training_curves"]


class UploadFigure(Combinations):
    """Uploads and their uniformity in the first rounds (paper, Figure 4).

    Its cells must `observe` uploads, by a variant such as `UNION@observe=50` or by the protocol.
    """

    kind: Literal["uploads"]


class VictimFigure(Combinations):
    """Which users lose, by activity and by the popularity of their test items.

    Losses are against the runs without attack under the same defence.
    """

    kind: Literal["victims"]
    datasets: OneName
    models: OneName
    defenses: OneName = Field(default=(PLAIN,))
    ratios: tuple[float] = Field(default=(0.01,), description="The share of malicious users, m%.")
    metric: Literal["hr@5", "hr@10", "hr@20"] = "hr@5"

    def cells(self, study: Surroundings) -> list[Cell]:
        """Return the cells, and the runs without attack that losses refer to."""
        cells = super().cells(study)
        changes = {"attack": BASELINE, "ratio": 0.0}
        plain = [c.model_copy(update=changes) for c in cells] if study.reckons_losses else []
        return list(dict.fromkeys([*plain, *cells]))


class Scorecard(Section):
    """The file of the paper's claims, and replacements of the datasets in them."""

    file: str = Field(default="config/claims.yaml", description="The claims and their tests.")
    datasets: dict[str, str] = Field(
        default_factory=dict, description="Datasets to use instead of those named in the claims."
    )


Table: TypeAlias = Annotated[
    AttackTable | DatasetTable | DeviationTable | Leaderboard, Field(discriminator="kind")
]
Figure: TypeAlias = Annotated[
    AttackGrid
    | LossMap
    | AdaptiveClustering
    | Sweep
    | TrainingCurves
    | UploadFigure
    | VictimFigure,
    Field(discriminator="kind"),
]
TABLES = (AttackTable, DatasetTable, DeviationTable, Leaderboard)
FIGURES = (
    *(AttackGrid, LossMap, AdaptiveClustering, Sweep),
    *(TrainingCurves, UploadFigure, VictimFigure),
)
FIGURE: TypeAdapter[Figure] = TypeAdapter(Figure)


def kind_of(block: type[Section]) -> str:
    """Return the name of a block's kind in the config."""
    (kind,) = block.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    return str(kind)


def unattacked(cell: Cell) -> Cell:
    """Return the run without attack and defence that a cell is compared with."""
    return cell.model_copy(update={"attack": BASELINE, "defense": PLAIN, "ratio": 0.0})
