"""FL-WBC: where noise goes, how much of it, and what becomes of it on the way."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.data.split import Split
from fedrec.defenses.base import ClientView
from fedrec.defenses.fl_wbc import FLWBC, changes
from fedrec.models.base import Model, Shared
from fedrec.models.mf import MF
from fedrec.models.sas_rec import SASRec
from fedrec.reference.rules import mean_near_median
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.defenses.views import client_view, marked
from tests.masks import dropout_masks
from tests.oracles.dense import dense_items, random_updates
from tests.oracles.recommender import mf_gradients


def whole_noise(view: ClientView, scale: float) -> Tensor:
    """Every client's noise on every item, (clients, items, d)."""
    noisy = FLWBC(scale=scale).on_clients(view.plain, view).updates
    return dense_items(noisy.written_out()) - dense_items(view.plain.updates)


def slow_changes(view: ClientView) -> Tensor:
    """g(θ) − g(θ − ηg) over the whole item table by autograd, one client after another."""
    model, batch, found = view.devices.model, view.batch, []
    masks = dropout_masks(view.streams, batch, (3, model.dim), model.dropout)
    for i, position in enumerate(view.positions.tolist()):
        mine = batch.owner == i
        pairs = (batch.positive[mine], batch.negative[mine])
        loss = {"masks": masks[mine], "dropout": model.dropout, "penalty": model.ridge / 2}
        user, items = view.devices.local[position], view.shared.items
        to_user, before = mf_gradients(user, items, *pairs, **loss)
        eta = model.learning_rate
        _, after = mf_gradients(user - eta * to_user, items - eta * before, *pairs, **loss)
        found.append(before - after)
    return torch.stack(found)


def one_pair(user: float, positive: float, negative: float) -> ClientView:
    """A client with a single pair, d = 1, η = 1, neither dropout nor penalty."""
    model = MF(dim=1, dropout=0.0, learning_rate=1.0, l2=0.0)
    split = Split(
        n_items=2,
        offsets=torch.tensor([0, 1]).numpy(),
        train=torch.tensor([0]).numpy(),
        validation=torch.tensor([0]).numpy(),
        test=torch.tensor([0]).numpy(),
    )
    pairs = FixedPairs.draw(split, torch.tensor([0]), Streams(0))
    devices = Devices(model, pairs, torch.tensor([[user]]))
    shared = Shared(torch.tensor([[positive], [negative]]), torch.zeros(0))
    client, batch = torch.tensor([0]), pairs.batch(torch.tensor([0]), Streams(0))
    plain = devices.train(shared, client, batch, Streams(0))
    return ClientView(shared, devices, client, batch, plain, Streams(0))


def two_pairs() -> ClientView:
    """A client with two pairs, of items 0 and 1 and of items 2 and 3."""
    model = MF(dim=1, dropout=0.0, learning_rate=1.0, l2=0.0)
    one = torch.tensor([0])
    pairs = FixedPairs(
        users=one,
        sizes=torch.tensor([2]),
        row_sizes=torch.tensor([4]),
        positive=torch.tensor([0, 2]),
        negative=torch.tensor([1, 3]),
        positive_row=torch.tensor([0, 2]),
        negative_row=torch.tensor([1, 3]),
        row_item=torch.arange(4),
    )
    devices = Devices(model, pairs, torch.tensor([[1.0]]))
    shared = Shared(torch.tensor([[2.0], [0.0], [0.0], [3.0]]), torch.zeros(0))
    plain, batch = devices.gradients(shared, one, Streams(0)), pairs.batch(one, Streams(0))
    return ClientView(shared, devices, one, batch, plain, Streams(0))


