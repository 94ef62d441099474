"""The noise of runs, worked by hand and against slow oracles."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import (
    Noise,
    Noises,
    equal,
    fit,
    half_of,
    mean_error,
    prediction_error,
    prior,
    ratio_error,
)
from fedrec.records import Record
from tests.builders import make_record

NOISE = Noise(residual=0.0004, df=8.0, run=0.0009, run_df=6.0, arms=3)


def test_two_arms_over_two_seeds_by_hand() -> None:
    # Means 0.25 and 1, roots 0.5 and 1. Away from them by -0.05, 0.05 and -0.4, 0.4, by the roots
    # -0.1, 0.1 and -0.4, 0.4: shares of 0.2 and 0.4 of the mean, which seeds explain as their
    # average by the means, (0.25 × 0.2 + 1 × 0.4) / 1.25 = 0.36. Left are 0.16 × 0.5 and 0.04 × 1
    # in both seeds, and one degree of freedom.
    found = fit([{0: 0.2, 1: 0.3}, {0: 0.6, 1: 1.4}])
    assert found is not None and found.df == 1 and found.arms == 2
    assert found.residual == pytest.approx(2 * (0.08**2 + 0.04**2))
    assert found.run == pytest.approx((2 * 0.1**2 + 2 * 0.4**2) / 2)
    left, seeds = 0.016, 0.34 - 0.016
    assert found.run_df == pytest.approx(0.34**2 / (left**2 + seeds**2))


def test_a_full_table_has_the_degrees_of_freedom_of_two_ways() -> None:
    rng = np.random.default_rng(0)
    arms = [dict(enumerate(1 + 0.1 * rng.normal(size=5))) for _ in range(23)]
    found = fit(arms)
    assert found is not None and found.df == 22 * 4


def test_seeds_that_lift_all_arms_alike_are_no_residual_noise() -> None:
    found = fit([{seed: base * (1 + seed / 10) for seed in range(4)} for base in (0.1, 0.2, 0.4)])
    assert found is not None and found.residual == pytest.approx(0, abs=1e-20)
    assert found.run > 0.001 and found.run_df == pytest.approx(3)  # four seeds, and no more


def test_a_lone_arm_has_the_variance_of_its_runs() -> None:
    found = fit([{0: 0.1, 1: 0.2, 2: 0.3}])
    assert found is not None and found.df == found.run_df == 2
    assert found.residual == found.run == pytest.approx(np.var([0.1, 0.2, 0.3], ddof=1) / 0.2)


@pytest.mark.parametrize("arms", [[], [{0: 0.1}, {0: 0.2}], [{0: 0.0, 1: 0.0}]])
def test_without_seeds_to_compare_nothing_is_known(arms: list[dict[int, float]]) -> None:
    assert fit(arms) is None


def test_an_arm_that_hits_nobody_tells_nothing_of_noise() -> None:
    arms = [{0: 0.2, 1: 0.3}, {0: 0.6, 1: 1.4}]
    assert str(fit([*arms, {0: 0.0, 1: 0.0}])) == str(fit(arms))


def test_the_error_of_a_ratio_by_hand() -> None:
    ours, theirs = np.array([0.1, 0.1]), np.array([0.2, 0.2])
    # 0.0004 × (1 / 0.1 + 1 / 0.2) = 0.006, over two seeds
    assert ratio_error(ours, theirs, NOISE) == (pytest.approx(0.003**0.5), 8)


def test_the_error_of_a_mean_and_of_another_studys() -> None:
    values = np.array([0.09, 0.11])
    assert mean_error(values, NOISE) == (pytest.approx((0.00009 / 2) ** 0.5), 6)
    # Of the difference of a mean of two seeds and a mean of five
    assert prediction_error(values, NOISE)[0] == pytest.approx((0.00009 * (1 / 2 + 1 / 5)) ** 0.5)


def test_more_seeds_never_widen_an_interval() -> None:
    """Whether variances are pooled or moderated, if an arm varies as the others do."""
    for noise in (NOISE, Noise(residual=0.0004, df=8.0, run=0.0009, run_df=6.0, arms=3, prior=2.0)):
        halves = []
        for seeds in range(1, 8):
            apart = np.resize([1.0, -1.0], seeds) * (0.0004 * 0.1 / 2) ** 0.5
            error = ratio_error(0.1 + apart, 0.1 - apart, noise)
            halves.append(half_of(*error))
        assert halves == sorted(halves, reverse=True)


def test_where_arms_differ_an_own_variance_counts_by_its_seeds() -> None:
    noise = Noise(residual=0.0004, df=80.0, run=0.0009, run_df=60.0, arms=30, prior=4.0)
    ours, theirs = np.array([0.1, 0.1, 0.1]), np.array([0.1, 0.2, 0.3])
    own = np.var([-0.5, 0.0, 0.5], ddof=1)  # of relative differences; two degrees of freedom
    pooled = 0.0004 * (1 / 0.1 + 1 / 0.2)
    error, df = ratio_error(ours, theirs, noise)
    assert df == 6 and error == pytest.approx(((4 * pooled + 2 * own) / 6 / 3) ** 0.5)


def test_the_prior_is_found_again() -> None:
    """Variances drawn with eight degrees of freedom of their own around a common one."""
    rng = np.random.default_rng(0)
    spread = np.sqrt(8 / rng.chisquare(8, 4000))
    groups = [sd * rng.normal(size=6) for sd in spread]
    centred = [group - group.mean() for group in groups]
    assert prior(centred) == pytest.approx(8, rel=0.2)
    assert np.isinf(prior([np.array([-1.0, 0.0, 1.0])] * 5))  # all the same


def test_the_test_of_equal_variances_agrees_with_scipys() -> None:
    rng = np.random.default_rng(3)
    groups = [rng.normal(scale=scale, size=size) for scale, size in ((1, 3), (2, 5), (4, 4))]
    expected = stats.levene(*groups, center="median").pvalue
    assert equal([*groups, np.array([9.0, -9.0])]) == pytest.approx(expected)


def test_unequal_variances_are_noticed() -> None:
    rng = np.random.default_rng(0)

    def study(sds: list[float]) -> Noise:
        found = fit([dict(enumerate(1 + sd * rng.normal(size=6))) for sd in sds])
        assert found is not None
        return found

    assert np.isinf(study([0.1] * 12).prior)
    unequal = study([0.02] * 12 + [0.3] * 12)
    assert unequal.equal < 0.05 and unequal.prior < 6
    assert "own counts too" in str(unequal)


def records(model: str, values: dict[str, list[float]], dataset: str = "ml-1m") -> list[Record]:
    made = [
        make_record(attack, seed, [value], dataset=dataset)
        for attack, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    return [r.model_copy(update={"cell": r.cell.model_copy(update={"model": model})}) for r in made]


def many(count: int = 6) -> dict[str, list[float]]:
    rng = np.random.default_rng(1)
    return {f"A{i}": list(0.1 + 0.005 * rng.normal(size=4)) for i in range(count)}


def test_a_family_is_a_dataset_and_a_model_whatever_its_variant() -> None:
    found = Noises([*records("MF", many()), *records("MF@dim=8", {"A0": [0.1]})], Measure())
    variant = records("MF@dim=8", {"A0": [0.1]})[0]
    noise = found.of(variant)
    assert noise is not None and not noise.borrowed and noise.family == "ml-1m, MF"


def test_a_family_of_single_runs_borrows_and_says_so() -> None:
    single = records("SASRec", {"A0": [0.1], "A1": [0.2]})
    found = Noises([*records("MF", many()), *single], Measure()).of(single[0])
    assert found is not None and found.borrowed
    assert str(found) == "noise borrowed from ml-1m, MF because there are too few seeds"
    assert Noises(single, Measure()).of(single[0]) is None


def test_what_few_seeds_show_may_widen_but_not_narrow() -> None:
    """A family with three degrees of freedom of its own still borrows, the larger of both."""
    mf = records("MF", many())
    wild = records("SASRec", {"A0": [0.1, 0.2], "A1": [0.2, 0.1], "A2": [0.1, 0.1]})
    calm = records("SASRec", {"A0": [0.1, 0.1], "A1": [0.2, 0.2], "A2": [0.1, 0.1]})
    own = fit([{0: 0.1, 1: 0.2}, {0: 0.2, 1: 0.1}, {0: 0.1, 1: 0.1}])
    lent = Noises(mf, Measure()).of(mf[0])
    assert own is not None and lent is not None
    for runs, expected in ((wild, own), (calm, lent)):
        found = Noises([*mf, *runs], Measure()).of(runs[0])
        assert found is not None and found.residual == pytest.approx(expected.residual)


def test_pooling_agrees_with_a_slow_analysis_of_variance() -> None:
    """Equal means: Pearson's residuals are then those of an ordinary two-way table."""
    rng = np.random.default_rng(2)
    table = rng.normal(0, 0.01, (4, 3))
    table += 0.1 - table.mean(axis=1, keepdims=True)
    left = sum(
        (table[a, s] - table[a].mean() - table[:, s].mean() + table.mean()) ** 2
        for a, s in product(range(4), range(3))
    )
    found = fit([dict(enumerate(row)) for row in table])
    assert found is not None and found.residual == pytest.approx(left / 6 / 0.1)
    # and half of an interval is Student's
    assert half_of(1.0, 6.0) == pytest.approx(stats.t.ppf(0.975, 6))
