"""The uploads of the first rounds: their principal components, and the windows they come in."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.testing import assert_close

from fedrec.defenses.fl_wbc import FLWBC
from fedrec.metrics.uploads import LabelledUploads, Observer, principal_components
from fedrec.updates import Updates
from tests.defenses.views import client_view, on_a_line, uploads
from tests.oracles.defenses import whole_uploads
from tests.oracles.dense import random_updates


def a_round(seed: int, n: int = 5) -> Updates:
    """Uploads of one round; the server's table is another one in each."""
    return random_updates(n=n, items=9, params=2, seed=seed)


def sklearns(stack: Tensor) -> Tensor:
    """The same from sklearn, with its signs turned so that the largest coordinate is positive."""
    found = PCA(2, svd_solver="full").fit_transform(stack.numpy())
    largest = found[np.abs(found).argmax(axis=0), range(2)]
    return torch.from_numpy(found * np.sign(largest))


def test_components_by_hand() -> None:
    """Uploads at (0, 1), (0, −1), (−6, 0) and (6, 0): the long axis comes first."""
    received = uploads([[[0.0, 1.0]], [[0.0, -1.0]], [[-6.0, 0.0]], [[6.0, 0.0]]])
    found = principal_components([received])
    assert_close(
        found.abs(),
        torch.tensor([[0.0, 1.0], [0.0, 1.0], [6.0, 0.0], [6.0, 0.0]]),
        rtol=1e-5,
        atol=1e-5,
    )
    assert found[2, 0] == -found[3, 0] and found[0, 1] == -found[1, 1]


@pytest.mark.parametrize("rounds", [1, 3])
def test_components_equal_sklearns(rounds: int) -> None:
    seen = [a_round(seed, n=5 + seed) for seed in range(rounds)]
    expected = sklearns(torch.cat([whole_uploads(updates) for updates in seen]))
    assert_close(principal_components(seen).double(), expected, rtol=1e-4, atol=1e-4)


def test_tables_larger_than_a_block_are_covered() -> None:
    received = random_updates(n=4, items=1000, d=2)
    expected = sklearns(whole_uploads(received))
    assert_close(principal_components([received]).double(), expected, rtol=1e-4, atol=1e-3)


def test_noise_is_part_of_an_upload() -> None:
    view = client_view()
    noisy = FLWBC(scale=1e-2).on_clients(view.plain, view).updates
    written = sklearns(whole_uploads(noisy.written_out()))
    assert_close(principal_components([noisy]).double(), written, rtol=1e-4, atol=1e-5)


def test_equal_uploads_lie_in_one_point() -> None:
    found = principal_components([on_a_line(3.0, 3.0, 3.0)])
    assert_close(found, torch.zeros(3, 2), rtol=0, atol=1e-3)


# Windows


def observe(rounds: int, window: int, played: int, scores: bool = False) -> Observer:
    observer = Observer(rounds, window)
    for number in range(1, played + 1):
        malicious = torch.arange(5) == number % 5
        score = {"uniformity": torch.arange(5.0) + number} if scores else {}
        if observer.watches(number):
            observer.see(labelled(number, a_round(number), malicious, score))
    return observer


def labelled(number: int, received: Updates, malicious: Tensor, scores: dict) -> LabelledUploads:
    """Uploads of the first users, all of them kept."""
    users = np.arange(len(received))
    return LabelledUploads(number, received, users, malicious, torch.ones_like(malicious), scores)


def test_each_window_has_components_of_its_own_and_the_last_may_be_short() -> None:
    seen = observe(rounds=5, window=2, played=9).uploads
    assert seen is not None
    assert seen.round == [number for number in range(1, 6) for _ in range(5)]
    windows = [[1, 2], [3, 4], [5]]
    expected = torch.cat(
        [sklearns(torch.cat([whole_uploads(a_round(r)) for r in some])) for some in windows]
    )
    found = torch.tensor([seen.component_1, seen.component_2], dtype=torch.float64).T
    assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_labels_and_scores_stand_beside_their_uploads() -> None:
    seen = observe(rounds=2, window=1, played=2, scores=True).uploads
    assert seen is not None
    assert seen.malicious == [i == number for number in (1, 2) for i in range(5)]
    assert seen.uniformity == [float(i + number) for number in (1, 2) for i in range(5)]


def test_without_scores_there_are_none() -> None:
    seen = observe(rounds=1, window=1, played=1).uploads
    assert seen is not None and seen.uniformity == []


def test_nothing_seen_is_nothing() -> None:
    assert observe(rounds=0, window=10, played=3).uploads is None


def test_later_steps_of_the_server_do_not_reach_back() -> None:
    """The table is the server's own, which every round steps in place."""
    observer, still = Observer(2, 2), Observer(2, 2)
    for number in (1, 2):
        received = a_round(number)
        for one in (observer, still):
            own = replace(received, table=received.table.clone())
            one.see(labelled(number, own, torch.zeros(5, dtype=torch.bool), {}))
            if one is observer and number == 1:
                own.table.zero_()
    assert observer.uploads == still.uploads
