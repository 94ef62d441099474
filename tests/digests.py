"""Short names for what a run holds after each round, to compare runs by.

`python -m tests.digests MODEL ROUNDS DIM OUTPUT` plays cells of every attack and every defence on a
made-up split, and writes the digests of each as JSON: for processes that are to do so elsewhere, or
with other vectors.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedrec import attacks, defenses, models
from fedrec.config.cell_config import CellConfig
from fedrec.config.methods import find_methods
from fedrec.config.protocol import TrainingProtocol
from fedrec.data.split import Split
from fedrec.defenses.base import Defense, Reduce
from fedrec.defenses.mean import Mean
from fedrec.kernels.threads import prepare
from fedrec.plan.cells import Cell
from fedrec.training.simulation import Simulation
from tests.builders import tiny_split

ATTACKS, DEFENSES, MODELS = map(find_methods, (attacks, defenses, models))
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "cluster_attack": {"threshold": 1, "contrastive": 1.0},
    "union": {"sample": 20},
    "fl_wbc": {"scale": 0.01},
    "krum": {"keep": "n-f"},
    "pieck": {"begins": 2},
}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "mf": {},
    "sas_rec": {"heads": 1, "blocks": 1},
    "ncf": {"layers": (20, 6)},
}

Digests = dict[str, str]  # of each array, by its name, and of all other values


def digests(run: Simulation) -> Digests:
    """What a run holds: arrays one by one, and everything else but the time it took."""
    snapshot = run.snapshot()
    found = {name: _short(array.tobytes()) for name, array in snapshot.arrays.items()}
    values = {name: value for name, value in snapshot.values.items() if name != "seconds"}
    return found | {"values": _short(json.dumps(values, default=str).encode())}


def rounds(config: CellConfig, split: Split) -> Iterator[Digests]:
    """The digests of a run after each of its rounds."""
    run = Simulation(config, split, "cpu")
    while not run.over:
        run.play()
        yield digests(run)


def small_cells(model: str, length: int, dim: int) -> dict[str, CellConfig]:
    """Every attack on FedAvg, and the contrastive ClusterAttack on every defence, by name."""
    forged = _made(ATTACKS, "cluster_attack")
    of_attacks = {kind: (_made(ATTACKS, kind), [Mean()]) for kind in ATTACKS}
    of_defenses = {kind: (forged, [_made(DEFENSES, kind)]) for kind in DEFENSES}
    recommender = MODELS[model](dim=dim, **SMALL[model])
    return {
        name: _cell(recommender, attack, parts, length)
        for name, (attack, parts) in (of_attacks | of_defenses).items()
    }


def first_difference(one: list[Digests], other: list[Digests]) -> str | None:
    """The first round and array in which two runs differ."""
    for number, (mine, yours) in enumerate(zip(one, other, strict=True), 1):
        differ = sorted(name for name in mine if mine[name] != yours[name])
        if differ:
            return f"round {number}: {', '.join(differ)}"
    return None


def _made(methods: Mapping[str, Any], kind: str) -> Any:
    return methods[kind](**OPTIONS.get(kind, {}))


def _cell(model: Any, attack: Any, parts: list[Any], length: int) -> CellConfig:
    given = {"rounds": length, "clients_per_round": 20, "evaluate_every": 5, "pool": 0.2}
    complete = parts if any(isinstance(part, Reduce) for part in parts) else [*parts, Mean()]
    return CellConfig(
        cell=Cell(dataset="synthetic", model="m", attack="a", defense="d", ratio=0.1, seed=0),
        protocol=TrainingProtocol(**given),
        model=model,
        attack=attack,
        defense=Defense.compose(complete, in_turn=True),
        values={"protocol": given},
    )


def _short(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


if __name__ == "__main__":
    prepare(1)
    kind, number, dim, output = sys.argv[1:]
    played = {
        name: list(rounds(config, tiny_split(200, 150)))
        for name, config in small_cells(kind, int(number), int(dim)).items()
    }
    Path(output).write_text(json.dumps(played))
