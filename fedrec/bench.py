"""How long a round takes, and its parts."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from fedrec.config import CellConfig, Study
from fedrec.data.interactions import Counts, from_columns
from fedrec.data.split import Split, leave_one_out
from fedrec.federation import Federation, evaluate, play_round, set_up
from fedrec.metrics.ranking import LeaveOneOut

# The paper's sizes (Table 2).
SIZES = {"ml-1m": Counts(users=6040, items=3706, interactions=1_000_209)}
WARM_UP = 10


def bench_split(size: Counts, seed: int = 0) -> Split:
    """A split of a dataset's size, made up, so that the benchmark needs no download.

    Lengths of histories and popularity of items are skewed; no user takes an item twice.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(sigma=1.0, size=size.users)
    lengths = (lengths * size.interactions / lengths.sum()).astype(int).clip(3, size.items // 2)
    log_popularity = -np.log(np.arange(1, size.items + 1))
    # The first of randomly delayed arrivals are a draw without replacement by popularity.
    items = [
        np.argsort(rng.gumbel(size=size.items) + log_popularity)[-length:] for length in lengths
    ]
    user, item = np.repeat(np.arange(size.users), lengths), np.concatenate(items)
    return leave_one_out(from_columns(user, item, np.arange(len(user))))


def bench_cell(attack: str) -> CellConfig:
    """The paper's MF on ML-1M, with one attack and no defence."""
    study = Study.load("config/paper.yaml")
    block = study.tables["table-1"]
    name = next(c for c in study.cells(block) if (c.model, c.attack) == ("MF", attack))
    return study.cell_config(name)


def bench(config: CellConfig, split: Split, device: str, rounds: int) -> dict[str, float]:
    """Milliseconds of a round, of its parts and of an evaluation.

    The round is timed without the profiler, which slows it; the parts are the profiler's.
    """
    fed, population = set_up(config, split, device)
    rank = LeaveOneOut(split, population.evaluated, config.protocol.repeat_targets, device)
    _play(fed, 0, WARM_UP)
    times = {"round": _milliseconds(lambda: _play(fed, WARM_UP, rounds), device) / rounds}
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        _play(fed, WARM_UP + rounds, rounds)
    for event in profiler.key_averages():
        if ": " in event.key:
            times[f"  {event.key}"] = event.cpu_time_total / 1e3 / rounds
    evaluate(fed, rank)
    times["evaluation"] = _milliseconds(lambda: evaluate(fed, rank), device)
    return times


def _play(fed: Federation, first: int, rounds: int) -> None:
    for number in range(first, first + rounds):
        play_round(fed, number)


def _milliseconds(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3
