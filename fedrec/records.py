"""Records of runs: schema, reader and writer."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from jaxtyping import Float, Int
from pydantic import Field, model_serializer, model_validator

from fedrec.errors import RecordError
from fedrec.files import sealed, unsealed, write_bytes, write_text
from fedrec.plan.cells import Cell, cell_path
from fedrec.plan.metrics import SELECTION_METRIC, Report
from fedrec.settings import RecordPart

# The version of the random draws. It must change whenever a draw in `fedrec.rng` or in code that
# uses it changes. It is one of a cell's settings, so records and checkpoints made with other draws
# do not fit the cell.
DRAWS = "philox4x32-10/1"


class Trajectory(RecordPart):
    """The measurements of all evaluations, stored as columns."""

    round: list[int]
    validation: dict[str, list[float]]
    test: dict[str, list[float]]
    loss: list[float]  # mean training loss of the cohorts since the previous evaluation
    attack: dict[str, list[float | None]]  # what the attack reported for its last round
    defense: dict[str, list[float | None]]

    @model_validator(mode="after")
    def _rectangular(self) -> "Trajectory":
        groups = (self.validation, self.test, self.attack, self.defense, {"loss": self.loss})
        for name, column in ((n, c) for group in groups for n, c in group.items()):
            if len(column) != len(self.round):
                raise ValueError(f"{name} has {len(column)} values for {len(self.round)} rounds")
        return self

    def reported_index(self, report: Report) -> int:
        """Return the reported evaluation's index: the first best validation HR@5, or the last."""
        if report == "last":
            return len(self.round) - 1
        validation = self.validation[SELECTION_METRIC]
        return validation.index(max(validation))


class Uploads(RecordPart):
    """Uploads of the first rounds, as columns with one entry per upload (paper, Figure 4)."""

    round: list[int]
    malicious: list[bool]
    component_1: list[float]  # coordinates along the principal components of a window of rounds
    component_2: list[float]
    uniformity: list[float] = Field(default_factory=list)  # where UNION measured it


class Hits(RecordPart):
    """The evaluated users whose test item ranks among the first 20, at one evaluation."""

    users: int  # number of evaluated users, with and without a hit
    user: list[int]
    position: list[float]  # from 1; ties share their mean position

    @cached_property
    def arrays(self) -> tuple[Int[np.ndarray, " hits"], Float[np.ndarray, " hits"]]:
        """The users and their positions, for computing."""
        return np.array(self.user, dtype=np.int64), np.array(self.position, dtype=float)


class Malicious(RecordPart):
    """How many users were malicious, and how often they took part in completed rounds."""

    users: int
    uploads: int = 0  # forged uploads over all rounds
    rounds: int = 0  # rounds with at least one forged upload

    def after_round(self, uploads: int) -> "Malicious":
        """Return the counts after one more round, which had `uploads` forged uploads."""
        return Malicious(
            users=self.users,
            uploads=self.uploads + uploads,
            rounds=self.rounds + (uploads > 0),
        )


class Picture(RecordPart):
    """Item positions after a round, along the two principal components of the embeddings."""

    attack: str
    defense: str
    round: int
    component_1: list[float]
    component_2: list[float]


class Pictures(RecordPart):
    """Pictures of several runs on one synthetic dataset with communities of items."""

    dataset: str
    ratio: float  # share of malicious users in the runs with an attack
    community: list[int]  # the community of each item
    pictures: list[Picture]


class Provenance(RecordPart):
    """The code, libraries and machine that made the record."""

    fedrec: str
    git: str | None  # commit, if the code ran from a checkout
    python: str
    torch: str
    numpy: str
    device: str
    processor: str  # model of the processor
    system: str  # operating system, architecture and C library
    driver: str | None = None  # version of the GPU driver, if it can be read
    cuda: str | None = None  # CUDA version of the PyTorch build, if the run used a GPU

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Omit the GPU fields from CPU records, so that these keep the bytes of older versions."""
        values = dump(self)
        return {k: v for k, v in values.items() if v is not None or k not in ("driver", "cuda")}


class Cost(RecordPart):
    """The time and memory that the run took, and what its clients uploaded.

    `upload_bytes` (`fedrec.metrics.upload_sizes`) defines the bytes of an upload. They are None in
    records of runs on a GPU, which does not count them, and in records older than these fields.
    """

    seconds: float
    seconds_per_round: float
    peak_memory_mb: float
    benign_upload_bytes: float | None = None  # mean over the uploads of benign clients
    malicious_upload_bytes: float | None = None  # mean over forged uploads, if there were any

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Omit bytes that are not known, so that older records keep their bytes in a file."""
        return {name: value for name, value in dump(self).items() if value is not None}


