"""Sparse rows + ridge mean what the dense stack means."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from fedrec.defenses.fl_wbc import FLWBC
from fedrec.kernels.threads import use_threads
from fedrec.reference.rules import mean_near_median, trimmed_mean
from fedrec.updates import Gradient, Updates
from tests.defenses.views import client_view
from tests.elsewhere import by_tensors
from tests.oracles.defenses import whole_uploads
from tests.oracles.dense import dense_items, random_updates


def two_clients() -> Updates:
    """Client 0 touches item 1, client 1 touches items 0 and 1; d = 1, ridges 0.1 and 0."""
    return Updates(
        table=torch.tensor([[10.0], [20.0]]),
        owner=torch.tensor([0, 1, 1]),
        item=torch.tensor([1, 0, 1]),
        value=torch.tensor([[1.0], [2.0], [3.0]]),
        ridge=torch.tensor([0.1, 0.0]),
        dense=torch.tensor([[4.0], [8.0]]),
        weight=torch.tensor([1.0, 3.0]),
    )


def test_weighted_sum_by_hand() -> None:
    total = two_clients().weighted_sum(torch.tensor([0.5, 2.0]))
    # item 0: 0.5 · (0.1 · 10) + 2 · 2;  item 1: 0.5 · (1 + 0.1 · 20) + 2 · 3
    assert_close(total.items, torch.tensor([[4.5], [7.5]]))
    assert_close(total.dense, torch.tensor([18.0]))


@pytest.mark.parametrize(("n", "d"), [(5, 3), (40, 3), (40, 1), (40, 64)])
def test_weighted_sum_equals_the_dense_one(n: int, d: int) -> None:
    """With few and with many rows an item, which different loops add up."""
    updates = random_updates(n=n, items=7, d=d, seed=1)
    coefficients = torch.rand(n)
    total = updates.weighted_sum(coefficients)
    assert_close(total.items, torch.einsum("n,nid->id", coefficients, dense_items(updates)))


def test_row_norms_include_the_ridge() -> None:
    # |1 + 0.1 · 20|, |2|, |3|
    assert_close(two_clients().row_norms(), torch.tensor([3.0, 2.0, 3.0]))


def test_select_keeps_the_marked_clients_in_order() -> None:
    updates = random_updates(n=5, seed=2)
    keep = torch.tensor([True, False, True, True, False])
    kept = updates.select(keep)
    assert_close(dense_items(kept), dense_items(updates)[keep])
    assert_close(kept.weight, updates.weight[keep])
    assert_close(kept.dense, updates.dense[keep])


def test_replaced_uploads_stand_in_their_clients_places() -> None:
    updates, others = random_updates(n=5, seed=3), random_updates(n=2, seed=4)
    forged = Updates.over_all_items(others, torch.randn(2, 6, 3), others.dense)
    received = updates.replaced(torch.tensor([3, 1]), forged)
    expected = dense_items(updates)
    expected[[3, 1]] = dense_items(forged)
    assert_close(dense_items(received), expected)
    assert received.owner.tolist() == sorted(received.owner.tolist())
    assert_close(received.weight[[3, 1]], forged.weight)
    assert_close(received.dense[[3, 1]], forged.dense)


def test_over_all_items_has_no_ridge() -> None:
    forged = torch.randn(4, 6, 3)
    updates = Updates.over_all_items(random_updates(n=4), forged, torch.zeros(4, 2))
    assert_close(dense_items(updates), forged)


# Against the dense stack, on any shape


def shaped(n: int, items: int, d: int, params: int, seed: int, rows: str, ridge: str) -> Updates:
    """Few or many clients, items and dimensions; rows everywhere, somewhere or nowhere."""
    updates = random_updates(n, items, d, params, seed)
    if rows == "none":
        updates = replace(
            updates, owner=updates.owner[:0], item=updates.item[:0], value=updates.value[:0]
        )
    if rows == "all":
        full = Updates.over_all_items(updates, torch.randn(n, items, d), updates.dense)
        updates = replace(full, ridge=updates.ridge)
    some = updates.ridge[0]
    ridges = {
        "unequal": updates.ridge,
        "equal": some.expand(n).clone(),
        "two": torch.where(torch.arange(n) % 2 == 0, some, 2 * some),
        "zero": torch.zeros(n),
    }
    return replace(updates, ridge=ridges[ridge])


shapes = st.fixed_dictionaries(
    {
        "n": st.integers(1, 7),
        "items": st.integers(1, 7),
        "d": st.integers(1, 7),
        "params": st.integers(0, 7),
        "seed": st.integers(0, 1000),
        "rows": st.sampled_from(["none", "some", "all"]),
        "ridge": st.sampled_from(["unequal", "equal", "two", "zero"]),
    }
)
any_shape = settings(max_examples=60, deadline=None)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def whole_gradient(total: Gradient) -> torch.Tensor:
    return torch.cat([total.items.flatten(), total.dense]).double()


@any_shape
@given(shapes)
def test_weighted_sums_norms_and_inner_products_of_any_shape(shape: Any) -> None:
    updates = shaped(**shape)
    stack = whole_uploads(updates)
    coefficients = torch.linspace(-1, 2, len(updates))
    total = whole_gradient(updates.weighted_sum(coefficients))
    assert_close(total, coefficients.double() @ stack, **CLOSE)
    assert_close(updates.norms().double(), stack.norm(dim=1), rtol=1e-4, atol=1e-3)
    assert_close(updates.gram(), stack @ stack.T, **CLOSE)
    norms = dense_items(updates)[updates.owner, updates.item].norm(dim=1)
    assert_close(updates.row_norms(), norms, rtol=1e-4, atol=1e-3)


@any_shape
@given(shapes, st.integers(1, 5), st.booleans(), st.booleans())
def test_mixtures_of_any_shape(shape: Any, k: int, alike: bool, whole: bool) -> None:
    """Of coefficients that are all different, or that most mixtures share."""
    updates = shaped(**shape)
    stack = whole_uploads(updates)
    generator = torch.Generator().manual_seed(k)
    coefficients = torch.randn(k, len(updates), generator=generator)
    if alike:
        coefficients = torch.where(coefficients > 1, coefficients, 0.25)
    weight = torch.arange(1, k + 1).float()
    given_uploads = replace(updates.in_whole(), whole=True) if whole else updates
    mixed = given_uploads.mixed(coefficients, weight)
    expected = coefficients.double() @ stack
    assert_close(whole_uploads(mixed), expected, **CLOSE)
    assert torch.equal(mixed.weight, weight)
    assert mixed.owner.tolist() == sorted(mixed.owner.tolist())
    assert_close(mixed.gram(), expected @ expected.T, rtol=1e-3, atol=1e-3)
    assert_close(whole_gradient(mixed.trimmed_mean(0)), expected.mean(0), **CLOSE)


def test_mixtures_by_hand() -> None:
    """Most have 0.5 of client 0 and nothing of client 1; the last has one of client 1 as well."""
    coefficients = torch.tensor([[0.5, 0.0], [0.5, 0.0], [0.5, 1.0]])
    mixed = two_clients().mixed(coefficients, torch.ones(3))
    # Client 0 has 1 and 3 on the items, with its ridge; client 1 has 2 and 3.
    assert_close(mixed.table, torch.tensor([[0.5], [1.5]]))
    assert (mixed.owner.tolist(), mixed.item.tolist()) == ([2, 2], [0, 1])
    assert_close(mixed.value, torch.tensor([[2.0], [3.0]]))
    assert_close(mixed.dense, torch.tensor([[2.0], [2.0], [10.0]]))


def test_mixtures_of_noisy_uploads_have_their_noise() -> None:
    view = client_view()
    noisy = FLWBC(scale=0.01).on_clients(view.plain, view).updates
    halves = torch.full((2, len(noisy)), 0.5)
    found, expected = (some.mixed(halves, torch.ones(2)) for some in (noisy, noisy.written_out()))
    assert_close(whole_uploads(found), whole_uploads(expected))


@any_shape
@given(shapes, st.randoms())
def test_gradients_of_some_items_of_any_shape(shape: Any, random: Random) -> None:
    updates = shaped(**shape)
    n_items = len(updates.table)
    chosen = random.sample(range(n_items), random.randint(1, n_items))
    items, stack = torch.tensor(chosen), dense_items(updates)
    assert_close(updates.gather(items), stack[:, items], **CLOSE)
    owner, place, gradient = updates.rows_on(items)
    assert owner.tolist() == sorted(owner.tolist())
    assert_close(gradient, stack[owner, items[place]], **CLOSE)
    touched = {(o, i) for o, i in zip(updates.owner.tolist(), updates.item.tolist(), strict=True)}
    found = list(zip(owner.tolist(), items[place].tolist(), strict=True))
    assert sorted(found) == sorted(pair for pair in touched if pair[1] in chosen)


@any_shape
@given(shapes, st.integers(0, 3))
def test_trimmed_means_of_any_shape(shape: Any, trim: int) -> None:
    updates = shaped(**shape)
    trim = min(trim, (len(updates) - 1) // 2)
    found = whole_gradient(updates.trimmed_mean(trim))
    assert_close(found, trimmed_mean(whole_uploads(updates), trim), **CLOSE)


@any_shape
@given(shapes, st.integers(1, 7))
def test_means_near_the_median_of_any_shape(shape: Any, count: int) -> None:
    updates = shaped(**shape)
    count = min(count, len(updates))
    found = whole_gradient(updates.mean_near_median(count))
    assert_close(found, mean_near_median(whole_uploads(updates), count), **CLOSE)


@any_shape
@given(shapes, st.integers(0, 2**7 - 1))
def test_selections_and_multiples_of_any_shape(shape: Any, bits: int) -> None:
    updates = shaped(**shape)
    n, stack = len(updates), whole_uploads(updates)
    keep = torch.tensor([bool(bits >> i & 1) for i in range(n)])
    assert_close(whole_uploads(updates.select(keep)), stack[keep])
    factors = torch.linspace(-1, 2, n)
    scaled = updates.scaled(factors)
    assert_close(whole_uploads(scaled), factors.double()[:, None] * stack, **CLOSE)
    assert torch.equal(scaled.weight, updates.weight)


@pytest.mark.parametrize("equal", [True, False])
def test_as_many_rows_as_a_real_round_has(equal: bool) -> None:
    """Beyond some size other loops do the work, in several parts."""
    n, items, d = 50, 2000, 3
    updates = random_updates(n, items, d, seed=3)
    if equal:
        updates = replace(updates, ridge=torch.full((n,), 0.1))
    assert len(updates.item) > 45_000
    stack = (updates.ridge[:, None, None] * updates.table).double()
    stack[updates.owner, updates.item] += updates.value
    whole = torch.cat([stack.flatten(1), updates.dense], dim=1)
    coefficients = torch.linspace(0, 1, n)
    total = whole_gradient(updates.weighted_sum(coefficients))
    assert_close(total, coefficients.double() @ whole, **CLOSE)
    assert_close(updates.gram(), whole @ whole.T, rtol=1e-5, atol=1e-2)
    assert_close(updates.norms().double(), whole.norm(dim=1), rtol=1e-5, atol=0)
    middle = whole.sort(dim=0).values[5:-5].mean(0)
    assert_close(whole_gradient(updates.trimmed_mean(5)), middle, **CLOSE)
    near = updates.mean_near_median(44)
    with by_tensors():
        assert_close(near.items, updates.mean_near_median(44).items, **CLOSE)


@pytest.mark.usefixtures("one_thread_afterwards")
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    updates, found = random_updates(50, 2000, 3, seed=3), []
    for count in (1, 2, 5):
        use_threads(count)
        total, trimmed = updates.weighted_sum(updates.weight), updates.trimmed_mean(5)
        found.append((total.items, trimmed.items, updates.gram(), updates.norms()))
    for same in zip(*found, strict=True):
        assert torch.equal(same[0], same[1]) and torch.equal(same[0], same[2])


def test_the_uploads_are_left_as_they_were() -> None:
    updates, before = random_updates(n=5, items=7), random_updates(n=5, items=7)
    updates.weighted_sum(torch.ones(5))
    updates.scaled(torch.full((5,), 2.0))
    updates.trimmed_mean(1)
    updates.mean_near_median(3)
    updates.gram(), updates.norms(), updates.gather(torch.arange(7))
    updates.replaced(torch.tensor([0]), updates.select(torch.arange(5) == 1))
    assert torch.equal(whole_uploads(updates), whole_uploads(before))


def test_trimming_by_hand() -> None:
    """Item 0: 1 and 2. Item 1: 1 + 2 and 3. Without trimming, the plain mean."""
    mean = two_clients().trimmed_mean(0)
    assert_close(mean.items, torch.tensor([[1.5], [3.0]]))
    assert_close(mean.dense, torch.tensor([6.0]))


def test_norms_and_inner_products_by_hand() -> None:
    # (1, 3, 4) and (2, 3, 8), the last one of each being the dense part
    updates = two_clients()
    assert_close(updates.norms(), torch.tensor([26.0, 77.0]).sqrt())
    assert_close(updates.gram(), torch.tensor([[26.0, 43.0], [43.0, 77.0]]).double())


def test_the_gradient_of_an_untouched_item_is_the_ridge_alone() -> None:
    updates = two_clients()
    gathered = updates.gather(torch.tensor([1, 0]))
    assert_close(gathered, torch.tensor([[[3.0], [1.0]], [[3.0], [2.0]]]))
    owner, place, gradient = updates.rows_on(torch.tensor([0]))
    assert (owner.tolist(), place.tolist(), gradient.tolist()) == ([1], [0], [[2.0]])


def test_without_noise_nothing_needs_writing_out() -> None:
    updates = two_clients()
    assert updates.written_out() is updates
