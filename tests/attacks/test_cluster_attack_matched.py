"""ClusterAttackMatched: the largest share of ClusterAttack's upload that UNION finds uniform."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.attacks.base import AttackerView, PreviewingView, knowledge_of
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.cluster_attack_matched import (
    ClusterAttackMatched,
    Interval,
    largest_share,
)
from fedrec.defenses.base import Defense, DefensePart
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.mean import Mean
from fedrec.defenses.union import Union
from fedrec.models.mf import MF
from fedrec.models.sas_rec import SASRec
from fedrec.rng import Streams
from fedrec.settings import preset_values, written
from fedrec.testing.federation import rule_of, server_view
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, three_clients, told_view
from tests.oracles.defenses import after_adam, mean_distance
from tests.oracles.dense import dense_items

STREAMS = Streams(0).at(1)
UNION: list[DefensePart] = [Union(), Mean()]


def previewing(view: AttackerView, *defense: DefensePart) -> PreviewingView:
    shown = rule_of(view, defense or (Mean(),)).shown(view, "the server's preview")
    assert isinstance(shown, PreviewingView)
    return shown


@pytest.mark.parametrize(
    ("within", "shares"),
    [
        ("range", [0.2 / 1.3, 0.0]),  # from 10.5 to 10.7
        (2.0, [0.3 / 1.3, 0.1 / 1.1]),  # 10.6 ± 2 · 0.1
        (20.0, [1.0, 1.0]),  # 10.6 ± 2: all of it
    ],
)
def test_shares_by_hand(within: Any, shares: list[float]) -> None:
    """Two items at 10 and 20, and a step of 0.1 down each upload.

    The honest gradients are (1, −6), (2, −4) and (3, −2), so the distances are 10.7, 10.6 and 10.5.
    With one cluster, ClusterAttack uploads ∓ the mean norm 3 of honest rows: the distance is 9.4.
    So it is 10.7 − 1.3λ for the first client, and 10.5 − 1.1λ for the third.
    """
    view = previewing(told_view(three_clients(), [0, 2]))
    attack = ClusterAttackMatched(clusters=1, spread=0.0, preview="sgd", within=within, steps=16)
    forged = attack.forge(view, attack.initial_state(), STREAMS)
    own, pull = np.array([[1.0, -6.0], [3.0, -2.0]]), np.array([-3.0, 3.0])
    share = np.array(shares)[:, None]
    found = dense_items(forged.updates)[:, :, 0].numpy()
    assert_close(found, (share * pull + (1 - share) * own).astype(np.float32), atol=2e-3, rtol=0)
    assert_close(forged.updates.dense, torch.tensor([[0.5, -1.0], [2.5, 1.0]]))
    assert forged.trace["share"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert forged.updates.weight.tolist() == [1.0, 4.0]


def test_intervals_by_hand() -> None:
    found = torch.tensor([1.0, 2.0, 6.0])
    assert Interval.around(found, "range") == (1.0, 6.0)
    low, high = Interval.around(found, 0.5)  # 3 ± √7 / 2
    assert (float(low), float(high)) == pytest.approx((3 - 7**0.5 / 2, 3 + 7**0.5 / 2))
    assert Interval.around(found[:1], 3.0) == (1.0, 1.0)


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_the_bisection_finds_each_clients_bound(steps: int) -> None:
    bounds = torch.tensor([0.0, 0.3, 0.75, 1.0, -1.0])
    found = largest_share(lambda share: share <= bounds, 5, steps, bounds.device)
    assert ((found <= bounds) | (found == 0)).all()
    assert (found >= bounds.clamp(min=0) - 2.0**-steps).all()
    assert found[3] == 1


def uniformity_of(upload: Tensor, table: Tensor, rate: float) -> float:
    """As UNION measures it over all items, before the server's first step."""
    return mean_distance(after_adam(table, [upload], rate), squared=False)


@pytest.mark.parametrize("defense", [[Mean()], UNION, [FLWBC(), Mean()]], ids=repr)
@pytest.mark.parametrize("model", [MF(dim=4, l2=0.05), SASRec(dim=4, length=5)])
def test_uploads_are_in_the_interval_and_a_larger_share_is_not(model: Any, defense: Any) -> None:
    """Computed from the dense uploads, with PyTorch's Adam."""
    view = previewing(attacker_view(model), *defense)
    attack = ClusterAttackMatched(steps=7)
    state = attack.initial_state()
    forged = attack.forge(view, state, STREAMS).updates
    plain = attack.plain.forge(view, state, STREAMS).updates
    table, rate = view.shared.items, model.learning_rate
    honest = view.honest(torch.arange(5), STREAMS).written_out()
    uniform = [uniformity_of(one, table, rate) for one in dense_items(honest)]
    uploads = zip(
        dense_items(honest)[view.selected], dense_items(plain), dense_items(forged), strict=True
    )
    for own, pull, found in uploads:
        share = float(((found - own) * (pull - own)).sum() / (pull - own).square().sum())
        assert_close(share * pull + (1 - share) * own, found, atol=1e-6, rtol=1e-4)
        slack = 1e-6
        d = uniformity_of(found, table, rate)
        assert min(uniform) - slack <= d <= max(uniform) + slack
        if share < 1 - 1e-6:
            more = share + 2.0**-7
            outside = uniformity_of(more * pull + (1 - more) * own, table, rate)
            assert outside <= min(uniform) + slack or outside >= max(uniform) - slack


