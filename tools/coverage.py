"""How often the intervals of docs/statistics.md hold what is true, in made-up studies.

    python -m tools.coverage docs/statistics.png

A study has users who are hit every other time; an attack takes users away. A seed lifts all arms
alike, and each run on its own. That is all the chance there is, so what is true is known.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from fedrec.analysis.figures.style import COLOURS, DASHES, new_figure, save_figure, styled
from fedrec.analysis.noise import Noise, fit, half_of, ratio_error
from fedrec.analysis.statistics import NORMAL, half_width

USERS, HALF = 5738, 386  # evaluated; hit every other time: HR@5 .034, half of it in any two seeds
SEED, RUN = 0.03, 0.026  # standard deviations of shares: of a seed in all arms, of a run alone
LOSSES = (0.0, 0.1, 0.3, 0.6)
SEEDS = (1, 2, 3, 5, 10)
SHOWN = (0.1, 0.6)  # losses in the picture

Arm = tuple[float, int]  # loss, seeds


@dataclass(frozen=True)
class Study:
    """How many users each run hits: by arm, then by seed. The first arm is the baseline."""

    there: Sequence[int]  # users who are hit every other time, by arm
    hits: Sequence[Int[np.ndarray, " seeds"]]

    def values(self) -> list[Float[np.ndarray, " seeds"]]:
        """The hit rate of each arm by seed."""
        return [arm / USERS for arm in self.hits]

    def noise(self) -> Noise | None:
        """What its runs say of noise."""
        return fit([dict(enumerate(map(float, arm))) for arm in self.values()])


def studies(arms: Sequence[Arm], count: int) -> Iterator[Study]:
    """Made-up studies of a baseline with as many seeds as any arm, and of some arms."""
    rng = np.random.default_rng(0)
    most = max(seeds for _, seeds in arms)
    there = [HALF, *(left(loss) for loss, _ in arms)]
    for _ in range(count):
        lifts = np.exp(rng.normal(0, SEED, most))
        hits = []
        for users, seeds in zip(there, [most, *(seeds for _, seeds in arms)], strict=True):
            share = lifts[:seeds] * np.exp(rng.normal(0, RUN, seeds))
            hits.append(rng.binomial(users, 0.5 * share))
        yield Study(there, hits)


def left(loss: float) -> int:
    """The users whom an attack leaves."""
    return round(HALF * (1 - loss))


def pairs(study: Study) -> Iterator[tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
    """The hit rates of each arm, and the baseline's of the same seeds."""
    base, *arms = study.values()
    for arm in arms:
        yield arm, base[: len(arm)]


def losses(study: Study) -> Float[np.ndarray, " arms"]:
    """What each arm loses, in per cent."""
    found = [100 * (1 - ours.mean() / theirs.mean()) for ours, theirs in pairs(study)]
    return np.array(found)


def pooled(study: Study) -> Float[np.ndarray, " arms"]:
    """Half of the interval of each loss from the noise of all arms."""
    noise = study.noise()
    assert noise is not None
    errors = [ratio_error(ours, theirs, noise) for ours, theirs in pairs(study)]
    found = [half_of(error, df) for error, df in errors]
    return (100 - losses(study)) * np.array(found)


def own(study: Study) -> Float[np.ndarray, " arms"]:
    """The textbook's: Student's t of the arm's own pairs; none for one."""
    found = []
    for ours, theirs in pairs(study):
        beyond = 100 * (theirs * ours.mean() / theirs.mean() - ours) / theirs.mean()
        found.append(half_width(beyond))
    return np.array(found)


def of_users(study: Study) -> Float[np.ndarray, " arms"]:
    """Over users, of a difference that is divided by a mean taken as fixed.

    Of a user's mean over seeds: its expected square, for arms that hit who is there by halves.
    """
    found = []
    for (ours, _), there in zip(pairs(study), study.there[1:], strict=True):
        n = len(ours)
        both, gone = there * 2 * 0.25 / n, (HALF - there) * (0.25 + 0.25 / n)
        found.append(100 * NORMAL * np.sqrt(both + gone) / (HALF / 2))
    return np.array(found)


HALVES: Mapping[str, Callable[[Study], Float[np.ndarray, " arms"]]] = {
    "noise of all arms": pooled,
    "each arm's own noise": own,
    "users alone": of_users,
}
METHODS = tuple(HALVES)


def coverage(
    arms: Sequence[Arm], count: int, methods: Sequence[str] = METHODS
) -> Mapping[str, Float[np.ndarray, " arms"]]:
    """By method: the share of studies whose interval of an arm's loss holds the true one."""
    true = np.array([100 * (1 - left(loss) / HALF) for loss, _ in arms])
    held = {method: np.zeros(len(arms)) for method in methods}
    for study in studies(arms, count):
        percent = losses(study)
        for method in methods:
            held[method] += np.abs(percent - true) <= HALVES[method](study)
    return {method: found / count for method, found in held.items()}


def widths(loss: float, count: int = 400) -> Mapping[str, list[float]]:
    """By method: half of the interval for each number of seeds, of an arm with a loss."""
    others = [(share, 5) for share in np.linspace(0, 0.4, 20)]
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    for seeds in SEEDS:
        made = list(studies([(loss, seeds), *others], count))
        for method, halves in HALVES.items():
            found[method].append(float(np.median([halves(study)[0] for study in made])))
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
