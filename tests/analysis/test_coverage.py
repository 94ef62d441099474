"""Intervals hold what is true as often as they say, in made-up studies."""

import numpy as np
import pytest

from fedrec.analysis.evidence import Evidence
from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import fit, half_of, mean_error, paired_error, prediction_error
from fedrec.analysis.users import of_pair
from fedrec.plan.blocks import Scorecard
from tests.builders import make_record
from tools.interval_coverage import METHODS, MORE, Study, arms_of, coverage, studies

NOMINAL = (0.93, 0.97)
APART = (0.95, float("inf"))


def within(share: float) -> bool:
    return NOMINAL[0] <= share <= NOMINAL[1]


@pytest.mark.parametrize("alike", [0.1, 0.82])
def test_losses_of_any_size_over_any_number_of_seeds(alike: float) -> None:
    """Whether an arm draws as the baseline does or on its own; each number of seeds by itself."""
    arms = [(loss, alike, seeds) for seeds in (1, 2, 5) for loss in (0.0, 0.3, 0.6)]
    ((held, _),) = coverage(arms, 700, METHODS[:1]).values()
    assert all(map(within, held.reshape(3, -1).mean(axis=1))), held.round(3)


def test_without_users_what_goes_its_own_way_is_taken_for_too_sure() -> None:
    """Most arms draw as the baseline does, which says little of one that does not."""
    arms = [*arms_of([0.82], [5]) * 2, (0.3, 0.1, 5), (0.3, 0.1, 5)]
    (paired, _), (pooled, _) = coverage(arms, 300, METHODS[:2]).values()
    assert within(paired[-2:].mean()) and pooled[-2:].mean() < 0.9
    assert within(paired[:-2].mean()) and pooled[:-2].mean() > 0.97


@pytest.mark.parametrize("seeds", [2, 3])
def test_losses_in_a_small_study(seeds: int) -> None:
    """A baseline and two arms."""
    held, _ = coverage([(0.1, 0.1, seeds), (0.3, 0.1, seeds)], 800, METHODS[:1])[METHODS[0]]
    assert within(held.mean()), held.round(3)


@pytest.mark.parametrize("loss", [0.0, 0.6])
def test_the_error_of_one_seeds_loss_is_that_of_many_studies(loss: float) -> None:
    """By a mean taken as fixed it would be twice too large at 60 %."""
    made = list(studies([(loss, 0.5, 1), (0.0, 0.5, 5), (0.3, 0.5, 5)], 600))
    losses = np.array([study.losses()[0] for study in made])
    relative = []
    for study in made:
        base, one, *_ = study.shares
        users, values = of_pair(one, base, study.noise.kept), next(study.pairs())
        relative.append(paired_error(*values, users, study.noise)[0])
    errors = (100 - losses) * np.array(relative)
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(losses.std(), rel=0.1)


def averaged(count: int = 1000) -> tuple[list[Study], float]:
    """Studies of a baseline over ten seeds and ten arms over five, and the baseline's mean."""
    made = list(
        studies([(x, 0.5, 5) for x in np.linspace(0, 0.4, 9)] + [(0.0, 0.5, 10)], count, MORE)
    )
    return made, float(np.mean([study.values[0] for study in made]))


def test_means_and_those_of_another_study() -> None:
    """The latter holds five seeds of the next study, whose seeds lift it as a whole."""
    made, true = averaged()
    means, others = [], []
    for study, after in zip(made, [*made[1:], made[0]], strict=True):
        noise = fit([dict(enumerate(map(float, arm))) for arm in study.values])
        assert noise is not None
        ours, theirs = study.values[1], after.values[1].mean()  # which loses nothing
        means.append(abs(ours.mean() - true) <= half_of(*mean_error(ours, noise)))
        others.append(abs(ours.mean() - theirs) <= half_of(*prediction_error(ours, noise)))
    assert within(float(np.mean(means))) and within(float(np.mean(others)))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0, 3.0])
def test_areas_under_the_curve(seeds: int, apart: float) -> None:
    """By a normal shift of the malicious that differs from seed to seed, true areas .5 to .98."""
    rng = np.random.default_rng(0)
    cell = make_record("ClusterAttack").cell.model_copy(update={"seed": -1})
    areas = [area(rng, apart) for _ in range(4000)]
    true, held = float(np.mean(areas)), []
    shown = Evidence([], {}, Scorecard(), Measure())
    for _ in range(1500):
        values = rng.choice(areas, seeds)
        found = shown._over_seeds("x", values, APART, arms=(cell,), is_share=True)
        low, high = found.interval
        held.append(low <= true <= high)
    assert within(float(np.mean(held)))


def area(rng: np.random.Generator, apart: float) -> float:
    """Of 25 malicious and 475 benign uploads."""
    malicious = rng.normal(-apart + 0.3 * rng.normal(), 1, 25)
    benign = np.sort(rng.normal(0, 1, 475))
    return float((475 - np.searchsorted(benign, malicious)).mean() / 475)
