"""What runs take, in time and on the disk, as far as records tell."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fedrec.analysis.measure import seedless
from fedrec.analysis.more_seeds import seconds_of
from fedrec.analysis.summary import CPU
from fedrec.plan.cells import Cell
from fedrec.records import Record

UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
A_RECORD = 40e3  # bytes, where there is no record to look at


@dataclass(frozen=True)
class Effort:
    """The time of some runs, one after another, and the size of their records."""

    seconds: Mapping[str, float]  # on each device: one CPU thread, or a GPU of that name
    unknown: int  # runs of which no record tells the time
    bytes: float

    @property
    def time(self) -> str:
        """The time in words, such as `12 min on a CPU thread`."""
        parts = [f"{duration(s)} on {_named(device)}" for device, s in self.seconds.items()]
        return " + ".join(
            [*parts, *([f"{self.unknown} of unknown length"] if self.unknown else [])]
        )

    @property
    def disk(self) -> str:
        """The size in kB or MB."""
        return size(self.bytes)


def effort(cells: Iterable[Cell], records: Sequence[Record]) -> Effort:
    """Estimate what cells take from records of the same arms, or of similar ones.

    CPU records count first. Where a dataset and model have none, GPU records do.
    """
    arms, by_device = Counter(map(seedless, cells)), _by_device(records)
    seconds, unknown = dict[str, float](), 0
    for arm, count in arms.items():
        device, each = _of_arm(arm, by_device)
        if each is None:
            unknown += count
        else:
            seconds[device] = seconds.get(device, 0.0) + count * each
    return Effort(seconds, unknown, arms.total() * _bytes(records))


def duration(seconds: float) -> str:
    """A time in its largest fitting unit, such as `2.5 h`."""
    unit, length = next((u for u in UNITS if seconds >= 2 * u[1]), UNITS[-1])
    value = seconds / length
    return f"{value:.0f} {unit}" if value >= 10 or unit == "s" else f"{value:.1f} {unit}"


def size(count: float) -> str:
    """Bytes in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _by_device(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {CPU: []}  # in the order in which they count
    for record in records:
        found.setdefault(record.provenance.device, []).append(record)
    return found


def _of_arm(arm: Cell, records: Mapping[str, Sequence[Record]]) -> tuple[str, float | None]:
    """Return a device that tells how long a run of an arm takes, and the seconds."""
    found = ((device, seconds_of(arm, some)) for device, some in records.items())
    return next(((d, s) for d, s in found if s is not None), (CPU, None))


def _named(device: str) -> str:
    return "a CPU thread" if device == CPU else f"one {device}"


def _bytes(records: Sequence[Record]) -> float:
    """The size of a record's file."""
    some = [len(record.model_dump_json(indent=1)) for record in records[:20]]
    return sum(some) / len(some) if some else A_RECORD