def test_the_change_along_a_step_by_hand() -> None:
    """u = 1, p = 2, n = 0: σ(−2) = 0.119203, so u, p, n step to 1.238406, 2.119203, −0.119203.

    There σ(−1.238406 · 2.238406) = 0.058852, and g_p = −0.058852 · 1.238406 = −0.072884.
    """
    item, change, _ = changes(one_pair(1.0, 2.0, 0.0), False)
    assert item.tolist() == [0, 1]
    expected = -0.119203 + 0.072884
    assert_close(change, torch.tensor([[expected], [-expected]]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_change_equals_autograds(dropout: float) -> None:
    view = client_view(MF(dim=4, dropout=dropout, learning_rate=0.5, l2=0.05))
    item, change, _ = changes(view, False)
    slow = slow_changes(view)
    assert_close(change, slow[view.batch.row_owner, item], rtol=1e-4, atol=1e-6)
    # On the other rows it is η · ridge² · v, and counts as 0.
    untouched = torch.ones(slow.shape[:2], dtype=torch.bool)
    untouched[view.batch.row_owner, item] = False
    expected = (0.5 * 0.05**2 * view.shared.items).expand_as(slow)
    assert_close(slow[untouched], expected[untouched], rtol=1e-3, atol=1e-7)


def test_halves_are_compared_before_and_after_the_earlier_ones_step_by_hand() -> None:
    """u = 1, items 2, 0, 0 and 3, pairs (0, 1) and (2, 3), η = 1, neither dropout nor penalty.

    The first pair has x = 2 and σ(−2) = 0.119203, so u becomes 1 + 0.238406, and g_0 = −0.119203.
    The second then has x = −3.715217 and σ(3.715217) = 0.976226: g_2 = −0.976226 · 1.238406.
    """
    item, change, _ = changes(two_pairs(), True)
    assert item.tolist() == [0, 1, 2, 3]
    later = 0.976226 * 1.238406
    expected = torch.tensor([[-0.119203], [0.119203], [later], [-later]])
    assert_close(change, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("model", [MF(dim=4), SASRec(dim=4, hidden=4, length=6)])
def test_a_gradient_changes_more_between_halves_than_along_a_step(model: Model) -> None:
    """A step of η hardly changes a gradient; another minibatch does."""
    view = client_view(model)
    along, between = (changes(view, halves)[1].abs().mean() for halves in (False, True))
    assert between > 4 * along


def test_the_change_is_taken_on_a_copy() -> None:
    view, before = client_view(), client_view()
    changes(view, False)
    assert torch.equal(view.shared.items, before.shared.items)
    assert torch.equal(view.devices.local, before.devices.local)


def test_noise_goes_where_the_gradient_hardly_changes_and_nowhere_else() -> None:
    view = client_view(MF(dim=8, learning_rate=0.5, l2=0.0))
    slow = slow_changes(view).abs()
    scale = float(slow[slow > 0].median())
    method = FLWBC(scale=scale)
    noisy = method.on_clients(view.plain, view).updates
    everywhere = [replace(n, change=0 * n.change) for n in noisy.noise]
    drawn = dense_items(replace(noisy, noise=everywhere).written_out()) - dense_items(noisy)
    expected = torch.where(slow <= drawn.abs(), drawn, 0.0)
    clear = (slow - drawn.abs()).abs() > 1e-3 * scale  # rounding may decide the rest
    found = whole_noise(view, scale)
    assert_close(found[clear], expected[clear], rtol=1e-4, atol=1e-3 * scale)
    touched = (slow > 0) & clear
    shares = (found[touched] != 0).float().mean()
    assert 0.2 < shares < 0.8  # both cases occur


def test_rows_that_no_pair_touches_get_noise_everywhere() -> None:
    view = client_view(MF(dim=8))
    noise = whole_noise(view, 1e-3)
    untouched = torch.ones(noise.shape[:2], dtype=torch.bool)
    untouched[view.batch.row_owner, view.batch.row_item] = False
    assert (noise[untouched] != 0).all()


def test_noise_follows_laplaces_law_of_the_scale() -> None:
    """E|Υ| = s, E[Υ²] = 2s², and Υ is as often above 0 as below."""
    view = client_view(MF(dim=64), items=400)
    untouched = torch.ones(3, 400, dtype=torch.bool)
    untouched[view.batch.row_owner, view.batch.row_item] = False
    noise = whole_noise(view, 3e-2)[untouched].double()
    assert len(noise.flatten()) > 70_000
    assert noise.abs().mean() == pytest.approx(3e-2, rel=0.02)
    assert noise.square().mean() == pytest.approx(2 * 3e-2**2, rel=0.04)
    assert (noise > 0).double().mean() == pytest.approx(0.5, abs=0.01)


def test_clients_draw_noise_of_their_own() -> None:
    noise = whole_noise(client_view(MF(dim=64), items=400), 3e-2).flatten(1)
    correlation = torch.corrcoef(noise) - torch.eye(3)
    assert correlation.abs().max() < 0.03


def test_the_dense_part_gets_noise_too() -> None:
    """MF has no dense part: one is given to its uploads, and no change on it."""
    view = client_view()
    noisy = FLWBC(scale=1e-2).on_clients(view.plain, view).updates
    n, params = len(noisy), 500
    noise = [replace(x, dense_change=torch.zeros(params).numpy()) for x in noisy.noise]
    noise[0] = replace(noise[0], dense_change=torch.full((params,), 1e9).numpy())
    out = replace(noisy, dense=torch.zeros(n, params), noise=noise).written_out().dense
    assert (out[0] == 0).all() and (out[1:] != 0).all()
    assert out[1:].abs().mean() == pytest.approx(1e-2, rel=0.1)


# What becomes of noise


def noisy_updates() -> Updates:
    view = client_view(MF(dim=4), cohort=(4, 0, 3, 1), items=12)
    return FLWBC(scale=1e-2).on_clients(view.plain, view).updates


def test_a_weighted_sum_draws_what_is_written_out() -> None:
    noisy, coefficients = noisy_updates(), torch.tensor([0.5, -2.0, 0.0, 1.0])
    written = noisy.written_out()
    assert not written.noise
    assert torch.equal(written.weight, noisy.weight)
    total, expected = noisy.weighted_sum(coefficients), written.weighted_sum(coefficients)
    assert_close(total.items, expected.items, rtol=1e-5, atol=1e-6)
    by_hand = torch.einsum("n,nid->id", coefficients, dense_items(written))
    assert_close(total.items, by_hand, rtol=1e-5, atol=1e-6)


def test_a_second_draw_is_the_first() -> None:
    noisy = noisy_updates()
    assert torch.equal(dense_items(noisy.written_out()), dense_items(noisy.written_out()))


def test_selection_and_scaling_take_the_noise_along() -> None:
    noisy = noisy_updates()
    stack = dense_items(noisy.written_out())
    keep = marked(4, 0, 2, 3)
    assert_close(dense_items(noisy.select(keep).written_out()), stack[keep])
    factors = torch.tensor([2.0, 0.0, -1.0, 0.5])
    scaled = noisy.scaled(factors).scaled(torch.full((4,), 3.0))
    expected = 3 * factors[:, None, None] * stack
    assert_close(dense_items(scaled.written_out()), expected, rtol=1e-5, atol=1e-6)


def test_uploads_that_replace_honest_ones_carry_no_noise() -> None:
    noisy = noisy_updates()
    forged = Updates.over_all_items(
        random_updates(n=2, items=12, d=4, params=0), torch.randn(2, 12, 4), torch.zeros(2, 0)
    )
    received = noisy.replaced(torch.tensor([2, 0]), forged)
    stack, before = dense_items(received.written_out()), dense_items(noisy.written_out())
    assert_close(stack[[2, 0]], dense_items(forged))
    assert_close(stack[[1, 3]], before[[1, 3]])
    # Clients 1 and 3 keep their noise in selections that leave others out.
    assert_close(dense_items(received.select(marked(4, 0, 3)).written_out()), stack[[0, 3]])


def test_whatever_looks_at_single_uploads_sees_their_noise() -> None:
    noisy = noisy_updates()
    stack = dense_items(noisy.written_out())
    whole = stack.flatten(1)
    assert_close(noisy.norms(), whole.norm(dim=1), rtol=1e-4, atol=1e-6)
    assert_close(noisy.gram(), whole.double() @ whole.double().T, rtol=1e-4, atol=1e-6)
    assert_close(noisy.gather(torch.tensor([7, 2])), stack[:, [7, 2]], rtol=1e-5, atol=1e-6)
    middle = stack.sort(dim=0).values[1:3].mean(0)
    assert_close(noisy.trimmed_mean(1).items, middle, rtol=1e-5, atol=1e-6)
    near = mean_near_median(whole, 3).view(middle.shape).float()
    assert_close(noisy.mean_near_median(3).items, near, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, -1e-5])
def test_a_scale_is_positive(scale: float) -> None:
    with pytest.raises(ValueError):
        FLWBC(scale=scale)
