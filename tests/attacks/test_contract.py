"""What every attack must keep to, with every model: run over all that the folders hold."""

import dataclasses

import pytest
import torch

from fedrec import attacks, models
from fedrec.attacks.base import AttackerView
from fedrec.methods import find_methods
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


@pytest.mark.parametrize("kind", ATTACKS)
def test_hyper_parameters_are_frozen_strict_and_described(kind: str) -> None:
    attack = ATTACKS[kind]
    with pytest.raises(ValueError):
        attack(no_such_field=1)
    for field in dataclasses.fields(attack):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(attack(), field.name, None)
        assert attack.__pydantic_fields__[field.name].description


def test_a_view_grants_what_the_threat_model_grants() -> None:
    """No benign client's data, no aggregation rule: the fields are the whole of the view."""
    fields = {field.name for field in dataclasses.fields(AttackerView)}
    assert fields == {"shared", "devices", "selected", "benign"}
