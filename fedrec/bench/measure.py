"""Times of a round, its parts, an evaluation and the plain version's round; peak memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from torch.profiler import ProfilerActivity, profile

from fedrec.bench.cells import Case, bench_split
from fedrec.bench.machine import seconds
from fedrec.bench.tally import Work, tally
from fedrec.bench.traffic import round_work
from fedrec.config.cell_config import CellConfig
from fedrec.data.split import Split
from fedrec.federation import Federation, Population, play_round, set_up
from fedrec.kernels.threads import prepare, torch_threads
from fedrec.metrics.ranking import LeaveOneOut
from fedrec.reference.missing import NoPlainVersion
from fedrec.reference.simulation import Reference
from fedrec.settings import RecordPart
from fedrec.training.run import peak_memory_mb
from fedrec.training.simulation import evaluate

T = TypeVar("T")
WARM_UP = 30  # rounds until everything is compiled and memory has stopped growing
BLOCKS = 6  # blocks of rounds, each timed
SCORES = 2 * 10**9  # scores in an evaluation at most: all users at the paper's sizes

# Otherwise PyTorch's profiler writes a line to stderr whenever it starts and stops.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")


class Effort(RecordPart):
    """How long to measure."""

    rounds: int = 200
    reference: int = 0  # rounds of the plain version; 0 leaves it out


class Result(RecordPart):
    """The cost of a case."""

    case: Case
    milliseconds: float  # of a round
    peak_memory_mb: float  # after the rounds, before anything else
    parts: dict[str, float]  # milliseconds from the profiler, which slows small parts down
    evaluation: float  # milliseconds for as many users as SCORES allows
    work: dict[str, tuple[float, float]]  # bytes and operations of parts; empty if not estimated
    reference: float | None  # milliseconds of the plain version's round
    no_reference: str = ""  # why there is no such time, although it was asked for


def measure(cases: Iterable[Case], effort: Effort) -> Iterator[Result]:
    """Measure each case in its own process, on data generated once for all cases of its size."""
    with TemporaryDirectory() as folder:
        for case in cases:
            path = Path(folder) / f"{case.users}-{case.items}-{case.interactions}.npz"
            if not path.exists():
                apart(_make_split, case, path)
            yield apart(measure_case, case, effort, path)


def apart(work: Callable[..., T], *arguments: object) -> T:
    """Return the result of work in a fresh process, so that its peak memory is its own.

    The calling process has to be small, because a process starts with the peak of its parent.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def measure_case(case: Case, effort: Effort, path: Path) -> Result:
    """Time one case in this process. The round is timed without the profiler."""
    prepare(case.threads)
    config, split = case.config(), Split.load(path)
    fed, population = set_up(config, split, case.device)
    _play(fed, 0, WARM_UP)
    milliseconds, peak = _round_milliseconds(fed, case.device, effort), peak_memory_mb()
    parts = _parts(fed, effort)
    reference, why = _reference(config, split, case, effort) if effort.reference else (None, "")
    return Result(
        case=case,
        milliseconds=milliseconds,
        peak_memory_mb=peak,
        parts=parts,
        evaluation=_evaluation_milliseconds(config, split, case.device, fed, population),
        work={name: (w.bytes, w.operations) for name, w in _work(config, fed).items()},
        reference=reference,
        no_reference=why,
    )


def _make_split(case: Case, path: Path) -> None:
    bench_split(case.counts()).save(path)


def _round_milliseconds(fed: Federation, device: str, effort: Effort) -> float:
    """Return the median over blocks of rounds, so that a pause of the machine does not count."""
    ends = np.linspace(0, effort.rounds, min(BLOCKS, effort.rounds) + 1, dtype=int)
    times = [
        seconds(partial(_play, fed, first, end - first), device) * 1e3 / (end - first)
        for first, end in pairwise((WARM_UP + ends).tolist())
    ]
    return float(np.median(times))


def _evaluation_milliseconds(
    config: CellConfig, split: Split, device: str, fed: Federation, population: Population
) -> float:
    users = population.evaluated[: SCORES // split.n_items]
    rank = LeaveOneOut(split, users, config.protocol.repeat_targets, device)
    return _median([partial(evaluate, fed, rank)] * 3, device)


def _parts(fed: Federation, effort: Effort) -> dict[str, float]:
    """Return the means over some rounds, by the names used in `federation.play_round`."""
    rounds = min(effort.rounds, 50)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        _play(fed, WARM_UP + effort.rounds, rounds)
    return {
        event.key: event.cpu_time_total / 1e3 / rounds
        for event in profiler.key_averages()
        if ": " in event.key and "::" not in event.key  # names of the round, not of PyTorch
    }


def _work(config: CellConfig, fed: Federation) -> dict[str, Work]:
    try:
        return round_work(config, tally(fed, config))
    except NotImplementedError:
        return {}


def _reference(
    config: CellConfig, split: Split, case: Case, effort: Effort
) -> tuple[float | None, str]:
    """Time the plain version, or say why there is none.

    It uses PyTorch's own threads, and its first round is a warm-up.
    """
    try:
        plain = Reference(set_up(config, split, case.device)[0])
        rounds = [partial(plain.play_round, number) for number in range(1, effort.reference + 2)]
        with torch_threads():
            rounds[0]()
            return _median(rounds[1:], case.device), ""
    except NoPlainVersion as error:
        return None, str(error)


def _median(work: Sequence[Callable[[], object]], device: str) -> float:
    return float(np.median([seconds(one, device) * 1e3 for one in work]))


def _play(fed: Federation, first: int, rounds: int) -> None:
    with fed.tapes.on_stream():
        for number in range(first, first + rounds):
            play_round(fed, number)
