"""Benchmark results: as a file, as lines of text, and compared with another file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import Field

from fedrec import __version__
from fedrec.bench.counted import Counted
from fedrec.bench.machine import Machine
from fedrec.bench.measure import Result
from fedrec.errors import ConfigError
from fedrec.files import write_text
from fedrec.plan.cells import BASELINE, PLAIN
from fedrec.settings import RecordPart


class Benchmark(RecordPart):
    """The results of one run of `fedrec bench`."""

    schema_version: Literal[1] = 1
    fedrec: str = __version__
    machines: list[Machine]
    results: list[Result]
    counted: list[Counted] = Field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the results as JSON."""
        write_text(path, self.model_dump_json(indent=1) + "\n")

    def add(self, result: Result) -> Result:
        """Add a result, and return it."""
        self.results.append(result)
        return result

    def count(self, counted: Counted) -> Counted:
        """Add the counts of a case, and return them."""
        self.counted.append(counted)
        return counted

    @staticmethod
    def read(path: Path) -> "Benchmark":
        """Read results that `write` wrote.

        Raises:
            ConfigError: the file contains something else.
        """
        try:
            return Benchmark.model_validate_json(path.read_bytes())
        except pydantic.ValidationError as error:
            raise ConfigError(f"{path} is not a benchmark of this version: {error}") from None

    def plain_milliseconds(self, result: Result) -> float | None:
        """Return the time of a round of the same model and size without attack and defence.

        None if it has not been timed.
        """
        alike = result.case.model_copy(update={"defense": PLAIN, "attack": BASELINE})
        return next((r.milliseconds for r in self.results if r.case == alike), None)

    def machine(self, result: Result) -> Machine:
        """Return the machine on which a result was measured."""
        ran_on = (result.case.device, result.case.threads)
        return next(m for m in self.machines if (m.device, m.threads) == ran_on)


def describe(machine: Machine) -> str:
    """Describe the machine's limits."""
    return (
        f"{machine.device}, {machine.threads} threads: {machine.bandwidth / 1e9:.1f} GB/s, "
        f"{machine.arithmetic / 1e9:.0f} GFLOP/s"
    )


def limits(result: Result, machine: Machine) -> dict[str, float]:
    """Return the least milliseconds for each part whose work has been estimated."""
    return {name: machine.milliseconds(*work) for name, work in result.work.items()}


def lines(result: Result, machine: Machine) -> Iterator[str]:
    """Yield one case part by part, with the limit and the time as a multiple of it."""
    limit = limits(result, machine)
    yield result.case.name
    yield f"{'':30s}{'ms':>9s}{'limit':>9s}{'x limit':>9s}"
    yield _line("round", result.milliseconds, sum(limit.values()))
    for name, milliseconds in result.parts.items():
        yield _line(f"  {name}", milliseconds, limit.get(name, 0.0))
    yield _line("evaluation", result.evaluation, 0.0)
    if result.reference is not None:
        yield _line("plain version's round", result.reference, 0.0)
        yield f"{'speed-up':30s}{result.reference / result.milliseconds:9.0f}"
    yield f"{'peak memory, MiB':30s}{result.peak_memory_mb:9.0f}"
    if result.no_reference:
        yield result.no_reference


def _line(name: str, milliseconds: float, limit: float) -> str:
    against = f"{limit:9.2f}{milliseconds / limit:9.1f}" if limit else ""
    return f"{name:30s}{milliseconds:9.2f}{against}"


def table_lines(results: Iterable[Result], made: Benchmark) -> Iterator[str]:
    """Yield a line per case as results come in: time against the plain cell's, and speed-up."""
    yield (
        f"{'case':60s}{'ms a round':>12s}{'x plain':>9s}{'x limit':>9s}"
        f"{'speed-up':>10s}{'peak MiB':>10s}"
    )
    for result in results:
        limit = sum(limits(result, made.machine(result)).values())
        ratios = (
            _ratio(result.milliseconds, made.plain_milliseconds(result), 9),
            _ratio(result.milliseconds, limit, 9),
            _ratio(result.reference, result.milliseconds, 10),
        )
        yield (
            f"{result.case.name:60s}{result.milliseconds:12.2f}{''.join(ratios)}"
            f"{result.peak_memory_mb:10.0f}"
        )
        if result.no_reference:
            yield f"  {result.no_reference}"


def _ratio(over: float | None, under: float | None, width: int) -> str:
    return f"{over / under:{width}.2f}" if over and under else " " * width


def comparison(before: Benchmark, after: Benchmark) -> Iterator[str]:
    """Yield the cases in both files: milliseconds per round, and the speed-up."""
    earlier = {result.case: result for result in before.results}
    yield f"{'':50s}{'before':>10s}{'after':>10s}{'faster':>9s}{'MiB':>16s}"
    for result in after.results:
        other = earlier.get(result.case)
        if other:
            yield (
                f"{result.case.name:50s}{other.milliseconds:10.2f}{result.milliseconds:10.2f}"
                f"{other.milliseconds / result.milliseconds:9.2f}"
                f"{other.peak_memory_mb:8.0f}{result.peak_memory_mb:8.0f}"
            )
    yield f"machine before: {'; '.join(map(describe, before.machines))}"
    yield f"machine after:  {'; '.join(map(describe, after.machines))}"
