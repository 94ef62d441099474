"""How often the intervals of docs/statistics.md contain the true loss, in simulated studies.

    python -m tools.interval_coverage docs/statistics.png

The users of a study are hit every other time, and an attack removes users. At one seed, a run hits
some users exactly when the baseline of that seed does, because both draw the same numbers, and the
others independently. The share of the former is how much the two are alike. A seed changes all arms
together, and a run changes on its own. There is no other chance, so the true loss is known.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from fedrec.analysis.figures.style import COLOURS, DASHES, new_figure, save_figure, styled
from fedrec.analysis.noise import Noise, fit, half_of, paired_error, ratio_error
from fedrec.analysis.statistics import NORMAL, half_width
from fedrec.analysis.users import Known, of_pair

USERS, HALF = 5738, 386  # evaluated; hit every other time: HR@5 .034, half of it at any two seeds
LOSSES = (0.0, 0.1, 0.3, 0.6)
SEEDS = (1, 2, 3, 5, 10)
# How much a run is like the baseline of its seed. ClusterAttack shares 47 % of the hits with it at
# the same seed and 42 % at different ones; the weak attacks 81 and 51 %; NormBound 91 and 51 %.
ALIKE = (0.1, 0.64, 0.82)
SHOWN = ((0.0, 0.64), (0.3, 0.1))  # in the picture: loss, alike
RESAMPLED = 200

Arm = tuple[float, float, int]  # loss, alike, seeds
Halves = Float[np.ndarray, " arms"]


@dataclass(frozen=True)
class Chance:
    """Relative standard deviations beyond that of users: of a seed in all arms, of a single run."""

    seed: float = 0.0
    run: float = 0.0


SEEN, MORE = Chance(), Chance(0.03, 0.026)  # as in the records now, and as in earlier ones


@dataclass(frozen=True)
class Study:
    """The users that each run hits, by arm. The first arm is the baseline."""

    hits: Sequence[Float[np.ndarray, "seeds users"]]

    @cached_property
    def values(self) -> list[Float[np.ndarray, " seeds"]]:
        """The hit rate of each arm by seed."""
        return [arm.sum(axis=1) / USERS for arm in self.hits]

    @cached_property
    def shares(self) -> list[Known]:
        """The share of each user in these rates."""
        return [dict(enumerate(arm / arm.sum(axis=1, keepdims=True))) for arm in self.hits]

    @cached_property
    def noise(self) -> Noise:
        """The noise estimated from its runs."""
        found = fit([dict(enumerate(map(float, arm))) for arm in self.values], self.shares)
        assert found is not None
        return found

    def pairs(self) -> Iterator[tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
        """Yield the hit rates of each arm, and the baseline's at the same seeds."""
        base, *arms = self.values
        for arm in arms:
            yield arm, base[: len(arm)]

    def sums(self) -> Iterator[Float[np.ndarray, "n users"]]:
        """Yield each user's part in each arm's loss (%), at each seed, beyond the mean loss."""
        base, *arms = self.hits
        for arm in arms:
            ours, theirs = arm, base[: len(arm)]
            ratio = ours.sum() / theirs.sum()
            yield 100 * (theirs * ratio - ours) / theirs.sum(axis=1).mean()

    def losses(self) -> Halves:
        """Return the loss of each arm, in per cent."""
        return np.array([100 * (1 - a.mean() / b.mean()) for a, b in self.pairs()])


def studies(arms: Sequence[Arm], count: int, chance: Chance = SEEN) -> Iterator[Study]:
    """Simulate studies of some arms, and of a baseline with as many seeds as the longest arm."""
    rng = np.random.default_rng(0)
    most = max(seeds for *_, seeds in arms)
    for _ in range(count):
        # The draws of the baseline, and which users an arm draws independently.
        common, own = rng.random((2, most, HALF))
        lifts, run = rng.normal(0, chance.seed, most), rng.normal(0, chance.run, most)
        hits = []
        for loss, alike, seeds in ((0.0, 1.0, most), *arms):
            draws = np.where(own[:seeds] < alike, common[:seeds], rng.random((seeds, HALF)))
            apart = (1 - alike) ** 0.5 * rng.normal(0, chance.run, seeds)
            share = np.exp(lifts[:seeds] + alike**0.5 * run[:seeds] + apart)
            there = np.arange(HALF) < left(loss)
            hits.append(((draws < 0.5 * share[:, None]) & there).astype(float))
        yield Study(hits)


def left(loss: float) -> int:
    """Return how many users an attack leaves."""
    return round(HALF * (1 - loss))


def paired(study: Study) -> Halves:
    """Return half of the interval of each loss, from users and seeds."""
    base, *arms = study.shares
    errors = [
        paired_error(*values, of_pair(arm, base, study.noise.kept), study.noise)
        for values, arm in zip(study.pairs(), arms, strict=True)
    ]
    return (100 - study.losses()) * np.array([half_of(*error) for error in errors])


