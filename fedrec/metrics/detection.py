"""How well a defence's filters tell malicious uploads from honest ones."""

from collections import defaultdict
from collections.abc import Mapping

from jaxtyping import Bool, Float
from torch import Tensor


class Detection:
    """Counts over the rounds since the last summary."""

    def __init__(self) -> None:
        self._restart()

    def add(
        self,
        kept: Bool[Tensor, " n"],
        malicious: Bool[Tensor, " n"],
        scores: Mapping[str, Float[Tensor, " n"]],
    ) -> None:
        """One more round: what the filters kept, and the truth."""
        dropped = ~kept
        self._rounds += 1
        self._received += len(kept)
        self._dropped += int(dropped.sum())
        self._malicious += int(malicious.sum())
        self._caught += int((dropped & malicious).sum())
        for name, score in scores.items():
            for side, members in (("benign", ~malicious), ("malicious", malicious)):
                self._sums[f"{name}_{side}"] += float(score[members].sum())

    def summary(self) -> dict[str, float | None]:
        """Uploads filtered a round, precision and recall of that, and mean scores; then restart.

        None where there is nothing to divide by.
        """
        honest = self._received - self._malicious
        counts = {"benign": honest, "malicious": self._malicious}
        values = {
            "filtered": _ratio(self._dropped, self._rounds),
            "precision": _ratio(self._caught, self._dropped),
            "recall": _ratio(self._caught, self._malicious),
        }
        values |= {
            name: _ratio(total, counts[name.rpartition("_")[2]])
            for name, total in self._sums.items()
        }
        self._restart()
        return values

    def _restart(self) -> None:
        self._rounds = self._received = self._dropped = self._malicious = self._caught = 0
        self._sums: dict[str, float] = defaultdict(float)


def _ratio(total: int | float, count: int) -> float | None:
    return total / count if count else None
