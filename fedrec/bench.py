"""How long a round takes, its parts, and its memory: one cell, or a grid of them."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.profiler import ProfilerActivity, profile

from fedrec.config import CellConfig, Study
from fedrec.data.interactions import Counts, from_columns
from fedrec.data.split import Split, leave_one_out
from fedrec.federation import Federation, play_round, set_up
from fedrec.metrics.ranking import LeaveOneOut
from fedrec.process import prepare
from fedrec.records import Cell
from fedrec.run import peak_memory_mb
from fedrec.simulation import evaluate

# The paper's sizes (Table 2); Gowalla without its repeated visits.
SIZES = {
    "ml-1m": Counts(users=6040, items=3706, interactions=1_000_209),
    "gowalla": Counts(users=29_858, items=40_981, interactions=1_027_370),
}
ATTACKS = ("NoAttack", "ClusterAttack")
WARM_UP = 30  # rounds until all is compiled and memory has grown to what is needed
BLOCKS = 6  # of rounds, each timed


def bench_split(size: Counts, seed: int = 0) -> Split:
    """A split of a dataset's size, made up, so that the benchmark needs no download.

    Lengths of histories and popularity of items are skewed; no user takes an item twice.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(sigma=1.0, size=size.users)
    lengths = (lengths * size.interactions / lengths.sum()).astype(int).clip(3, size.items // 2)
    popularity = 1 / np.arange(1, size.items + 1)
    items = [_without_replacement(rng, popularity, length) for length in lengths]
    user, item = np.repeat(np.arange(size.users), lengths), np.concatenate(items)
    return leave_one_out(from_columns(user, item, np.arange(len(user))))


def _without_replacement(
    rng: np.random.Generator, popularity: Float[np.ndarray, " items"], count: int
) -> Int[np.ndarray, " count"]:
    """Distinct items by popularity, one after another."""
    share = popularity.cumsum() / popularity.sum()
    drawn = share.searchsorted(rng.random(4 * count))
    first = np.unique(drawn, return_index=True)[1]
    if len(first) >= count:
        return drawn[np.sort(first)[:count]]
    # A user who wants most items meets too few by chance. The first of randomly delayed arrivals
    # are the same kind of draw.
    return np.argsort(rng.gumbel(size=len(popularity)) + np.log(popularity))[-count:]


def bench_cell(attack: str, defense: str = "FedAvg", model: str = "MF") -> CellConfig:
    """One of the paper's models on ML-1M under one attack by 1 % of users and one defence."""
    study = Study.load("config/paper.yaml")
    ratio = 0.0 if attack == "NoAttack" else 0.01
    return study.cell_config(
        Cell(dataset="ml-1m", model=model, attack=attack, defense=defense, ratio=ratio, seed=0)
    )


@dataclass(frozen=True)
class Timing:
    """What a cell costs."""

    milliseconds: dict[str, float]  # of a round, of its parts, of an evaluation
    peak_memory_mb: float


def bench(config: CellConfig, split: Split, device: str, rounds: int) -> Timing:
    """Time a round, its parts and an evaluation.

    The round is timed without the profiler, which slows it and fills memory; the parts are the
    profiler's.
    """
    fed, population = set_up(config, split, device)
    rank = LeaveOneOut(split, population.evaluated, config.protocol.repeat_targets, device)
    _play(fed, 0, WARM_UP)
    times = {"round": _round_milliseconds(fed, device, rounds)}
    evaluate(fed, rank)
    evaluation, peak = _milliseconds(lambda: evaluate(fed, rank), device), peak_memory_mb()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        _play(fed, WARM_UP + rounds, rounds)
    for event in profiler.key_averages():
        if ": " in event.key and "::" not in event.key:  # named in the round, not in PyTorch
            times[f"  {event.key}"] = event.cpu_time_total / 1e3 / rounds
    return Timing(times | {"evaluation": evaluation}, peak)


@dataclass(frozen=True)
class GridCell:
    """What a round of one cell costs."""

    defense: str
    attack: str
    milliseconds: float
    peak_memory_mb: float


def bench_grid(
    model: str, defenses: list[str], size: Counts, device: str, threads: int, rounds: int
) -> Iterator[GridCell]:
    """Rounds of every defence with and without ClusterAttack, each in a process of its own."""
    with TemporaryDirectory() as folder:
        split = Path(folder) / "split.npz"
        bench_split(size).save(split)
        for defense in defenses:
            for attack in ATTACKS:
                # A fresh process: its peak memory is this cell's alone.
                with ProcessPoolExecutor(1, get_context("spawn")) as process:
                    arguments = (model, defense, attack, split, device, threads, rounds)
                    yield process.submit(_grid_cell, *arguments).result()


def _grid_cell(
    model: str, defense: str, attack: str, split: Path, device: str, threads: int, rounds: int
) -> GridCell:
    prepare(threads)
    fed, _ = set_up(bench_cell(attack, defense, model), Split.load(split), device)
    _play(fed, 0, WARM_UP)
    return GridCell(defense, attack, _round_milliseconds(fed, device, rounds), peak_memory_mb())


def _round_milliseconds(fed: Federation, device: str, rounds: int) -> float:
    """The median over blocks of rounds, so that a pause of the machine does not count."""
    cuts = np.linspace(WARM_UP, WARM_UP + rounds, min(BLOCKS, rounds) + 1, dtype=int).tolist()
    times = [
        _milliseconds(partial(_play, fed, first, end - first), device) / (end - first)
        for first, end in pairwise(cuts)
    ]
    return float(np.median(times))


def _play(fed: Federation, first: int, rounds: int) -> None:
    for number in range(first, first + rounds):
        play_round(fed, number)


def _milliseconds(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3
