"""What every attack must keep to, with every model: run over all that the folders hold."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from fedrec import attacks, models
from fedrec.attacks.base import Attack, AttackerView
from fedrec.clients.devices import Devices
from fedrec.config.methods import find_methods
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.oracles.dense import dense_items

ATTACKS, MODELS = find_methods(attacks), find_methods(models)

every_pair = pytest.mark.parametrize(
    ("kind", "model"), [(kind, model) for kind in ATTACKS for model in MODELS]
)


def forge(kind: str, model: str, round: int = 1):
    view, attack = attacker_view(MODELS[model]()), ATTACKS[kind]()
    return view, attack.forge(view, attack.initial_state(), Streams(0).at(round))


@every_pair
def test_uploads_have_the_shape_of_benign_ones(kind: str, model: str) -> None:
    view, forgery = forge(kind, model)
    assert len(forgery.updates) == len(view)
    assert dense_items(forgery.updates).shape == dense_items(view.benign).shape
    assert forgery.updates.dense.shape == view.benign.dense.shape
    assert torch.equal(forgery.updates.weight, view.benign.weight)


@every_pair
def test_uploads_are_finite_and_rows_unique(kind: str, model: str) -> None:
    _, forgery = forge(kind, model)
    assert torch.isfinite(dense_items(forgery.updates)).all()
    pairs = torch.stack([forgery.updates.owner, forgery.updates.item])
    assert pairs.unique(dim=1).shape == pairs.shape


@every_pair
def test_equal_streams_give_equal_forgeries(kind: str, model: str) -> None:
    (_, first), (_, second) = forge(kind, model), forge(kind, model)
    assert torch.equal(first.updates.value, second.updates.value)
    assert first.state == second.state and first.trace == second.trace


@every_pair
def test_the_view_is_left_as_it_was(kind: str, model: str) -> None:
    view, before = attacker_view(MODELS[model]()), attacker_view(MODELS[model]())
    attack = ATTACKS[kind]()
    attack.forge(view, attack.initial_state(), Streams(0))
    assert torch.equal(view.shared.items, before.shared.items)
    assert torch.equal(view.devices.local, before.devices.local)
    assert torch.equal(view.benign.value, before.benign.value)


def seen_by(view: AttackerView, positions: list[int], pool: list[int]) -> AttackerView:
    """The view of the malicious clients `pool`, of whom those at `positions` are selected."""
    some, chosen = torch.tensor(pool), torch.tensor(positions)
    devices = Devices(
        view.devices.model, view.devices.pairs.of(some), view.devices.local[some].clone()
    )
    benign = devices.gradients(view.shared, chosen, Streams(0).at(1)).updates
    return dataclasses.replace(view, devices=devices, selected=chosen, benign=benign)


@every_pair
def test_a_clients_upload_depends_on_neither_its_place_nor_its_company(
    kind: str, model: str
) -> None:
    """Draws go by user id: the same pool in another order, with others in the cohort."""
    view, attack, streams = attacker_view(MODELS[model]()), ATTACKS[kind](), Streams(0).at(1)
    company = seen_by(view, positions=[2, 0, 4], pool=[3, 4, 1, 0, 2])  # users 1, 3 and 2
    alone = seen_by(view, positions=[1], pool=[0, 1, 2, 3, 4])
    first, second = (attack.forge(v, attack.initial_state(), streams) for v in (company, alone))
    # Statistics of the pool are sums in another order.
    assert_close(
        dense_items(first.updates)[0], dense_items(second.updates)[0], atol=1e-5, rtol=1e-4
    )
    assert_close(first.updates.dense[0], second.updates.dense[0], atol=1e-5, rtol=1e-4)


@every_pair
def test_rows_ascend_by_client_and_the_table_is_the_broadcast_one(kind: str, model: str) -> None:
    view, forgery = forge(kind, model)
    assert forgery.updates.owner.tolist() == sorted(forgery.updates.owner.tolist())
    assert torch.equal(forgery.updates.table, view.shared.items)
    assert not forgery.updates.noise


@every_pair
def test_a_state_can_be_carried_on_and_used_again(kind: str, model: str) -> None:
    """A step is pure: a second round from the same state gives the same, whatever ran between."""
    view, attack, streams = attacker_view(MODELS[model]()), ATTACKS[kind](), Streams(0)
    start = attack.initial_state()
    first = attack.forge(view, start, streams.at(1))
    second = attack.forge(view, first.state, streams.at(2))
    attack.forge(view, second.state, streams.at(3))
    again = attack.forge(view, first.state, streams.at(2))
    assert start == attack.initial_state()
    assert second.state == again.state and second.trace == again.trace
    assert torch.equal(second.updates.value, again.updates.value)
    assert type(second.state) is type(start)


@every_pair
def test_what_is_traced_has_the_same_names_in_every_round(kind: str, model: str) -> None:
    """Records hold one column for each name."""
    (_, first), (_, second) = forge(kind, model, round=1), forge(kind, model, round=2)
    assert first.trace.keys() == second.trace.keys()
    assert all(type(value) in (int, float) for value in first.trace.values())


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_is_one_by_its_protocol(kind: str) -> None:
    assert isinstance(ATTACKS[kind](), Attack)
    assert ATTACKS[kind]() == ATTACKS[kind]()


@pytest.mark.parametrize("kind", ATTACKS)
def test_hyper_parameters_are_frozen_strict_and_described(kind: str) -> None:
    attack = ATTACKS[kind]
    with pytest.raises(ValueError):
        attack(no_such_field=1)
    for field in dataclasses.fields(attack):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(attack(), field.name, None)
        with pytest.raises(ValueError):
            attack(**{field.name: object()})
        assert attack.__pydantic_fields__[field.name].description


def test_a_view_grants_what_the_threat_model_grants() -> None:
    """No benign client's data, no aggregation rule: the fields are the whole of the view."""
    fields = {field.name for field in dataclasses.fields(AttackerView)}
    assert fields == {"shared", "devices", "selected", "benign"}
