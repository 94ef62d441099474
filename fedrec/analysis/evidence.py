"""The numbers behind the claims, with their standard errors, from records."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from fedrec.analysis.measure import Measure, by_arm
from fedrec.analysis.noise import Noise, Noises
from fedrec.analysis.statistics import Loss, loss
from fedrec.analysis.verdict import Finding, Region
from fedrec.plan.blocks import Scorecard
from fedrec.plan.cells import BASELINE, PLAIN, Cell, cell_path
from fedrec.records import Record, Uploads

UploadMeasure = Callable[[Uploads, Mapping[str, Any]], Mapping[str, float]]


class Evidence:
    """Records by arm, and dataset sizes, under the names used in the claims."""

    def __init__(
        self,
        records: Sequence[Record],
        counts: Mapping[str, Mapping[str, int]],
        card: Scorecard,
        measure: Measure,
    ) -> None:
        self._arms, self._counts, self._card = by_arm(records), counts, card
        self._datasets = card.datasets
        self.noises = Noises(records, measure)

    def at(self, looks: Sequence[int]) -> "Evidence":
        """Return the evidence at the last of some looks, given as numbers of seeds.

        An arm that lacks a seed of a look counts as at the look before, so that there are no more
        looks than stated. At the first look, the existing runs count.
        """
        shown = [run for runs in self._arms.values() for run in _at(runs, looks)]
        return Evidence(shown, self._counts, self._card, self.noises.measure)

    def loss(self, arm: Cell, reference: Cell, region: Region) -> Finding:
        """Return the loss (%) of an arm against another one."""
        arms = self._named(arm), self._named(reference)
        ours, theirs = (self._arms.get(cell, ()) for cell in arms)
        what = f"{_differing(arm, reference)}, % lost"
        try:
            found = loss(ours, theirs, self.noises)
        except ValueError:
            return Finding(what, region, arms=arms)
        used = [run for pair in found.pairs for run in pair]
        return Finding(
            what,
            region,
            estimate=found.percent,
            error=found.error,
            df=found.df,
            moves=_moves(found, self.noises),
            records=_names(used),
            arms=arms,
            seeds=len(found.pairs),
            note=_source(found.noise) or ("the same hits in every run" if _same(found) else ""),
        )

    def uploads(self, arm: Cell, measure: str, region: Region) -> list[Finding]:
        """Return a measure of each window of rounds, over seeds."""
        cell = self._named(arm)
        seen = [run for run in self._arms.get(cell, ()) if run.uploads]
        values = pd.DataFrame([_measured(run, measure) for run in seen])
        if values.empty:
            return [Finding(f"{measure} under {arm.defense}", region, arms=(cell,))]
        return [
            self._over_seeds(
                f"{measure} under {arm.defense}, {window}",
                column.dropna().to_numpy(),
                region,
                records=_names(seen),
                arms=(cell,),
                is_share=True,
            )
            for window, column in values.items()
        ]

    def spread(self, arms: Sequence[Cell], others: Sequence[Cell]) -> Finding:
        """Return the difference of the standard deviations of two sets of means (% of the mean)."""
        what, region = "difference of spreads, % of the mean", (-np.inf, 0.0)
        named = [self._named(cell) for cell in (*arms, *others)]
        found = [_by_seed(self._arms.get(cell, ())) for cell in named]
        seeds = sorted(set.intersection(*(set(runs) for runs in found)))
        if not seeds:
            return Finding(what, region, arms=tuple(named))
        used = [runs[seed] for runs in found for seed in seeds]
        noise = self.noises.of(used[0])
        means = np.reshape([self.noises.measure(run) for run in used], (-1, len(seeds))).mean(1)
        near, far = means[: len(arms)], means[len(arms) :]
        slopes = np.concatenate([_slopes(near), -_slopes(far)])
        shown = [[runs[seed] for seed in seeds] for runs in found]
        variance, df = self._of_sum(shown, slopes, means)
        return Finding(
            what,
            region,
            estimate=_spread(near) - _spread(far),
            error=float(np.sqrt(variance / len(seeds))),
            df=df,
            records=_names(used),
            arms=tuple(named),
            seeds=len(seeds),
            note=_source(noise),
        )

    def _of_sum(
        self,
        arms: Sequence[Sequence[Record]],
        weights: Float[np.ndarray, " arms"],
        means: Float[np.ndarray, " arms"],
    ) -> tuple[float, float]:
        """Return a weighted sum of relative results at one seed: its variance and its df."""
        noise, users = self.noises.of(arms[0][0]), self.noises.sum(arms, weights.tolist())
        if noise is None:
            return np.nan, np.inf
        if users is None:
            return noise.residual * float((weights**2 / means).sum()), noise.df
        return noise.of_users(users)

    def count(self, dataset: str, name: str, stated: int) -> Finding:
        """Return a dataset's count, which has no error."""
        used = self._datasets.get(dataset, dataset)
        found = self._counts.get(used, {}).get(name)
        what, region = f"{name} of {dataset}", (float(stated), float(stated))
        if found is None:
            return Finding(what, region)
        return Finding(what, region, float(found), error=0.0, records=(f"{used}/counts.json",))

    def runs(self, cell: Cell) -> Sequence[Record]:
        """Return the records of an arm, given under the study's names."""
        return self._arms.get(cell, ())

    def _over_seeds(
        self, what: str, values: Float[np.ndarray, " seeds"], region: Region, **more: Any
    ) -> Finding:
        """Return a mean over seeds, with its own Student-t error; one run has no interval."""
        n = len(values)
        error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
        note = "" if n > 1 else "one run"
        df = float(max(n - 1, 1))
        return Finding(what, region, float(values.mean()), error, df, seeds=n, note=note, **more)

    def _named(self, cell: Cell) -> Cell:
        dataset = self._datasets.get(cell.dataset, cell.dataset)
        return cell.model_copy(update={"dataset": dataset})


