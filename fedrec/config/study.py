"""The study's configuration: typed, frozen, strict, and checked before any job starts."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from fedrec.config import grids
from fedrec.config.cell_config import CellConfig
from fedrec.config.entries import (
    AttackEntry,
    DefenseEntry,
    ModelEntry,
    ProtocolEntry,
    fields_of,
    given_by,
)
from fedrec.config.methods import KINDS, METHODS, plug_ins
from fedrec.config.protocol import TrainingProtocol
from fedrec.config.resolution import Layer, Part, entry_layers, name_layer, preset_layer
from fedrec.data import dataset
from fedrec.data.dataset import Dataset
from fedrec.defenses.base import Defense
from fedrec.errors import ConfigError
from fedrec.extending import EXTENDS, in_full, read
from fedrec.plan.blocks import (
    FIGURES,
    TABLES,
    Figure,
    Leaderboard,
    Sweep,
    Table,
    UploadFigure,
    kind_of,
)
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.grid import PARTS, Tuning
from fedrec.plan.plan import Name, Plan
from fedrec.plan.variants import Switch, Variant
from fedrec.records import DRAWS
from fedrec.settings import STRICT, Preset, preset_values
from fedrec.yaml_files import Place, Problem, explain, nearest_name, report

MAPPINGS = ("models", "attacks")  # groups whose entries are merged key by key
# The field of a cell that names the method of each group.
ATTRIBUTES = {group: part for part, group in PARTS.items()}


class Study(Plan):
    """A whole study: its methods by name, and the tables and figures that determine its cells."""

    model_config = STRICT | {"json_schema_extra": lambda schema: _loosen(schema)}

    extends: str | None = Field(
        default=None, description="Another config file to start from, relative to this file."
    )
    replace: tuple[str, ...] = Field(
        default=(),
        description="Keys, such as `tables` or `models.MF`, that replace those of the extended "
        "file instead of being merged with them.",
    )
    preset: Preset = Field(default="reproduction", description="Values of the fidelity switches.")
    protocol: ProtocolEntry = Field(default_factory=ProtocolEntry)
    datasets: dict[Name, Dataset]
    models: dict[Name, ModelEntry]
    attacks: dict[Name, AttackEntry]
    defenses: dict[Name, tuple[DefenseEntry, ...]]
    tuning: dict[Name, Tuning] = Field(
        default_factory=dict, description="What `fedrec tune` compares, by the name of an entry."
    )

    @staticmethod
    def load(*paths: Path | str) -> "Study":
        """Read a study from YAML files; later files override single keys of earlier ones.

        Raises:
            ConfigError: a file cannot be read, or a value is not valid.
        """
        full = read(*paths)
        return Study._checked(full.values, full.paths)

    @staticmethod
    def parse(values: Mapping[str, Any], paths: Sequence[Path | str] = ()) -> "Study":
        """Check values that another reader, such as Snakemake, read from `paths`.

        Keys are checked again, and the values of extended files are added.

        Raises:
            ConfigError: as in `load`.
        """
        full = in_full(values, paths)
        return Study._checked(full.values, full.paths)

    @staticmethod
    def _checked(values: Mapping[str, Any], paths: Sequence[Path]) -> "Study":
        try:
            # As JSON, because strict Python types would reject lists for tuples.
            study = Study.model_validate_json(json.dumps(values, default=str))
        except pydantic.ValidationError as error:
            raise ConfigError(explain(error, paths, known_keys)) from None
        found = [*study._names_twice(), *study._dangling_names(), *study._unusable_cells()]
        problems = dict.fromkeys(found)
        if problems:
            raise ConfigError(report(problems, paths))
        return study

    def switches_of(
        self, models: Sequence[str], attacks: Sequence[str], defenses: Sequence[str]
    ) -> Sequence[Switch]:
        """Return the switches between text and code, of the protocol and of these methods."""
        groups = {"models": models, "attacks": attacks, "defenses": defenses}
        kinds = {
            part.kind
            for group, names in groups.items()
            for name in names
            for part in self._entry(group, name)
        }
        return [switch for switch in self.switches() if switch.kind in {*kinds, "protocol"}]

    def switches(self) -> list[Switch]:
        """Return all switches between text and code, of the protocol and the methods in use."""
        used = {
            (head[0], entry.kind): KINDS[str(head[0])][entry.kind]
            for head, entry in self._entries()
        }
        methods = {("protocol", "protocol"): TrainingProtocol, **used}
        return [
            switch
            for (group, kind), method in methods.items()
            for switch in _switches(str(group), kind, method, self.preset)
        ]

    def cell_config(self, cell: Cell) -> CellConfig:
        """Return a job's settings: presets, the entry, matching `where` cases, the variant."""
        parts = {group: self.parts(group, cell) for group in METHODS}
        packages = plug_ins({group: [p.kind for p in found] for group, found in parts.items()})
        model, attack, defense = (
            [{"kind": part.kind, **part.written()} for part in parts[group]] for group in METHODS
        )
        return CellConfig.parse(
            {
                "cell": cell.model_dump(),
                "draws": DRAWS,
                "protocol": self.protocol_part(cell).written(),
                "model": model[0],
                "attack": attack[0],
                "defense": defense,
                **({"plug-ins": packages} if packages else {}),
            }
        )

    def parts(self, group: str, cell: Cell) -> list[Part]:
        """Return a cell's methods of a group: one, except for defences."""
        name = getattr(cell, ATTRIBUTES[group])
        variant, found = Variant.parse(name), []
        for i, entry in enumerate(self._entry(group, name)):
            place = (group, variant.base, i) if group == "defenses" else (group, variant.base)
            method = KINDS[group][entry.kind]
            layers = entry_layers(entry, method, place, self.preset, cell)
            named = name_layer(name, variant.changes, method)
            found.append(Part(entry.kind, method, [*layers, named]))
        return found

    def protocol_part(self, cell: Cell | None = None) -> Part:
        """Return the study's protocol, or a cell's, whose names may be variants of the protocol."""
        layers = [
            preset_layer(TrainingProtocol, self.preset, ("preset",)),
            Layer("config", given_by(self.protocol), ("protocol",)),
        ]
        for group, attribute in ATTRIBUTES.items() if cell else ():
            name = getattr(cell, attribute)
            changes, own = Variant.parse(name).changes, self.fields(group, name)
            others = {k: v for k, v in changes.items() if k not in own}
            layers.append(Layer(f"name {name}", others))
        return Part("protocol", TrainingProtocol, layers)

    def values_of(self, cell: Cell, part: str, field: str) -> list[Any]:
        """Return a field's value in each method of a part of a cell, or else in its protocol."""
        found = [one.settings() for one in self.parts(PARTS[part], cell)]
        own = [values[field] for values in found if field in values]
        return own or [self.protocol_part(cell).settings()[field]]

    def fields(self, group: str, name: str) -> list[str]:
        """Return the fields of an entry's methods."""
        methods = (KINDS[group][part.kind] for part in self._entry(group, name))
        return [field for method in methods for field in fields_of(method)]

    def check_names(self, cell: Cell) -> None:
        """Raise an error if a cell has names or fields that the study does not define.

        Raises:
            ConfigError: one line for each, with the nearest name.
        """
        names = {"datasets": cell.dataset} | {g: getattr(cell, a) for g, a in ATTRIBUTES.items()}
        self._refuse(self.dangling((), group, name) for group, name in names.items())

    def check_cell(self, cell: Cell) -> None:
        """Raise an error for a cell that no table or figure could contain.

        Raises:
            ConfigError: one line for each mistake.
        """
        self.check_names(cell)
        self._refuse([self._unusable(cell)])
        self._refuse([self._beyond_pool(cell, ())])

    @staticmethod
    def _refuse(problems: Iterable[Iterable[Problem]]) -> None:
        texts = [text for found in problems for _, text in found]
        if texts:
            raise ConfigError("\n".join(texts))

    def _entry(self, group: str, name: str) -> tuple[Any, ...]:
        """Return the parts of the entry with a name; the name may have a variant."""
        entry = getattr(self, group)[Variant.parse(name).base]
        return entry if isinstance(entry, tuple) else (entry,)

    def _names_twice(self) -> Iterator[Problem]:
        """Yield figures with the name of a table: a summary belongs to one of them."""
        for name in self.tables.keys() & self.figures.keys():
            yield ("figures", name), "a table has the same name: rename one of the two"

    def _dangling_names(self) -> Iterator[Problem]:
        """Yield names in tables, figures and `where` cases that the study does not define."""
        for section in ("tables", "figures"):
            for name, block in getattr(self, section).items():
                for group in ("datasets", "models", "attacks", "defenses"):
                    for i, wanted in enumerate(getattr(block, group, ())):
                        yield from self.dangling((section, name, group, i), group, wanted)
                yield from grids.unknown_fields(self, (section, name), block)
                if isinstance(block, Leaderboard | Sweep) and not self.reckons_losses:
                    text = f"losses refer to {BASELINE} and {PLAIN}: add them to the study"
                    yield (section, name), text
        for head, entry in self._entries():
            for i, case in enumerate(entry.where):
                place = (*head, "where", i)
                yield from self.dangling((*place, "dataset"), "datasets", case.dataset)
                yield from self.dangling((*place, "model"), "models", case.model)

    def _entries(self) -> Iterator[tuple[Place, Any]]:
        """Yield every method's entry and its place."""
        for section in ("models", "attacks"):
            for name, entry in getattr(self, section).items():
                yield (section, name), entry
        for name, parts in self.defenses.items():
            for i, part in enumerate(parts):
                yield ("defenses", name, i), part

    def dangling(self, place: Place, group: str, wanted: str | None) -> Iterator[Problem]:
        """Yield what a name, which may have a variant, has that the study does not define."""
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
        """Return the fields that a variant of an entry may change: its own, and the protocol's."""
        if group == "datasets":
            return []
        return [*self.fields(group, name), *fields_of(TrainingProtocol)]

    def _unusable_cells(self) -> Iterator[Problem]:
        """Yield settings that are valid individually, but impossible together."""
        if any(True for _ in self._dangling_names()):
            return
        for section in ("tables", "figures"):
            for name, block in getattr(self, section).items():
                # One seed is enough: seeds do not affect whether a cell is valid.
                cells = dict.fromkeys(c.model_copy(update={"seed": 0}) for c in self.cells(block))
                wrong = [problem for cell in cells for problem in self._unusable(cell)]
                yield from wrong or self._unshowable((section, name), block, cells)

    def _unshowable(
        self, place: Place, block: Table | Figure, cells: Iterable[Cell]
    ) -> Iterator[Problem]:
        """Yield what is impossible about a table or figure, given that its cells are valid."""
        for cell in cells:
            yield from self._beyond_pool(cell, *grids.ratios_of(block, place))
            yield from grids.wrong_names(self, cell, place, block)
            observe = self.protocol_part(cell).settings()["observe"]
            arm = f"{cell.model}/{cell.attack}/{cell.defense}"
            if isinstance(block, UploadFigure) and not observe:
                remedy = f"name a variant that does, such as {cell.defense}@observe=50"
                yield (*place, "defenses"), f"{arm} records no uploads; {remedy}"

    def _beyond_pool(
        self, cell: Cell, place: Place, ratios: Sequence[Any] = ()
    ) -> Iterator[Problem]:
        pool = self.protocol_part(cell).settings()["pool"]
        if not self._harmless(cell) and not 0 < cell.ratio <= pool:
            where = (*place, ratios.index(cell.ratio)) if cell.ratio in ratios else place
            users = "the pool of possibly malicious users, protocol.pool"
            yield where, f"{cell.ratio} must be above 0 and within {users} = {pool}"

    def _unusable(self, cell: Cell) -> Iterator[Problem]:
        for group, attribute in ATTRIBUTES.items():
            place = (group, Variant.parse(getattr(cell, attribute)).base)
            try:
                parts = [part.type(**part.settings()) for part in self.parts(group, cell)]
                if group == "defenses":
                    Defense.compose(parts)
                self.protocol_part(cell).settings()
            except pydantic.ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(map(str, problem["loc"]))
                text = str(problem["msg"]).removeprefix("Value error, ")
                yield place, f"{field}: {text}" if field else text
            except ValueError as error:
                yield place, str(error)


