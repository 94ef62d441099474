"""How often the intervals of docs/statistics.md hold what is true, in made-up studies.

    python -m tools.coverage docs/statistics.png

A study has users who are hit every other time; an attack takes users away. A seed lifts all arms
alike, and each run on its own. That is all the chance there is, so what is true is known.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from fedrec.analysis.figures.style import COLOURS, DASHES, new_figure, save_figure, styled
from fedrec.analysis.noise import fit, half_of, ratio_error
from fedrec.analysis.statistics import NORMAL

USERS, HALF = 5738, 386  # evaluated; hit every other time: HR@5 .034, half of it in any two seeds
SEED, RUN = 0.03, 0.026  # standard deviations of shares: of a seed in all arms, of a run alone
LOSSES = (0.0, 0.1, 0.3, 0.6)
SEEDS = (1, 2, 3, 5, 10)
METHODS = ("noise of all arms", "each arm's own noise", "users alone")
SHOWN = (0.1, 0.6)  # losses in the picture

Arm = tuple[float, int]  # loss, seeds


@dataclass(frozen=True)
class Study:
    """Users that each run hits: by arm, then by seed. The first arm is the baseline."""

    hits: Sequence[Bool[np.ndarray, "seeds users"]]

    def values(self) -> list[Mapping[int, float]]:
        """The hit rate of each arm by seed."""
        return [dict(enumerate(arm.sum(axis=1) / USERS)) for arm in self.hits]


def studies(arms: Sequence[Arm], count: int) -> Iterator[Study]:
    """Made-up studies of a baseline with as many seeds as any arm, and of some arms."""
    rng = np.random.default_rng(0)
    most = max(seeds for _, seeds in arms)
    for _ in range(count):
        lifts = np.exp(rng.normal(0, SEED, most))
        made = []
        for loss, seeds in [(0.0, most), *arms]:
            share = lifts[:seeds] * np.exp(rng.normal(0, RUN, seeds))
            there = np.arange(HALF) < HALF * (1 - loss)
            made.append((rng.random((seeds, HALF)) < 0.5 * share[:, None]) & there)
        yield Study(made)


def coverage(arms: Sequence[Arm], count: int) -> Mapping[str, Float[np.ndarray, " arms"]]:
    """By method: the share of studies whose interval of an arm's loss holds the true one."""
    held = {method: np.zeros((count, len(arms))) for method in METHODS}
    for i, study in enumerate(studies(arms, count)):
        for method, found in intervals(study).items():
            for j, ((percent, half), (loss, _)) in enumerate(zip(found, arms, strict=True)):
                true = 100 * (1 - np.ceil(HALF * (1 - loss)) / HALF)
                held[method][i, j] = abs(percent - true) <= half
    return {method: share.mean(axis=0) for method, share in held.items()}


def intervals(study: Study) -> Mapping[str, list[tuple[float, float]]]:
    """The loss of each arm (%) and half of its interval, by method."""
    values = study.values()
    noise, found = fit(values), {method: list[tuple[float, float]]() for method in METHODS}
    for arm, hits in zip(values[1:], study.hits[1:], strict=True):
        ours, theirs = (np.array([side[seed] for seed in arm]) for side in (arm, values[0]))
        percent = 100 * (1 - ours.mean() / theirs.mean())
        error, df = ratio_error(ours, theirs, noise) if noise else (np.nan, 0.0)
        halves = half_of((100 - percent) * error, df), own(ours, theirs), users(hits, study.hits[0])
        for method, half in zip(METHODS, halves, strict=True):
            found[method].append((percent, half))
    return found


def own(ours: Float[np.ndarray, " n"], theirs: Float[np.ndarray, " n"]) -> float:
    """Half of the textbook interval: Student's t of the arm's own pairs; none for one."""
    if len(ours) < 2:
        return float("nan")
    apart = 100 * (theirs * ours.mean() / theirs.mean() - ours) / theirs.mean()
    return half_of(float(apart.std(ddof=1) / np.sqrt(len(ours))), len(ours) - 1.0)


def users(ours: Bool[np.ndarray, "n users"], theirs: Bool[np.ndarray, "more users"]) -> float:
    """Half of the interval of a difference over users, divided by a mean taken as fixed."""
    lost = theirs[: len(ours)].mean(axis=0) - ours.mean(axis=0)
    base = theirs[: len(ours)].mean(axis=0).sum()
    return float(100 * NORMAL * np.sqrt(np.square(lost).sum()) / base)


def widths(loss: float, count: int = 60) -> Mapping[str, list[float]]:
    """By method: half of the interval for each number of seeds, of an arm with a loss."""
    others = [(share, 5) for share in np.linspace(0, 0.4, 20)]
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    for seeds in SEEDS:
        made = [intervals(study) for study in studies([(loss, seeds), *others], count)]
        for method in METHODS:
            found[method].append(float(np.median([one[method][0][1] for one in made])))
    return found


def main(png: Path) -> None:
    """Print coverage and draw the width of intervals by number of seeds."""
    arms = [(loss, seeds) for loss in LOSSES for seeds in SEEDS]
    for method, shares in coverage(arms, 2000).items():
        print(method)
        for (loss, seeds), share in zip(arms, shares, strict=True):
            print(f"  loss {loss:.0%}, {seeds} seeds: {share:.1%}")
    with styled():
        figure = new_figure(6.4, 2.8, "Half of the 95 % interval of a loss")
        row = figure.subplots(1, 2, sharey=True)
        for axes, loss in zip(row, SHOWN, strict=True):
            axes.set_title(f"{100 * loss:g} % lost")
            draw(axes, widths(loss))
        row[0].set_ylabel("points")
        row[0].legend(frameon=False)
    save_figure(figure, png.with_suffix(".pdf"))
    for kind in (".pdf", ".svg"):
        png.with_suffix(kind).unlink()


def draw(axes: Axes, found: Mapping[str, Sequence[float]]) -> None:
    """A line for each method, with the numbers of the first below it."""
    for (method, halves), colour, dash in zip(found.items(), COLOURS, DASHES, strict=False):
        axes.plot(SEEDS, halves, marker="o", ms=4, color=colour, linestyle=dash, label=method)
    for seeds, half in zip(SEEDS, found[METHODS[0]], strict=True):
        axes.annotate(
            f"{half:.1f}", (seeds, half), fontsize=7, color=COLOURS[0],
            xytext=(-3, -11), textcoords="offset points", ha="center",
        )  # fmt: skip
    axes.set_xlabel("seeds")
    axes.set_xticks(SEEDS)
    axes.set_ylim(0, 22)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