def separation(uploads: Uploads, config: Mapping[str, Any]) -> Mapping[str, float]:
    """Return for each window of rounds how well uniformity separates malicious uploads.

    The measure is the probability that, of one malicious and one benign upload drawn at random from
    the window, the malicious one is less uniform; ties count half (the area under the ROC curve).
    0.5 means no difference, 1 two separate groups. The densities in the paper's Figure 4 show it.
    """
    return {name: _area(seen) for name, seen in _windows(uploads, config) if _both(seen)}


def separation_by_round(uploads: Uploads, config: Mapping[str, Any]) -> Mapping[str, float]:
    """Return `separation` of each round alone, as the server sees it, averaged over a window."""
    found = {}
    for name, seen in _windows(uploads, config):
        areas = [_area(alone) for _, alone in seen.groupby("round") if _both(alone)]
        if areas:
            found[name] = float(np.mean(areas))
    return found


def outliers(uploads: Uploads, config: Mapping[str, Any]) -> Mapping[str, float]:
    """Return for each window the share of malicious uploads beyond 95 % of the benign ones.

    Distances are from the window's mean, along the first two principal components.
    """
    found = {}
    for name, seen in _windows(uploads, config):
        away = np.hypot(seen.component_1.to_numpy(), seen.component_2.to_numpy())
        who = seen.malicious.to_numpy()
        if _both(seen):
            found[name] = float((away[who] > np.quantile(away[~who], 0.95)).mean())
    return found


UPLOADS: Mapping[str, UploadMeasure] = {
    "separation": separation,
    "separation, round by round": separation_by_round,
    "outliers": outliers,
}


def _at(runs: Sequence[Record], looks: Sequence[int]) -> list[Record]:
    """Return an arm's runs at the last look with all of its seeds, else those of the first look."""
    for seeds in reversed(looks):
        found = [run for run in runs if run.cell.seed < seeds]
        if len(found) == seeds or seeds == looks[0]:
            return found
    return []


