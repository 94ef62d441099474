"""The study's configuration: typed, frozen, strict, and checked before any job starts."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, Union

import pydantic
from pydantic import BaseModel, Field, create_model, model_validator

from fedrec import attacks, defenses, models
from fedrec.attacks.base import Attack
from fedrec.config_errors import (
    ConfigError,
    Place,
    Problem,
    explain,
    nearest_name,
    read_yaml,
    report,
)
from fedrec.data.delimited import Delimited
from fedrec.data.filters import IdLists, KCore
from fedrec.data.interactions import Counts
from fedrec.data.item_lists import ItemLists
from fedrec.data.sources import Source
from fedrec.data.synthetic import Synthetic
from fedrec.defenses.base import Defense
from fedrec.files import NAME
from fedrec.methods import find_methods
from fedrec.metrics.ranking import RepeatRule
from fedrec.models.base import Model
from fedrec.records import Cell
from fedrec.settings import STRICT, Preset, Presets, preset_values, settings

KINDS: Mapping[str, Mapping[str, type]] = {
    "models": find_methods(models),
    "attacks": find_methods(attacks),
    "defenses": find_methods(defenses),
}


@settings
class Protocol:
    """How clients are sampled, trained and evaluated."""

    PRESETS: ClassVar[Presets] = {"released": {"filters": "all"}}

    rounds: int = Field(default=6000, ge=1, description="Training rounds (Appendix A).")
    clients_per_round: int = Field(default=50, ge=1, description="Sampled clients n (Appendix A).")
    evaluate_every: int = Field(default=200, ge=1, description="Rounds between evaluations.")
    pool: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of users that may be malicious: an attack takes the first of them, "
        "and all are left out of every evaluation.",
    )
    negatives: Literal["fixed", "resampled"] = Field(
        default="fixed", description="Negatives drawn once a seed (released code) or every round."
    )
    user_optimizer: Literal["dense", "lazy"] = Field(
        default="dense",
        description="One Adam over all clients' own parameters (released code), or one each.",
    )
    repeat_targets: RepeatRule = Field(
        default="miss", description="A target that its user visited before (released code: miss)."
    )
    filters: Literal["in_turn", "all"] = Field(
        default="in_turn",
        description="A defence's filter judges what those before it kept (section 4.2), or all "
        "uploads (released code).",
    )
    observe: int = Field(
        default=0,
        ge=0,
        description="Rounds, from the first, whose uploads are recorded one by one: uniformity and "
        "two principal components (section 5.7). Takes seconds and memory.",
    )
    window: int = Field(
        default=10, ge=1, description="Rounds whose uploads share principal components."
    )


class Section(BaseModel):
    """A part of the configuration: frozen, no unknown key, no silent conversion."""

    model_config = STRICT


Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Folder = Annotated[str, Field(pattern=f"^/?{NAME}(/{NAME})*$")]


class Dataset(Section):
    """Where interactions come from: a download and its format, or a generator."""

    source: Source | None = Field(default=None, description="The file that is read.")
    further: tuple[Source, ...] = Field(default=(), description="Files that are read after it.")
    format: Delimited | None = Field(default=None, description="One interaction a line.")
    item_lists: ItemLists | None = Field(default=None, description="A user's items on each line.")
    synthetic: Synthetic | None = None
    k_core: KCore | None = None
    id_lists: IdLists | None = None
    expect: Counts | None = Field(default=None, description="Counts that the data must give.")

    @property
    def raw(self) -> tuple[Source, ...]:
        """The files that hold the interactions."""
        return (self.source, *self.further) if self.source else ()

    @property
    def lists(self) -> tuple[Source, ...]:
        """The files that say which users and items are kept."""
        return (self.id_lists.users, self.id_lists.items) if self.id_lists else ()

    @model_validator(mode="after")
    def _possible(self) -> "Dataset":
        if self.format and self.item_lists:
            raise ValueError("give either `format` or `item_lists`")
        if (self.source is None) != (self.format is None and self.item_lists is None):
            raise ValueError("a download needs both `source` and `format` (or `item_lists`)")
        if (self.source is None) == (self.synthetic is None):
            raise ValueError("give either `source` and `format`, or `synthetic`")
        if self.further and not self.item_lists:
            raise ValueError("`further` files are read as `item_lists` only")
        if self.k_core and self.id_lists:
            raise ValueError("give either `k_core` or `id_lists`")
        names = [source.name for source in (*self.raw, *self.lists)]
        if len(set(names)) < len(names):
            raise ValueError("two files have the same name at the end of their URLs")
        return self


class Block(Section):
    """What one table or figure shows: every combination of the names it lists."""

    title: str
    kind: Literal["datasets", "attacks", "training_curves", "attack_grid"]
    datasets: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(default=())
    attacks: tuple[str, ...] = Field(default=())
    defenses: tuple[str, ...] = Field(default=("FedAvg",))
    ratios: tuple[float, ...] = Field(default=(0.01,), description="Shares of malicious users, m%.")

    def shows(self, cell: Cell) -> bool:
        """Whether a cell, of whatever seed, is among those listed."""
        return (
            cell.dataset in self.datasets
            and cell.model in self.models
            and cell.attack in self.attacks
            and cell.defense in self.defenses
            and cell.ratio in (0, *self.ratios)
        )

    def order(self, cell: Cell) -> tuple[float | int, ...]:
        """A key that sorts cells as this block lists them."""
        return (
            self.datasets.index(cell.dataset),
            self.models.index(cell.model),
            self.defenses.index(cell.defense),
            self.attacks.index(cell.attack),
            cell.ratio,
            cell.seed,
        )


def _fields(method: type) -> dict[str, Any]:
    """A method's hyper-parameters, as `create_model` takes them."""
    found: Mapping[str, pydantic.fields.FieldInfo] = vars(method)["__pydantic_fields__"]
    return {name: (info.annotation, info) for name, info in found.items()}


