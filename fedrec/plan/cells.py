"""Cells: the training jobs of a study, and the paths of their records."""

from fedrec.errors import RecordError
from fedrec.settings import RecordPart

BASELINE, PLAIN = "NoAttack", "FedAvg"  # losses are reckoned from these, as in the paper


class Cell(RecordPart):
    """One training job of the study."""

    dataset: str
    model: str
    attack: str
    defense: str
    ratio: float  # share of malicious users
    seed: int


def cell_path(cell: Cell) -> str:
    """Where a cell's record lies under the folder of runs."""
    c = cell
    return f"{c.dataset}/{c.model}/{c.attack}/{c.defense}/m{c.ratio:g}/seed{c.seed}.json"


def parse_cell(path: str) -> Cell:
    """The cell of a path that `cell_path` gives.

    Raises:
        RecordError: it is no such path.
    """
    try:
        dataset, model, attack, defense, ratio, seed = path.split("/")
        return Cell(
            dataset=dataset,
            model=model,
            attack=attack,
            defense=defense,
            ratio=float(ratio.removeprefix("m")),
            seed=int(seed.removeprefix("seed").removesuffix(".json")),
        )
    except ValueError:
        raise RecordError(
            f"{path!r} is no cell, such as ml-1m/MF/Fang/Krum/m0.01/seed0.json"
        ) from None