class Record(RecordPart):
    """Everything about one run that tables, figures and verdicts need."""

    schema_version: Literal[2]
    cell: Cell
    config: dict[str, Any]  # the resolved settings of the cell, with every field
    config_hash: str
    dataset_checksum: str
    trajectory: Trajectory
    diverged_at: int | None = None  # the round that ended the run early, if training diverged
    malicious: Malicious
    uploads: Uploads | None = None
    hits: dict[Report, Hits] | None = None  # at the reported evaluation, for each report rule
    provenance: Provenance
    cost: Cost

    @property
    def draws(self) -> str:
        """The version of the random draws; `unnamed` in records older than this setting."""
        return str(self.config.get("draws", "unnamed"))

    def science(self) -> dict[str, Any]:
        """Return everything that a re-run of the cell must reproduce: no versions, no times."""
        return self.model_dump(exclude={"provenance", "cost"})

    def reported_index(self, report: Report) -> int:
        """Return the index of the reported evaluation."""
        return self.trajectory.reported_index(report)

    def reported(self, metric: str, report: Report) -> float:
        """Return a test metric at the reported evaluation.

        Raises:
            RecordError: the run did not measure this metric.
        """
        if metric not in self.trajectory.test:
            raise RecordError(
                f"{cell_path(self.cell)}: has no {metric}, only "
                f"{', '.join(self.trajectory.test)}; run its cell again"
            )
        return self.trajectory.test[metric][self.reported_index(report)]


def config_hash(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a cell's settings."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, atomically."""
    write_text(path, json.dumps(sealed(record.model_dump()), sort_keys=True, indent=1) + "\n")


def read_record(path: Path) -> Record:
    """Read a record that `write_record` wrote.

    Raises:
        RecordError: the file is missing, or it is not a record of this version.
    """
    return _parse(_read(path), str(path))


def pack(records: Sequence[Record], path: Path) -> None:
    """Write records into one compact `.jsonl.gz`; equal records give equal bytes."""
    lines = sorted(json.dumps(record.model_dump(), sort_keys=True) for record in records)
    text = "".join(f"{line}\n" for line in lines)
    write_bytes(path, gzip.compress(text.encode(), mtime=0))


def add_to_pack(records: Sequence[Record], path: Path) -> None:
    """Add records to a pack at `path`. A new record replaces an old one of the same cell.

    Raises:
        RecordError: the old pack cannot be read, was made with other draws, or has a record of the
            same cell from another device. The pack is left unchanged.
    """
    kept = {record.cell: record for record in (read_records([path]) if path.exists() else ())}
    _check_devices(path, kept, records)
    together = (kept | {record.cell: record for record in records}).values()
    _check_draws([(path, record) for record in together])
    pack(list(together), path)


def read_records(paths: Sequence[Path]) -> list[Record]:
    """Read the records in files, each a `.json` with one record or a `.jsonl.gz` with many.

    Raises:
        RecordError: a file cannot be used, a cell occurs twice (its seed would count twice), or
            the records were made with different draws.
    """
    found: dict[Cell, tuple[Path, Record]] = {}
    for path in paths:
        for record in _records_in(path):
            if record.cell in found:
                raise RecordError(
                    f"{path}: {cell_path(record.cell)} is already in {found[record.cell][0]}; "
                    "give only one of the two"
                )
            found[record.cell] = (path, record)
    _check_draws(list(found.values()))
    return [record for _, record in found.values()]


def read_pictures(path: Path) -> Pictures:
    """Read a file that `fedrec pictures` wrote.

    Raises:
        RecordError: the file is missing or holds something else.
    """
    try:
        return Pictures.model_validate_json(_read(path))
    except pydantic.ValidationError as error:
        raise RecordError(f"{path}: {_damage(error)}; delete it and make it again") from None


def _check_draws(found: Sequence[tuple[Path, Record]]) -> None:
    """Raise an error if records were made with different draws.

    Runs with the same seed share their draws and are compared in pairs; other draws break this.
    """
    if len({record.draws for _, record in found}) < 2:
        return
    path, record = next(pair for pair in found if pair[1].draws != DRAWS)
    raise RecordError(
        f"{path}: {cell_path(record.cell)} was made with other draws ({record.draws}) than "
        "the rest; run its cell again"
    )


def _check_devices(path: Path, kept: Mapping[Cell, Record], records: Sequence[Record]) -> None:
    """Raise an error if a record would replace one that was made on another device.

    A published number must not change because of the device.
    """
    for record in records:
        old, new = kept.get(record.cell, record).provenance.device, record.provenance.device
        if old != new:
            raise RecordError(
                f"{path}: {cell_path(record.cell)} was made on {old} and cannot be replaced by a "
                f"record from {new}; give each device its own folder of records (`results` in the "
                "config)"
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
    """Describe the first mistake, with its key if the schema found it."""
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    first: Mapping[str, Any] = error.errors()[0]
    if first["loc"] == ("schema_version",) and first["type"] == "literal_error":
        return f"is a record of version {first['input']}, not {first['ctx']['expected']}"
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