def _entry_type(group: str) -> Any:
    """The type of one entry of a group: its `kind` decides which fields it may hold."""
    entries = []
    for kind, method in KINDS[group].items():
        fields = _fields(method)
        selectors: dict[str, Any] = {"dataset": (str | None, None), "model": (str | None, None)}
        where: Any = create_model(
            f"{method.__name__}Where",
            __base__=Section,
            __doc__="Other values for one dataset, one model, or both.",
            **selectors,
            **fields,
        )
        structure: dict[str, Any] = {
            "kind": (Literal[kind], ...),
            "preset": (Preset | None, None),
            "where": (tuple[where, ...], Field(default=())),
        }
        name = f"{method.__name__}Entry"
        entries.append(
            create_model(name, __base__=Section, __doc__=method.__doc__, **structure, **fields)
        )
    return Annotated[Union[tuple(entries)], Field(discriminator="kind")]  # noqa: UP007


if TYPE_CHECKING:  # types that the methods found decide cannot be checked beforehand
    ProtocolEntry: TypeAlias = Any
    ModelEntry: TypeAlias = Any
    AttackEntry: TypeAlias = Any
    DefenseEntry: TypeAlias = Any
else:
    ProtocolEntry = create_model(
        "ProtocolEntry", __base__=Section, __doc__=Protocol.__doc__, **_fields(Protocol)
    )
    ModelEntry = _entry_type("models")
    AttackEntry = _entry_type("attacks")
    DefenseEntry = _entry_type("defenses")


