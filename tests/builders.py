"""Made-up records and splits for tests."""

from collections.abc import Sequence

import numpy as np

from fedrec.data.split import Split, leave_one_out
from fedrec.data.synthetic import Synthetic
from fedrec.plan.cells import Cell
from fedrec.records import DRAWS, Cost, Malicious, Provenance, Record, Trajectory

PROVENANCE = Provenance(
    fedrec="0",
    git=None,
    python="3",
    torch="2",
    numpy="2",
    device="cpu",
    processor="A processor",
    system="Linux 6.1 x86_64",
)


def make_record(
    attack: str = "NoAttack",
    seed: int = 0,
    hr: Sequence[float] = (0.1, 0.2),
    validation: Sequence[float] | None = None,
    clusters: Sequence[int] | None = None,
    dataset: str = "ml-1m",
    defense: str = "FedAvg",
    device: str = "cpu",
) -> Record:
    """A record whose test metrics are all `hr`, at evaluations every 200 rounds."""
    names = ("hr@5", "ndcg@5", "hr@10", "ndcg@10", "hr@20", "ndcg@20", "mrr")
    ratio = 0.0 if attack == "NoAttack" else 0.01
    chosen = list(validation or hr)
    return Record(
        schema_version=2,
        cell=Cell(
            dataset=dataset, model="MF", attack=attack, defense=defense, ratio=ratio, seed=seed
        ),
        config={"rounds": 400, "draws": DRAWS},
        config_hash="0" * 64,
        dataset_checksum="1" * 64,
        trajectory=Trajectory(
            round=[200 * (i + 1) for i in range(len(hr))],
            validation={name: chosen for name in names},
            test={name: list(hr) for name in names},
            loss=[0.5] * len(hr),
            attack={"clusters": list(clusters)} if clusters else {},
            defense={},
        ),
        malicious=Malicious(users=round(ratio * 6040), uploads=0, rounds=0),
        provenance=PROVENANCE.model_copy(update={"device": device}),
        cost=Cost(seconds=1.0, seconds_per_round=0.1, peak_memory_mb=1.0),
    )


def tiny_split(users: int = 60, items: int = 50) -> Split:
    """A split of made-up interactions."""
    return leave_one_out(Synthetic(users=users, items=items, mean_length=10).generate())


def mean_and_half_width(values: Sequence[float], t: float) -> tuple[float, float]:
    """A mean and t standard errors, spelt out."""
    n, mean = len(values), float(np.mean(values))
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, t * (variance / n) ** 0.5