def _measured(run: Record, measure: str) -> dict[str, float]:
    """Return a measure of one run's uploads, by window."""
    assert run.uploads is not None
    return dict(UPLOADS[measure](run.uploads, run.config))


def _windows(uploads: Uploads, config: Mapping[str, Any]) -> list[tuple[str, pd.DataFrame]]:
    """Return the uploads by window of rounds, with its name; without unmeasured columns."""
    columns = {name: column for name, column in uploads.model_dump().items() if column}
    frame, width = pd.DataFrame(columns), config["protocol"]["window"]
    window = (frame["round"] - 1) // width
    last = frame["round"].max()
    return [
        (f"rounds {i * width + 1}–{min((i + 1) * width, last)}", frame[window == i])
        for i in range(int(window.max()) + 1)
    ]


def _both(seen: pd.DataFrame) -> bool:
    """Return whether there are both malicious and benign uploads."""
    return bool(seen.malicious.any() and not seen.malicious.all())


def _area(seen: pd.DataFrame) -> float:
    malicious = seen.uniformity[seen.malicious].to_numpy()[:, None]
    benign = seen.uniformity[~seen.malicious].to_numpy()
    return float(((malicious < benign) + 0.5 * (malicious == benign)).mean())


def _spread(means: Float[np.ndarray, " arms"]) -> float:
    """Return the standard deviation in per cent of the mean."""
    return float(100 * means.std(ddof=1) / means.mean())


def _slopes(means: Float[np.ndarray, " arms"]) -> Float[np.ndarray, " arms"]:
    """Return the change of the spread (%) with the relative noise of each mean."""
    k, relative = len(means), means / means.mean()
    spread = relative.std(ddof=1)
    if spread == 0:
        return np.full(k, 100 / np.sqrt(k))  # any noise increases the spread
    slope = (relative - 1) / ((k - 1) * spread) - spread / k
    found: np.ndarray = 100 * slope * relative
    return found


def _moves(found: Loss, noises: Noises) -> Mapping[Hashable, float]:
    """Return how far noise moves a loss (%), up to scale, by run, or by user and seed."""
    if found.noise is None:
        return {}
    if found.users is not None:
        moves: dict[Hashable, float] = {}
        for seed, by in found.users.beyond.items():
            users = np.flatnonzero(by)
            moves.update(zip(product([seed], users.tolist()), (-by[users]).tolist(), strict=True))
        return moves
    sides = list(zip(*found.pairs, strict=True))
    means = [float(np.mean([noises.measure(run) for run in side])) for side in sides]
    ratio, n = means[0] / means[1], len(found.pairs)
    floor = found.noise.residual / n
    return {
        run.cell: sign * max(ratio, floor / means[1]) / np.sqrt(max(mean, floor))
        for sign, side, mean in zip((-1, 1), sides, means, strict=True)
        for run in side
    }


def _same(found: Loss) -> bool:
    """Return whether both sides are the same at every evaluation."""
    return all(ours.trajectory.test == theirs.trajectory.test for ours, theirs in found.pairs)


def _source(noise: Noise | None) -> str:
    """Return the note about the source of an error, if one is needed."""
    if noise is None:
        return "one run"
    return f"noise borrowed from {noise.family}" if noise.borrowed else ""


def _differing(arm: Cell, reference: Cell) -> str:
    """Describe two arms by their differences."""
    names = [n for n in ("attack", "defense", "ratio") if getattr(arm, n) != getattr(reference, n)]
    if reference.attack == BASELINE:
        names = [name for name in names if name != "ratio"]
    shared = "" if "attack" in names or arm.attack == BASELINE else f"{arm.attack}, "
    if "defense" not in names and arm.defense != PLAIN:
        shared += f"{arm.defense}, "
    ours, theirs = (" ".join(str(getattr(c, n)) for n in names) for c in (arm, reference))
    return f"{shared}{ours} against {theirs}"


def _names(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell_path(record.cell) for record in records))


def _by_seed(records: Sequence[Record]) -> Mapping[int, Record]:
    return {record.cell.seed: record for record in records}
