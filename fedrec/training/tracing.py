"""Runs that are played for the uploads of chosen rounds, and make no record."""

from collections.abc import Collection

from tqdm import tqdm

from fedrec.config.cell_config import CellConfig
from fedrec.data.split import Split
from fedrec.errors import ConfigError, Diverged
from fedrec.metrics.traces import MB, Tracer, UploadTrace
from fedrec.plan.cells import cell_path
from fedrec.training.provenance import provenance
from fedrec.training.run import prepare_torch
from fedrec.training.simulation import Simulation

AT_MOST = 500.0  # MB


def traced(
    config: CellConfig,
    split: Split,
    device: str,
    rounds: Collection[int],
    at_most: float = AT_MOST,
    progress: bool = False,
) -> UploadTrace:
    """Play a cell up to the last of some rounds, and return the uploads of these rounds.

    The rounds are those of the cell's record: watching changes nothing. The trace may have
    `at_most` megabytes (10⁶ bytes).

    Raises:
        ConfigError: a round is not among those of the cell, or the trace would be too large.
        Diverged: training diverged before the last of the rounds.
    """
    last = _last(rounds, config.protocol.rounds)
    prepare_torch()
    run = Simulation(config, split, device)
    tracer = Tracer(rounds, int(at_most * MB), 4 * run.items.numel())
    run.watchers.append(tracer)
    for _ in tqdm(range(last), unit="round", disable=not progress):
        run.play()
        if run.diverged_at is not None:
            raise Diverged(
                f"{cell_path(config.cell)}: round {run.diverged_at} diverged: choose rounds before "
                "it"
            )
    return tracer.trace(
        {
            "config": dict(config.values),
            "dataset_checksum": split.checksum,
            "provenance": provenance(device).model_dump(),
        }
    )


def _last(rounds: Collection[int], played: int) -> int:
    """Return the last of some rounds, which must be among those that are played."""
    if not rounds or min(rounds) < 1 or max(rounds) > played:
        raise ConfigError(
            f"no trace of rounds {', '.join(map(str, sorted(set(rounds))[:9])) or 'none'}: "
            f"choose rounds from 1 to {played:,}"
        )
    return max(rounds)