@dataclasses.dataclass(frozen=True)
class CellConfig:
    """Everything that one training job depends on, beside its data."""

    cell: Cell
    protocol: Protocol
    model: Model
    attack: Attack[Any]
    defense: Defense
    values: Mapping[str, Any]  # all of the above, every field written out

    @staticmethod
    def parse(values: Mapping[str, Any]) -> "CellConfig":
        """Build the methods that written-out values describe."""
        parts = [_build("defenses", part) for part in values["defense"]]
        protocol = Protocol(**values["protocol"])
        return CellConfig(
            cell=Cell.model_validate(values["cell"]),
            protocol=protocol,
            model=_build("models", values["model"]),
            attack=_build("attacks", values["attack"]),
            defense=Defense.compose(parts, in_turn=protocol.filters == "in_turn"),
            values=values,
        )

    def to_json(self) -> str:
        """The values on one line, keys sorted."""
        return json.dumps(self.values, sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the values."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


class Study(Section):
    """A whole study: its methods by name, and the tables and figures that decide its cells."""

    preset: Preset = Field(default="reproduction", description="Values of the fidelity switches.")
    results: Folder = Field(default="results", description="Folder of everything the study makes.")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    report: Literal["best_val", "last"] = Field(
        default="best_val", description="Round whose test metrics count."
    )
    protocol: ProtocolEntry = Field(default_factory=ProtocolEntry)
    datasets: dict[Name, Dataset]
    models: dict[Name, ModelEntry]
    attacks: dict[Name, AttackEntry]
    defenses: dict[Name, tuple[DefenseEntry, ...]]
    tables: dict[Name, Block] = Field(default_factory=dict)
    figures: dict[Name, Block] = Field(default_factory=dict)

    @staticmethod
    def load(*paths: Path | str) -> "Study":
        """Read a study from YAML files; a later file overrides single keys of an earlier one.

        Raises:
            ConfigError: a file cannot be read, or says something impossible.
        """
        merged: dict[str, Any] = {}
        for path in paths:
            merged = _merge(merged, read_yaml(Path(path)))
        return Study.parse(merged, paths)

    @staticmethod
    def parse(values: Mapping[str, Any], paths: Sequence[Path | str] = ()) -> "Study":
        """Check values that were read from `paths` (which only serve the error messages)."""
        try:
            # As JSON, because strictness about Python types would refuse lists for tuples.
            study = Study.model_validate_json(json.dumps(values, default=str))
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, paths, known_keys)) from None
        problems = dict.fromkeys([*study._dangling_names(), *study._unusable_cells()])
        if problems:
            raise ConfigError(report(problems, paths))
        return study

    def blocks(self) -> Mapping[str, Block]:
        """Every table and figure by name."""
        return {**self.tables, **self.figures}

    def cells(self, block: Block) -> list[Cell]:
        """The training jobs that a table or figure needs. No attack means no malicious clients."""
        names = product(
            block.datasets, block.models, block.attacks, block.defenses, block.ratios, self.seeds
        )
        cells = [
            Cell(dataset=d, model=m, attack=a, defense=f, ratio=self._ratio(a, r), seed=s)
            for d, m, a, f, r, s in names
        ]
        return list(dict.fromkeys(cells))

    def cell_config(self, cell: Cell) -> CellConfig:
        """The settings of one job: presets, then the entry, then its fitting `where` cases."""
        parts = [self._resolve("defenses", part, cell) for part in self.defenses[cell.defense]]
        return CellConfig.parse(
            {
                "cell": cell.model_dump(),
                "protocol": dataclasses.asdict(self._protocol()),
                "model": self._resolve("models", self.models[cell.model], cell),
                "attack": self._resolve("attacks", self.attacks[cell.attack], cell),
                "defense": parts,
            }
        )

    def _ratio(self, attack: str, ratio: float) -> float:
        return 0.0 if self.attacks[attack].kind == "no_attack" else ratio

    def _resolve(self, group: str, entry: Any, cell: Cell) -> dict[str, Any]:
        method = KINDS[group][entry.kind]
        values = {**preset_values(method, entry.preset or self.preset), **_given(entry)}
        for case in entry.where:
            if case.dataset in (None, cell.dataset) and case.model in (None, cell.model):
                values.update(_given(case))
        return {"kind": entry.kind, **dataclasses.asdict(method(**values))}

    def _dangling_names(self) -> Iterator[Problem]:
        """Names in tables, figures and `where` cases that the study does not define."""
        for section in ("tables", "figures"):
            for name, block in getattr(self, section).items():
                for group in ("datasets", "models", "attacks", "defenses"):
                    for i, wanted in enumerate(getattr(block, group)):
                        yield from self._dangling((section, name, group, i), group, wanted)
        for head, entry in self._entries():
            for i, case in enumerate(entry.where):
                place = (*head, "where", i)
                yield from self._dangling((*place, "dataset"), "datasets", case.dataset)
                yield from self._dangling((*place, "model"), "models", case.model)

    def _entries(self) -> Iterator[tuple[Place, Any]]:
        """Every method's entry, and where it stands."""
        for section in ("models", "attacks"):
            for name, entry in getattr(self, section).items():
                yield (section, name), entry
        for name, parts in self.defenses.items():
            for i, part in enumerate(parts):
                yield ("defenses", name, i), part

    def _dangling(self, place: Place, group: str, wanted: str | None) -> Iterator[Problem]:
        known = getattr(self, group)
        if wanted is not None and wanted not in known:
            yield place, f"{wanted!r} is not among `{group}`{nearest_name(wanted, known)}"

    def _unusable_cells(self) -> Iterator[Problem]:
        """Settings that are each well-formed but impossible together."""
        if any(True for _ in self._dangling_names()):
            return
        pool = f"the pool of possibly malicious users, protocol.pool = {self._protocol().pool}"
        for section in ("tables", "figures"):
            for name, block in getattr(self, section).items():
                for i, ratio in enumerate(block.ratios):
                    if not 0 < ratio <= self._protocol().pool:
                        place = (section, name, "ratios", i)
                        yield place, f"{ratio} must be above 0 and within {pool}"
        for cell in (cell for block in self.blocks().values() for cell in self.cells(block)):
            yield from self._unusable(cell)

    def _unusable(self, cell: Cell) -> Iterator[Problem]:
        for group, name in (("models", cell.model), ("attacks", cell.attack)):
            try:
                self._resolve(group, getattr(self, group)[name], cell)
            except pydantic.ValidationError as error:
                yield (group, name), error.errors()[0]["msg"].removeprefix("Value error, ")
        try:
            parts = [self._resolve("defenses", p, cell) for p in self.defenses[cell.defense]]
            Defense.compose([_build("defenses", part) for part in parts])
        except ValueError as error:
            yield ("defenses", cell.defense), str(error)

    def _protocol(self) -> Protocol:
        return Protocol(**{**preset_values(Protocol, self.preset), **_given(self.protocol)})