def test_all_of_it_is_cluster_attack() -> None:
    """No uniformity is outside a very wide interval."""
    view = previewing(attacker_view(MF(dim=4)), *UNION)
    attack = ClusterAttackMatched(within=1e6)
    forged = attack.forge(view, attack.initial_state(), STREAMS)
    plain = attack.plain.forge(view, attack.initial_state(), STREAMS)
    assert_close(flat(forged.updates), flat(plain.updates), atol=0, rtol=0)
    assert forged.state == plain.state and forged.trace == plain.trace | {"share": 1.0}


def test_an_interval_that_holds_nothing_leaves_the_honest_upload() -> None:
    """With the defence's task."""
    view = previewing(attacker_view(MF(dim=4)), *UNION)
    attack = ClusterAttackMatched(within=1e-9)
    forged = attack.forge(view, attack.initial_state(), STREAMS)
    honest = view.honest(view.selected, STREAMS)
    assert forged.trace["share"] < 0.05
    share = forged.trace["share"]
    assert np.abs(flat(forged.updates) - flat(honest)).max() <= 3 * share + 1e-6


def test_union_keeps_what_it_would_drop_without_matching() -> None:
    """Two malicious clients of twenty; the server assumes two."""
    view = previewing(attacker_view(MF(dim=8), users=20), *UNION)
    others = torch.tensor([i for i in range(20) if i not in view.selected])
    honest = view.honest(torch.cat([others, view.selected]), STREAMS)
    places, kept = torch.tensor([18, 19]), []
    attack = ClusterAttackMatched(within=1.0)
    for some in (attack, attack.plain):
        forged = some.forge(view, attack.initial_state(), STREAMS).updates
        decision = Defense.compose(UNION)(
            honest.replaced(places, forged), server_view(honest, expected_malicious=2)
        )
        kept.append(decision.kept[places].tolist())
    assert kept == [[True, True], [False, False]]


def test_k_adapts_as_in_cluster_attack() -> None:
    attack = ClusterAttackMatched(clusters=3)
    state = attack.initial_state()
    assert state.clusters == 3 == attack.recorded_for(state)
    adapted, trace = attack.learn(state, [0.5, 0.25])
    expected, plain = attack.plain.learn(state, 0.5)
    assert adapted == expected and trace == plain | {"share": 0.25}


def test_the_attackers_items_are_its_own() -> None:
    """A sample of some items gives another share than all items, and the same one each time."""
    view = previewing(attacker_view(MF(dim=4), users=9), *UNION)
    some, every = ClusterAttackMatched(sample=5), ClusterAttackMatched()
    shares = [
        attack.forge(view, attack.initial_state(), STREAMS).trace["share"]
        for attack in (some, some, every)
    ]
    assert shares[0] == shares[1] != shares[2]


def test_what_it_knows_is_declared() -> None:
    assert knowledge_of(ClusterAttackMatched) == "the server's preview"
    with pytest.raises(ValueError, match="within"):
        replace(ClusterAttackMatched(), within=0.0)


def test_it_has_every_setting_of_cluster_attack() -> None:
    """Also in the upload: rows that are clipped (Eq. 3) are shorter than rows at their bounds."""
    given: dict[str, Any] = {"norm_rule": "clip", "max_clusters": 9, "decay": 0.5, "spread": 1.0}
    assert ClusterAttackMatched(**given).plain == ClusterAttack(**given)
    text = preset_values(ClusterAttackMatched, "paper")
    assert ClusterAttackMatched(**text).plain == ClusterAttack(**text)
    with pytest.raises(ValueError, match="clusters must lie in"):
        ClusterAttackMatched(clusters=10, max_clusters=9)
    view = previewing(attacker_view(MF(dim=4)), *UNION)
    pulled = []
    for attack in (ClusterAttackMatched(within=1e6), ClusterAttackMatched(within=1e6, **given)):
        forged = attack.forge(view, attack.initial_state(), STREAMS)
        pulled.append(float(dense_items(forged.updates).norm()))
    assert pulled[1] < 0.9 * pulled[0]


def test_records_state_the_newer_settings_only_where_they_differ() -> None:
    """So records from before these settings keep their hashes."""
    known = {"clusters", "spread", "normal_clients"}
    own = {"within", "steps", "sample", "preview", "distance"}
    assert set(written(ClusterAttackMatched())) == known | own
    assert set(written(ClusterAttackMatched(decay=0.9))) == known | own | {"decay"}
