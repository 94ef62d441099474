"""Cells: the training jobs of a study, and the paths of their records."""

from fedrec.errors import RecordError
from fedrec.settings import RecordPart

BASELINE, PLAIN = "NoAttack", "FedAvg"  # losses are computed against these, as in the paper


class Cell(RecordPart):
    """One training job of the study."""

    dataset: str
    model: str
    attack: str
    defense: str
    ratio: float  # share of malicious users
    seed: int


def cell_path(cell: Cell) -> str:
    """Return the path of a cell's record in the folder of runs."""
    c = cell
    return f"{c.dataset}/{c.model}/{c.attack}/{c.defense}/m{c.ratio:g}/seed{c.seed}.json"


EXAMPLE = "ml-1m/MF/Fang/Krum/m0.01/seed0.json"


def cell_named(name: str) -> Cell:
    """Return the cell of a name that a person typed: a path from `cell_path`, or its beginning.

    Missing parts default to no attack, no defence, 1 % of malicious users, and seed 0. The folder
    of runs may precede the name.

    Raises:
        RecordError: the name is not valid.
    """
    names = name.rpartition("/runs/")[2].removesuffix(".json").split("/")
    if not 2 <= len(names) <= 6 or not all(names):
        raise _no_cell(name)
    return parse_cell(
        "/".join([*names, *("", "", BASELINE, PLAIN, "m0.01", "seed0")[len(names) :]])
    )


def parse_cell(path: str) -> Cell:
    """Return the cell of a path from `cell_path`.

    Raises:
        RecordError: the path is not valid.
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
        raise _no_cell(path) from None


def _no_cell(name: str) -> RecordError:
    expected = "dataset/model/attack/defence/ratio/seed"
    return RecordError(f"{name!r} is not a cell; expected {expected}, for example {EXAMPLE}")
