"""The study's configuration: typed, frozen, strict, and checked before any job starts."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, Union

import pydantic
from pydantic import BaseModel, Field, create_model

from fedrec import attacks, defenses, models
from fedrec.attacks.base import Attack
from fedrec.data import dataset
from fedrec.data.dataset import Dataset
from fedrec.defenses.base import Defense
from fedrec.errors import ConfigError
from fedrec.config.entries import find_methods
from fedrec.metrics.ranking import RepeatRule
from fedrec.models.base import Model
from fedrec.plan.blocks import FIGURES, TABLES, Figure, Table, UploadFigure, kind_of
from fedrec.plan.cells import Cell
from fedrec.plan.plan import Name, Plan
from fedrec.plan.variants import Switch, Variant
from fedrec.records import DRAWS, config_hash
from fedrec.settings import STRICT, Preset, Presets, Section, preset_values, settings
from fedrec.yaml_files import Place, Problem, check_keys, explain, nearest_name, read_yaml, report

KINDS: Mapping[str, Mapping[str, type]] = {
    "models": find_methods(models),
    "attacks": find_methods(attacks),
    "defenses": find_methods(defenses),
}


@settings
class Protocol:
    """How clients are sampled, trained and evaluated."""

    PRESETS: ClassVar[Presets] = {"paper": {"filters": "in_turn"}}

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
    pool_drawn: Literal["once", "per_seed"] = Field(
        default="once",
        description="The pool is drawn once for all seeds (both uploads), or for each anew.",
    )
    negatives: Literal["fixed", "resampled"] = Field(
        default="fixed", description="Negatives drawn once a seed (both uploads) or every round."
    )
    user_optimizer: Literal["dense", "lazy"] = Field(
        default="dense",
        description="One Adam over all clients' own parameters (both uploads), or one each.",
    )
    repeat_targets: RepeatRule = Field(
        default="miss", description="A target that its user visited before (both uploads: miss)."
    )
    filters: Literal["in_turn", "all"] = Field(
        default="all",
        description="A defence's filter judges all uploads (both uploads of the code), or what "
        "those before it kept (section 4.2).",
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
        """Build the methods that written-out values describe.

        Raises:
            ConfigError: they were written out for other random draws.
        """
        if values.get("draws") != DRAWS:
            raise ConfigError(
                f"settings for other draws ({values.get('draws', 'unnamed')}) than this version's "
                f"({DRAWS}); write them out anew with `fedrec cell`"
            )
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
        return config_hash(self.values)


class Study(Plan):
    """A whole study: its methods by name, and the tables and figures that decide its cells."""

    model_config = STRICT

    preset: Preset = Field(default="reproduction", description="Values of the fidelity switches.")
    protocol: ProtocolEntry = Field(default_factory=ProtocolEntry)
    datasets: dict[Name, Dataset]
    models: dict[Name, ModelEntry]
    attacks: dict[Name, AttackEntry]
    defenses: dict[Name, tuple[DefenseEntry, ...]]

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
        """Check values that were read from `paths`: by another reader perhaps, so keys again."""
        for path in paths:
            check_keys(Path(path))
        try:
            # As JSON, because strictness about Python types would refuse lists for tuples.
            study = Study.model_validate_json(json.dumps(values, default=str))
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, paths, known_keys)) from None
        problems = dict.fromkeys([*study._dangling_names(), *study._unusable_cells()])
        if problems:
            raise ConfigError(report(problems, paths))
        return study

    def switches_of(
        self, models: Sequence[str], attacks: Sequence[str], defenses: Sequence[str]
    ) -> Sequence[Switch]:
        """The points on which text and code differ, of the protocol and of these methods."""
        groups = {"models": models, "attacks": attacks, "defenses": defenses}
        kinds = {
            part.kind
            for group, names in groups.items()
            for name in names
            for part in self._entry(group, name)
        }
        return [switch for switch in self.switches() if switch.kind in {*kinds, "protocol"}]

    def switches(self) -> list[Switch]:
        """Every point on which text and code differ, of the protocol and the methods in use."""
        used = {
            (head[0], entry.kind): KINDS[str(head[0])][entry.kind]
            for head, entry in self._entries()
        }
        methods = {("protocol", "protocol"): Protocol, **used}
        return [
            switch
            for (group, kind), method in methods.items()
            for switch in _switches(str(group), kind, method, self.preset)
        ]

    def cell_config(self, cell: Cell) -> CellConfig:
        """The settings of one job: presets, the entry, its fitting `where` cases, the variant."""
        return CellConfig.parse(
            {
                "cell": cell.model_dump(),
                "draws": DRAWS,
                "protocol": dataclasses.asdict(self._protocol(cell)),
                "model": self._parts("models", cell.model, cell)[0],
                "attack": self._parts("attacks", cell.attack, cell)[0],
                "defense": self._parts("defenses", cell.defense, cell),
            }
        )

    def _entry(self, group: str, name: str) -> tuple[Any, ...]:
        """The parts of the entry that a name, with or without a variant, stands for."""
        entry = getattr(self, group)[Variant.parse(name).base]
        return entry if isinstance(entry, tuple) else (entry,)

    def _parts(self, group: str, name: str, cell: Cell) -> list[dict[str, Any]]:
        """The settings of each part of an entry: one, but for defences."""
        changes = Variant.parse(name).changes
        return [self._resolve(group, part, cell, changes) for part in self._entry(group, name)]

    def _resolve(
        self, group: str, entry: Any, cell: Cell, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        method = KINDS[group][entry.kind]
        values = {**preset_values(method, entry.preset or self.preset), **_given(entry)}
        for case in entry.where:
            if case.dataset in (None, cell.dataset) and case.model in (None, cell.model):
                values.update(_given(case))
        values.update({k: v for k, v in changes.items() if k in _fields(method)})
        return {"kind": entry.kind, **dataclasses.asdict(method(**values))}

    def _dangling_names(self) -> Iterator[Problem]:
        """Names in tables, figures and `where` cases that the study does not define."""
        for section in ("tables", "figures"):
            for name, block in getattr(self, section).items():
                for group in ("datasets", "models", "attacks", "defenses"):
                    for i, wanted in enumerate(getattr(block, group, ())):
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
        if wanted is None:
            return
        variant, known = Variant.parse(wanted), getattr(self, group)
        if variant.base not in known:
            close = nearest_name(variant.base, known)
            yield place, f"{variant.base!r} is not among `{group}`{close}"
        elif unknown := set(variant.changes) - set(fields := self._changeable(group, variant.base)):
            for name in sorted(unknown):
                yield place, f"{variant.base} has no field {name!r}{nearest_name(name, fields)}"

    def _changeable(self, group: str, name: str) -> list[str]:
        """The fields that a variant of an entry may change: its own, and the protocol's."""
        if group == "datasets":
            return []
        methods = [KINDS[group][part.kind] for part in self._entry(group, name)]
        return [field for method in (*methods, Protocol) for field in _fields(method)]

    def _unusable_cells(self) -> Iterator[Problem]:
        """Settings that are each well-formed but impossible together."""
        if any(True for _ in self._dangling_names()):
            return
        for section in ("tables", "figures"):
            for name, block in getattr(self, section).items():
                # Seeds differ in nothing that could be wrong.
                cells = dict.fromkeys(c.model_copy(update={"seed": 0}) for c in self.cells(block))
                wrong = [problem for cell in cells for problem in self._unusable(cell)]
                yield from wrong or self._unshowable((section, name), block, cells)

    def _unshowable(
        self, place: Place, block: Table | Figure, cells: Iterable[Cell]
    ) -> Iterator[Problem]:
        """What is impossible of a table or figure whose cells are possible one by one."""
        for cell in cells:
            protocol, arm = self._protocol(cell), f"{cell.model}/{cell.attack}/{cell.defense}"
            if not self._harmless(cell) and not 0 < cell.ratio <= protocol.pool:
                where = (*place, "ratios", [*getattr(block, "ratios", ())].index(cell.ratio))
                pool = "the pool of possibly malicious users, protocol.pool"
                yield where, f"{cell.ratio} must be above 0 and within {pool} = {protocol.pool}"
            if isinstance(block, UploadFigure) and not protocol.observe:
                remedy = f"name a variant that does, such as {cell.defense}@observe=50"
                yield (*place, "defenses"), f"{arm} records no uploads; {remedy}"

    def _unusable(self, cell: Cell) -> Iterator[Problem]:
        names = {"models": cell.model, "attacks": cell.attack, "defenses": cell.defense}
        for group, name in names.items():
            try:
                parts = [_build(group, part) for part in self._parts(group, name, cell)]
                if group == "defenses":
                    Defense.compose(parts)
                self._protocol(cell)
            except pydantic.ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(map(str, problem["loc"]))
                text = str(problem["msg"]).removeprefix("Value error, ")
                yield (group, Variant.parse(name).base), f"{field}: {text}" if field else text
            except ValueError as error:
                yield (group, Variant.parse(name).base), str(error)

    def _protocol(self, cell: Cell | None = None) -> Protocol:
        """The study's protocol, or a cell's where a name of it is a variant in this respect."""
        values = {**preset_values(Protocol, self.preset), **_given(self.protocol)}
        names = (
            {"models": cell.model, "attacks": cell.attack, "defenses": cell.defense} if cell else {}
        )
        for group, name in names.items():
            own = {f for part in self._entry(group, name) for f in _fields(KINDS[group][part.kind])}
            changes = Variant.parse(name).changes
            values.update({k: v for k, v in changes.items() if k not in own})
        return Protocol(**values)


def _switches(group: str, kind: str, method: type, preset: Preset) -> Iterator[Switch]:
    """The fields of a method that the preset of the paper's text sets otherwise."""
    for field, paper in preset_values(method, "paper").items():
        info: pydantic.fields.FieldInfo = vars(method)["__pydantic_fields__"][field]
        ours = preset_values(method, preset).get(field, info.default)
        yield Switch.model_validate(
            {
                "group": group, "kind": kind, "field": field, "meaning": info.description or "",
                "paper": paper, "code": info.default, "ours": ours,
            }
        )  # fmt: skip


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


KEYS_OF_BLOCKS = {kind_of(block): block.model_fields for block in (*TABLES, *FIGURES)}


def known_keys(place: Place) -> Iterable[str]:
    """The keys that may stand beside the last one of `place`."""
    if len(place) == 1:
        return Study.model_fields
    group = str(place[0])
    for kind, method in KINDS.get(group, {}).items():
        if kind in place:
            return [*_fields(method), "kind", "preset", "where", "dataset", "model"]
    if group == "datasets":
        return dataset.known_keys(place)
    if group in ("tables", "figures"):
        return KEYS_OF_BLOCKS.get(str(place[-2]), ())
    return ProtocolEntry.model_fields if group == "protocol" else []
