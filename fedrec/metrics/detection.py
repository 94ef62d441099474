"""How well a defence's filters separate malicious uploads from honest ones."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from fedrec.kernels.sums import total


class Detection:
    """Counts of filtered uploads over the rounds since the last summary."""

    def __init__(self) -> None:
        self._restart()

    def add(
        self,
        kept: Bool[Tensor, " n"],
        malicious: Bool[Tensor, " n"],
        scores: Mapping[str, Float[Tensor, " n"]],
    ) -> None:
        """Count one more round: the uploads that the filters kept, and which were malicious."""
        dropped = ~kept
        self._counts.update(
            rounds=1,
            received=len(kept),
            dropped=int(dropped.sum()),
            malicious=int(malicious.sum()),
            caught=int((dropped & malicious).sum()),
        )
        for name, score in scores.items():
            for side, members in (("benign", ~malicious), ("malicious", malicious)):
                self._sums[f"{name}_{side}"] += float(total(score[members]))

    def summary(self) -> dict[str, float | None]:
        """Return filtered uploads per round, precision, recall and mean scores; then restart.

        A value is None if its denominator is 0.
        """
        n = self._counts
        members = {"benign": n["received"] - n["malicious"], "malicious": n["malicious"]}
        values = {
            "filtered": _ratio(n["dropped"], n["rounds"]),
            "precision": _ratio(n["caught"], n["dropped"]),
            "recall": _ratio(n["caught"], n["malicious"]),
        }
        values |= {
            name: _ratio(summed, members[name.rpartition("_")[2]])
            for name, summed in self._sums.items()
        }
        self._restart()
        return values

    def state(self) -> dict[str, Any]:
        """Return all counts, for `restore`."""
        return {"counts": dict(self._counts), "sums": dict(self._sums)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the counts that `state` returned."""
        self._counts: Counter[str] = Counter(state["counts"])
        self._sums: dict[str, float] = defaultdict(float, state["sums"])

    def _restart(self) -> None:
        self.restore({"counts": {}, "sums": {}})


def _ratio(whole: int | float, count: int) -> float | None:
    return whole / count if count else None
