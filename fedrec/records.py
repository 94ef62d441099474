"""The record of one run: its schema, its reader and its writer."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field, model_serializer, model_validator

from fedrec.errors import RecordError
from fedrec.files import sealed, unsealed, write_bytes, write_text
from fedrec.plan.cells import Cell, cell_path
from fedrec.plan.metrics import SELECTION_METRIC, Report
from fedrec.settings import RecordPart

# How `fedrec.rng` and all who use it draw: with any change of a draw, another word stands here. It
# is one of a cell's settings, so records and checkpoints of other draws do not fit the cell.
DRAWS = "philox4x32-10/1"


class Trajectory(RecordPart):
    """What was measured at each evaluation, column by column."""

    round: list[int]
    validation: dict[str, list[float]]
    test: dict[str, list[float]]
    loss: list[float]  # mean training loss of the cohorts since the evaluation before
    attack: dict[str, list[float | None]]  # what the attack reported of its last round
    defense: dict[str, list[float | None]]

    @model_validator(mode="after")
    def _rectangular(self) -> "Trajectory":
        groups = (self.validation, self.test, self.attack, self.defense, {"loss": self.loss})
        for name, column in ((n, c) for group in groups for n, c in group.items()):
            if len(column) != len(self.round):
                raise ValueError(f"{name} has {len(column)} values for {len(self.round)} rounds")
        return self

    def reported_index(self, report: Report) -> int:
        """The evaluation whose test metrics count: the first best validation HR@5, or the last."""
        if report == "last":
            return len(self.round) - 1
        validation = self.validation[SELECTION_METRIC]
        return validation.index(max(validation))


class Uploads(RecordPart):
    """Uploads of the first rounds, one entry each, column by column (paper, Figure 4)."""

    round: list[int]
    malicious: list[bool]
    component_1: list[float]  # coordinates along the principal components of a window of rounds
    component_2: list[float]
    uniformity: list[float] = Field(default_factory=list)  # where UNION measured it


class Hits(RecordPart):
    """The evaluated users whose test item ranks among the first 20, at one evaluation."""

    users: int  # evaluated, hits or not
    user: list[int]
    position: list[float]  # from 1; ties share their mean position


class Malicious(RecordPart):
    """How many users were malicious, and how often they took part in rounds played to the end."""

    users: int
    uploads: int = 0  # forged, over all rounds
    rounds: int = 0  # with one of these at least

    def after_round(self, uploads: int) -> "Malicious":
        """The counts after one more round, with so many forged uploads."""
        return Malicious(
            users=self.users,
            uploads=self.uploads + uploads,
            rounds=self.rounds + (uploads > 0),
        )


class Picture(RecordPart):
    """Where items lie after a round, along the two principal components of their embeddings."""

    attack: str
    defense: str
    round: int
    component_1: list[float]
    component_2: list[float]


class Pictures(RecordPart):
    """Pictures of several runs on one dataset of made-up communities."""

    dataset: str
    ratio: float  # share of malicious users where there is an attack
    community: list[int]  # of each item
    pictures: list[Picture]


class Provenance(RecordPart):
    """What made the record."""

    fedrec: str
    git: str | None  # commit, where the code ran from a checkout
    python: str
    torch: str
    numpy: str
    device: str
    processor: str  # its model
    system: str  # operating system, architecture and C library
    driver: str | None = None  # the GPU's, where it can be asked
    cuda: str | None = None  # what PyTorch was built with, where a GPU ran it

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """A CPU's records lack what only a GPU has, so they are the bytes that they were."""
        values = dump(self)
        return {k: v for k, v in values.items() if v is not None or k not in ("driver", "cuda")}


class Cost(RecordPart):
    """What the run took."""

    seconds: float
    seconds_per_round: float
    peak_memory_mb: float


class Record(RecordPart):
    """Everything that tables, figures and verdicts need of one run."""

    schema_version: Literal[2]
    cell: Cell
    config: dict[str, Any]  # the resolved settings of the cell, every field written out
    config_hash: str
    dataset_checksum: str
    trajectory: Trajectory
    diverged_at: int | None = None  # the round that ended the run early, if training diverged
    malicious: Malicious
    uploads: Uploads | None = None
    hits: dict[Report, Hits] | None = None  # at the evaluation that each way of reporting takes
    provenance: Provenance
    cost: Cost

    @property
    def draws(self) -> str:
        """The version of the random draws; records from before there was one do not say."""
        return str(self.config.get("draws", "unnamed"))

    def science(self) -> dict[str, Any]:
        """All that must be the same when the cell is run again: no versions, no times."""
        return self.model_dump(exclude={"provenance", "cost"})

    def reported_index(self, report: Report) -> int:
        """The evaluation whose test metrics count."""
        return self.trajectory.reported_index(report)

    def reported(self, metric: str, report: Report) -> float:
        """The test metric that counts.

        Raises:
            RecordError: the run did not measure it.
        """
        if metric not in self.trajectory.test:
            raise RecordError(
                f"{cell_path(self.cell)}: has no {metric}, only "
                f"{', '.join(self.trajectory.test)}; run its cell again"
            )
        return self.trajectory.test[metric][self.reported_index(report)]