def _build(group: str, values: Mapping[str, Any]) -> Any:
    """The method that written-out values describe."""
    kind = values["kind"]
    return KINDS[group][kind](**{k: v for k, v in values.items() if k != "kind"})


def _given(entry: BaseModel) -> dict[str, Any]:
    """The hyper-parameters that an entry sets itself."""
    structure = {"kind", "preset", "where", "dataset", "model"}
    return {k: getattr(entry, k) for k in entry.model_fields_set - structure}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        deeper = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if deeper else value
    return merged


def known_keys(place: Place) -> Iterable[str]:
    """The keys that may stand beside the last one of `place`."""
    parents: dict[str, Any] = {
        "protocol": ProtocolEntry,
        "datasets": Dataset,
        "tables": Block,
        "figures": Block,
    }
    if len(place) == 1:
        return Study.model_fields
    group = str(place[0])
    for kind, method in KINDS.get(group, {}).items():
        if kind in place:
            return [*_fields(method), "kind", "preset", "where", "dataset", "model"]
    nested = {
        **dict.fromkeys(("source", "users", "items"), Source),
        "format": Delimited,
        "item_lists": ItemLists,
        "synthetic": Synthetic,
        "expect": Counts,
    }
    if group == "datasets" and place[-2] in nested:
        return [f.name for f in dataclasses.fields(nested[str(place[-2])])]
    return parents[group].model_fields if group in parents else []