def _switches(group: str, kind: str, method: type, preset: Preset) -> Iterator[Switch]:
    """Yield the fields that the preset of the paper's text sets to another value."""
    for field, paper in preset_values(method, "paper").items():
        info: pydantic.fields.FieldInfo = vars(method)["__pydantic_fields__"][field]
        ours = preset_values(method, preset).get(field, info.default)
        yield Switch.model_validate(
            {
                "group": group, "kind": kind, "field": field, "meaning": info.description or "",
                "paper": paper, "code": info.default, "ours": ours,
            }
        )  # fmt: skip


def _loosen(schema: dict[str, Any]) -> None:
    """In the schema, let a file that extends another one omit the keys and kinds of the other."""
    required = schema.pop("required")
    with_kinds = {group: {"additionalProperties": {"required": ["kind"]}} for group in MAPPINGS}
    schema["anyOf"] = [
        {"required": [EXTENDS]},
        {"required": required, "properties": with_kinds},
    ]
    for group in MAPPINGS:  # without a kind, an entry may fit several types
        for entry in schema["properties"][group]["patternProperties"].values():
            entry["anyOf"] = entry.pop("oneOf")
    for entry in schema["properties"]["defenses"]["patternProperties"].values():
        entry["items"]["required"] = ["kind"]


KEYS_OF_BLOCKS = {kind_of(block): block.model_fields for block in (*TABLES, *FIGURES)}


def known_keys(place: Place) -> Iterable[str]:
    """Return the keys that are allowed beside the last one of `place`."""
    if len(place) == 1:
        return Study.model_fields
    group = str(place[0])
    for kind, method in KINDS.get(group, {}).items():
        if kind in place:
            return [*fields_of(method), "kind", "preset", "where", "dataset", "model"]
    if group == "datasets":
        return dataset.known_keys(place)
    if group in ("tables", "figures"):
        return KEYS_OF_BLOCKS.get(str(place[-2]), ())
    if group == "tuning":
        return Tuning.model_fields
    return ProtocolEntry.model_fields if group == "protocol" else []