def config_hash(values: Mapping[str, Any]) -> str:
    """SHA-256 of a cell's settings."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON: whole or not at all."""
    write_text(path, json.dumps(sealed(record.model_dump()), sort_keys=True, indent=1) + "\n")


def read_record(path: Path) -> Record:
    """Read what `write_record` wrote.

    Raises:
        RecordError: there is no such file, or it is no record of this version.
    """
    return _parse(_read(path), str(path))


def pack(records: Sequence[Record], path: Path) -> None:
    """Write records into one compact `.jsonl.gz`; equal records give equal bytes."""
    lines = sorted(json.dumps(record.model_dump(), sort_keys=True) for record in records)
    text = "".join(f"{line}\n" for line in lines)
    write_bytes(path, gzip.compress(text.encode(), mtime=0))


def add_to_pack(records: Sequence[Record], path: Path) -> None:
    """Pack records together with those that `path` holds already; of one cell, the new one stays.

    Raises:
        RecordError: what `path` holds cannot be read, would be mixed with records of other draws,
            or replaced by those of another device; it is left as it is.
    """
    kept = {record.cell: record for record in (read_records([path]) if path.exists() else ())}
    _check_devices(path, kept, records)
    together = (kept | {record.cell: record for record in records}).values()
    _check_draws([(path, record) for record in together])
    pack(list(together), path)


def read_records(paths: Sequence[Path]) -> list[Record]:
    """The records in some files, each a `.json` of one or a `.jsonl.gz` of many.

    Raises:
        RecordError: a file cannot be used, a cell comes twice, which would count its seed twice, or
            random numbers were drawn in more than one way.
    """
    found: dict[Cell, tuple[Path, Record]] = {}
    for path in paths:
        for record in _records_in(path):
            if record.cell in found:
                raise RecordError(
                    f"{path}: {cell_path(record.cell)} is in {found[record.cell][0]} already; "
                    "give only one of the two"
                )
            found[record.cell] = (path, record)
    _check_draws(list(found.values()))
    return [record for _, record in found.values()]


def read_pictures(path: Path) -> Pictures:
    """Read what `fedrec pictures` wrote.

    Raises:
        RecordError: the file is missing or holds something else.
    """
    try:
        return Pictures.model_validate_json(_read(path))
    except pydantic.ValidationError as error:
        raise RecordError(f"{path}: {_damage(error)}; delete it, and make it again") from None


def _check_draws(found: Sequence[tuple[Path, Record]]) -> None:
    """Runs that share a seed share their draws; those of other draws are no pairs to them."""
    if len({record.draws for _, record in found}) < 2:
        return
    path, record = next(pair for pair in found if pair[1].draws != DRAWS)
    raise RecordError(
        f"{path}: {cell_path(record.cell)} was made with other draws ({record.draws}) than "
        "the rest; run its cell again"
    )


def _check_devices(path: Path, kept: Mapping[Cell, Record], records: Sequence[Record]) -> None:
    """A published number does not change for the device's sake."""
    for record in records:
        old, new = kept.get(record.cell, record).provenance.device, record.provenance.device
        if old != new:
            raise RecordError(
                f"{path}: {cell_path(record.cell)} was made on {old}, and {new} may not replace "
                "it; give each device's records a folder of their own (`results` in the config)"
            )


def _records_in(path: Path) -> list[Record]:
    if path.suffix != ".gz":
        return [read_record(path)]
    try:
        lines = gzip.decompress(_read(path) or b"empty").splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise RecordError(
            f"{path}: is damaged ({error}); restore it, or delete it and run `publish`"
        ) from None
    return [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be read ({error.strerror}); run its cell first"
        ) from None


def _parse(text: bytes, place: str) -> Record:
    try:
        return Record.model_validate(unsealed(text))
    except ValueError as error:
        raise RecordError(
            f"{place}: {_damage(error)}; delete the file and run its cell again"
        ) from None


def _damage(error: ValueError) -> str:
    """The first mistake, with its key where the schema found it."""
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    first: Mapping[str, Any] = error.errors()[0]
    if first["loc"] == ("schema_version",) and first["type"] == "literal_error":
        return f"is a record of version {first['input']}, not {first['ctx']['expected']}"
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
