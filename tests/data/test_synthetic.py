import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from fedrec.data.interactions import DataError
from fedrec.data.split import leave_one_out
from fedrec.data.synthetic import Synthetic

DEMO = Synthetic()


@pytest.fixture(scope="module")
def log():
    return DEMO.generate()


def test_the_same_fields_give_the_same_data(log):
    assert DEMO.generate().checksum == log.checksum
    assert Synthetic(seed=1).generate().checksum != log.checksum


def test_every_user_has_five_to_half_of_the_items_and_none_twice(log):
    lengths = np.bincount(log.user)
    assert log.n_users == DEMO.users
    assert log.n_items <= DEMO.items
    assert lengths.min() >= 5
    assert lengths.max() <= DEMO.items // 2
    assert len(np.unique(log.user * log.n_items + log.item)) == len(log.user)


def test_lengths_average_as_asked():
    short = Synthetic(users=300, items=100, mean_length=10).generate()
    assert short.counts.avg_length == pytest.approx(10, abs=1)  # standard error 0.32
    least = Synthetic(users=20, items=40, mean_length=5).generate()
    assert np.bincount(least.user).tolist() == [5] * 20


def test_popularity_is_skewed(log):
    popularity = np.sort(np.bincount(log.item))[::-1]
    assert popularity[: log.n_items // 10].sum() > 0.2 * popularity.sum()  # 0.1 if it were flat


def test_a_low_rank_model_finds_tastes_that_popularity_and_chance_miss(log):
    split = leave_one_out(log)
    seen = np.zeros((log.n_users, log.n_items))
    seen[np.repeat(np.arange(log.n_users), np.diff(split.offsets)), split.train] = 1
    left, values, right = np.linalg.svd(seen, full_matrices=False)
    low_rank = (left[:, :8] * values[:8]) @ right[:8]
    hits = _hits(split, seen, low_rank)
    assert hits > 1.3 * _hits(split, seen, np.tile(seen.sum(0), (log.n_users, 1)))
    assert hits > 5 * 10 / log.n_items


def _hits(split, seen, score):
    candidates = np.where(seen > 0, -np.inf, score)
    target = candidates[np.arange(split.n_users), split.test][:, None]
    return np.mean((candidates > target).sum(axis=1) < 10)


def test_too_few_items_are_refused():
    with pytest.raises(DataError, match=r"79 items .* at least 80"):
        Synthetic(items=79, mean_length=20).generate()


def test_settings_are_strict():
    adapter = TypeAdapter(Synthetic)
    assert adapter.validate_json('{"users": 10}', strict=True) == Synthetic(users=10)
    for bad in ('{"users": "10"}', '{"users": 0}', '{"mean_length": 4}', '{"user": 3}'):
        with pytest.raises(ValidationError):
            adapter.validate_json(bad, strict=True, extra="forbid")
