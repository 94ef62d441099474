"""FedAvg's weighted mean."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.mean import Mean
from fedrec.reference.rules import weighted_mean
from fedrec.updates import Updates
from tests.defenses.views import marked, on_a_line, server_view
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def test_clients_count_by_their_samples() -> None:
    """One item; client 0 (1 sample) uploads 6, client 1 (2 samples) uploads ridge 0.5 · 3."""
    received = Updates(
        table=torch.tensor([[3.0]]),
        owner=torch.tensor([0]),
        item=torch.tensor([0]),
        value=torch.tensor([[6.0]]),
        ridge=torch.tensor([0.0, 0.5]),
        dense=torch.tensor([[3.0], [0.0]]),
        weight=torch.tensor([1.0, 2.0]),
    )
    gradient = Mean().reduce(received, marked(2, 0, 1), server_view(received))
    assert_close(gradient.items, torch.tensor([[3.0]]))  # (6 + 2 · 1.5) / 3
    assert_close(gradient.dense, torch.tensor([1.0]))


def test_what_is_not_kept_counts_in_neither_sum() -> None:
    received = replace(on_a_line(1.0, 100.0, 5.0), weight=torch.tensor([3.0, 50.0, 1.0]))
    gradient = Mean().reduce(received, marked(3, 0, 2), server_view(received))
    assert gradient.items.item() == 2.0  # (3 · 1 + 1 · 5) / 4


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_dense_mean(seed: int) -> None:
    received = random_updates(n=7, items=11, params=3, seed=seed)
    kept = marked(7, 0, 2, 3, 6)
    expected = weighted_mean(whole_uploads(received)[kept], received.weight[kept])
    gradient = Mean().reduce(received, kept, server_view(received))
    assert_close(one_vector(gradient), expected, rtol=1e-5, atol=1e-6)