def pooled(study: Study) -> Halves:
    """The same from seeds alone, with one dispersion for all arms."""
    errors = [ratio_error(*values, study.noise) for values in study.pairs()]
    return (100 - study.losses()) * np.array([half_of(*error) for error in errors])


def own(study: Study) -> Halves:
    """The same by Student's t of the arm's own pairs, as in textbooks; none for one pair."""
    return np.array([half_width(sums.sum(axis=1)) for sums in study.sums()])


def of_users(study: Study) -> Halves:
    """The same over users alone, each with its mean over seeds, for a linearised ratio."""
    found = [NORMAL * np.sqrt((sums.mean(axis=0) ** 2).sum()) for sums in study.sums()]
    return np.array(found)


def two_way(study: Study) -> Halves:
    """The same by resampling users and seeds, normal, from the spread of the ratio."""
    rng = np.random.default_rng(0)
    users = rng.multinomial(HALF, np.full(HALF, 1 / HALF), RESAMPLED).astype(float)
    base, *arms = study.hits
    found = []
    for arm in arms:
        seeds = rng.multinomial(len(arm), np.full(len(arm), 1 / len(arm)), RESAMPLED)
        ours, theirs = ((users @ side[: len(arm)].T * seeds).sum(axis=1) for side in (arm, base))
        found.append(100 * NORMAL * (ours / theirs).std())
    return np.array(found)


HALVES: Mapping[str, Callable[[Study], Halves]] = {
    "users and seeds": paired,
    "seeds, all arms": pooled,
    "seeds, each arm": own,
    "users": of_users,
    "users and seeds drawn again": two_way,
}
METHODS = tuple(HALVES)


def coverage(
    arms: Sequence[Arm], count: int, methods: Sequence[str] = METHODS, chance: Chance = SEEN
) -> Mapping[str, tuple[Halves, Halves]]:
    """Return, by method and arm, how often the interval contains the true loss, and its half.

    The first is a share of studies, the second a mean over studies, in points.
    """
    true = np.array([100 * (1 - left(loss) / HALF) for loss, *_ in arms])
    found = {method: np.zeros((2, len(arms))) for method in methods}
    for study in studies(arms, count, chance):
        percent = study.losses()
        for method in methods:
            half = HALVES[method](study)
            found[method] += np.abs(percent - true) <= half, half
    return {method: (held / count, half / count) for method, (held, half) in found.items()}


def arms_of(alike: Sequence[float] = ALIKE, seeds: Sequence[int] = SEEDS) -> list[Arm]:
    """Return arms with every combination of loss, likeness and number of seeds."""
    return [(loss, a, n) for a in alike for loss in LOSSES for n in seeds]


def main(png: Path) -> None:
    """Print coverage, and plot the width of intervals by number of seeds."""
    for name, chance in (("as seen", SEEN), ("more chance", MORE)):
        print(f"{name}: share of intervals with the true loss (half of their width, points)")
        made = coverage(arms_of(), 1000, chance=chance)
        for method, (held, half) in made.items():
            print(f"  {method}; over {', '.join(map(str, SEEDS))} seeds")
            rows = zip(*(v.reshape(-1, len(SEEDS)) for v in (held, half)), strict=True)
            for (loss, alike, _), row in zip(arms_of(seeds=[1]), rows, strict=True):
                cells = "  ".join(f"{100 * h:5.1f} ({w:4.1f})" for h, w in zip(*row, strict=True))
                print(f"    alike {alike:.2f}, loss {loss:3.0%}: {cells}")
        if chance == SEEN:
            picture(made, png)


def picture(made: Mapping[str, tuple[Halves, Halves]], png: Path) -> None:
    """Plot half of the interval by number of seeds, for two arms."""
    with styled():
        figure = new_figure(6.4, 2.8, "Half of the 95 % interval of a loss")
        row = figure.subplots(1, 2, sharey=True)
        for axes, (loss, alike) in zip(row, SHOWN, strict=True):
            axes.set_title(f"{100 * loss:g} % lost, {100 * alike:g} % alike")
            at = [arms_of().index((loss, alike, n)) for n in SEEDS]
            draw(axes, {name: half[at].tolist() for name, (_, half) in made.items()})
        row[0].set_ylabel("points")
        row[1].legend(frameon=False, fontsize=7)
    save_figure(figure, png.with_suffix(".pdf"))
    for kind in (".pdf", ".svg"):
        png.with_suffix(kind).unlink()


def draw(axes: Axes, found: Mapping[str, Sequence[float]]) -> None:
    """Draw a line for each method, with the numbers of the first below it."""
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
