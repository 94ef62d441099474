"""Traces of uploads: gradients are rebuilt from them, labels are right, and sizes are bounded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fedrec.defenses.fl_wbc import FLWBC
from fedrec.errors import ConfigError, DataError
from fedrec.metrics.traces import Tracer, UploadTrace, read_trace
from fedrec.metrics.uploads import LabelledUploads
from fedrec.updates import Updates
from tests.defenses.views import client_view, marked
from tests.oracles.defenses import whole_uploads
from tests.oracles.dense import random_updates

LARGE = 10**9
BY_HAND = Updates(
    table=torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    owner=torch.tensor([0, 1, 1]),
    item=torch.tensor([2, 0, 1]),
    value=torch.tensor([[1.0, 1.0], [10.0, 0.0], [0.0, 10.0]]),
    ridge=torch.tensor([0.5, 0.0]),
    dense=torch.tensor([[7.0], [8.0]]),
    weight=torch.tensor([3.0, 4.0]),
)


def labelled(number: int, received: Updates, **scores: Tensor) -> LabelledUploads:
    """Uploads of users 10, 11, …; the last is malicious, and the first is dropped."""
    n = len(received)
    users = np.arange(10, 10 + n)
    return LabelledUploads(number, received, users, marked(n, n - 1), ~marked(n, 0), scores)


def traced(*rounds: LabelledUploads, at_most: int = LARGE) -> UploadTrace:
    tracer = Tracer([one.round for one in rounds], at_most)
    for one in rounds:
        assert tracer.watches(one.round)
        tracer.see(one)
    return tracer.trace({"of": "a test"})


def gradients(trace: UploadTrace) -> np.ndarray:
    """Every upload as one long vector."""
    whole = [trace.gradient(u).ravel() for u in range(len(trace))]
    return np.concatenate([np.stack(whole), trace.dense], axis=1)


def test_a_gradient_is_rows_and_ridge_by_hand() -> None:
    found = traced(labelled(4, BY_HAND))
    assert found.gradient(0).tolist() == [[0.5, 1.0], [1.5, 2.0], [3.5, 4.0]]
    assert found.gradient(1).tolist() == [[10.0, 0.0], [0.0, 10.0], [0.0, 0.0]]
    assert found.offsets.tolist() == [0, 1, 3] and found.item.tolist() == [2, 0, 1]
    assert found.round.tolist() == [4, 4] and found.user.tolist() == [10, 11]
    assert found.malicious.tolist() == [False, True] and found.kept.tolist() == [False, True]
    assert found.weight.tolist() == [3, 4] and found.dense.tolist() == [[7], [8]]
    assert found.about == {"of": "a test", "scores": []} and found.scores.shape == (2, 0)


def test_rounds_of_other_sizes_are_rebuilt_after_reading(tmp_path: Path) -> None:
    rounds = [random_updates(n=n, items=9, params=2, seed=n) for n in (5, 3)]
    traced(*(labelled(n, got) for n, got in enumerate(rounds, start=7))).save(tmp_path / "a.npz")
    found = read_trace(tmp_path / "a.npz")
    expected = torch.cat([whole_uploads(received) for received in rounds])
    assert gradients(found) == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-6)
    assert found.round.tolist() == [7] * 5 + [8] * 3
    assert np.array_equal(found.table(5), rounds[1].table.numpy())


def test_noise_is_part_of_an_upload() -> None:
    view = client_view()
    noisy = FLWBC(scale=1e-2).on_clients(view.plain, view).updates
    expected = whole_uploads(noisy.written_out()).numpy()
    assert gradients(traced(labelled(1, noisy))) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_whole_uploads_are_the_same_gradients() -> None:
    received = random_updates(n=4, items=9, seed=1)
    found = traced(labelled(1, received.in_whole()))
    assert len(found.item) == 4 * 9 and not found.ridge.any()
    assert gradients(found) == pytest.approx(whole_uploads(received).numpy(), rel=1e-5, abs=1e-6)


def test_what_was_not_measured_is_nan() -> None:
    one = labelled(1, BY_HAND, uniformity=torch.tensor([1.0, 2.0]))
    found = traced(one, labelled(2, BY_HAND))
    assert found.about["scores"] == ["uniformity"]
    assert found.scores[:2].tolist() == [[1], [2]] and np.isnan(found.scores[2:]).all()


def test_later_changes_do_not_reach_back() -> None:
    """The server steps its table in place, and a round may reuse the memory of the one before."""
    mine = replace(BY_HAND, table=BY_HAND.table.clone(), value=BY_HAND.value.clone())
    tracer = Tracer([1], LARGE)
    tracer.see(labelled(1, mine))
    mine.table.zero_()
    mine.value.zero_()
    assert np.array_equal(gradients(tracer.trace({})), gradients(traced(labelled(1, BY_HAND))))


def test_equal_traces_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        traced(labelled(4, BY_HAND)).save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


# Per upload: round, user, weight, ridge and one parameter (4 bytes each), two labels, and a count
# of rows (8). Per row: an item and two numbers. Per round: its number and six numbers of its table.
SIZE = 2 * (5 * 4 + 2 + 8) + 3 * (4 + 2 * 4) + (4 + 6 * 4)


def test_the_limit_is_exact_to_the_byte() -> None:
    assert len(traced(labelled(1, BY_HAND), labelled(2, BY_HAND), at_most=2 * SIZE)) == 4
    with pytest.raises(ConfigError, match=r"1 of its 2 rounds fit.*choose fewer.*--at-most"):
        traced(labelled(1, BY_HAND), labelled(2, BY_HAND), at_most=2 * SIZE - 1)


def test_tables_alone_may_be_too_large_before_any_round() -> None:
    Tracer(range(100), at_most=100 * 24, table=24)
    with pytest.raises(ConfigError, match="99 of its 100 rounds fit"):
        Tracer(range(100), at_most=100 * 24 - 1, table=24)


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK")
    for name in ("a.npz", "b.npz"):
        with pytest.raises(DataError, match="make it again"):
            read_trace(tmp_path / name)
