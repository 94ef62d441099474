"""Pictures of the item embeddings during a run."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fedrec.plan.cells import Cell
from fedrec.records import Picture
from fedrec.training.listener import Listener
from fedrec.training.simulation import Evaluation, Simulation


class Photographer(Listener):
    """Takes a picture after each of the given rounds."""

    def __init__(self, cell: Cell, rounds: Sequence[int]) -> None:
        self._cell, self._rounds = cell, set(rounds)
        self.pictures: list[Picture] = []

    def played(self, run: Simulation, evaluation: Evaluation | None) -> None:
        """Take a picture if this round is one of the given rounds."""
        if run.round not in self._rounds:
            return
        first, second = principal(run.items).T.tolist()
        self.pictures.append(
            Picture(
                attack=self._cell.attack,
                defense=self._cell.defense,
                round=run.round,
                component_1=[_short(x) for x in first],
                component_2=[_short(x) for x in second],
            )
        )


def principal(table: Float[Tensor, "items d"]) -> Float[Tensor, "items 2"]:
    """Return each row's coordinates along the first two principal components.

    The sign of a component makes its coordinate of largest magnitude positive.
    """
    centred = (table - table.mean(0)).double()
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    found = left[:, :2] * sizes[:2]
    return found * found.gather(0, found.abs().argmax(0, keepdim=True)).sign()


def _short(x: float) -> float:
    """Round to three significant digits, which is more than a picture can show."""
    return float(f"{x:.3g}")
