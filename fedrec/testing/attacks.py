"""The rules for every attack, checked with every model."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch.testing import assert_close

from fedrec.attacks.base import Attack, AttackerView, Forgery
from fedrec.clients.devices import Devices
from fedrec.models.base import Model
from fedrec.rng import Streams
from fedrec.testing.federation import attacker_view, informed
from fedrec.testing.rules import (
    hyper_parameters_are_frozen_strict_and_described,
    models_of,
    refuses,
    run_rules,
)
from fedrec.testing.uploads import dense_items

MakeModel = Callable[[], Model]


def check_attack(attack: type, model: MakeModel | None = None) -> None:
    """Check an attack, with its default settings, against all rules.

    `model` builds the model to check it with (default: every available model).

    Raises:
        AssertionError: the attack breaks a rule; the message names the rule.
    """
    run_rules(SETTINGS_RULES, attack)
    for make in models_of(model):
        run_rules(ATTACK_RULES, attack, make)


def it_is_an_attack_by_its_protocol(attack: type) -> None:
    """An attack must have `initial_state` and `forge`, as in `fedrec.attacks.base.Attack`."""
    assert isinstance(attack(), Attack)


def its_fields_refuse_what_is_of_no_type(attack: type) -> None:
    """A value of a wrong type must raise an error."""
    for field in dataclasses.fields(attack):
        taken = not refuses(attack, **{field.name: object()})
        assert not taken, f"`{field.name}` accepts any type"


def uploads_have_the_shape_of_benign_ones(attack: type, model: MakeModel) -> None:
    """Each selected client must get one upload, with the shape and weight of its benign one."""
    view, forgery = _forge(attack, model)
    assert len(forgery.updates) == len(view)
    assert dense_items(forgery.updates).shape == dense_items(view.benign).shape
    assert forgery.updates.dense.shape == view.benign.dense.shape
    assert torch.equal(forgery.updates.weight, view.benign.weight)


def uploads_are_finite_and_rows_unique(attack: type, model: MakeModel) -> None:
    """All numbers must be finite, and each pair of client and item may have only one row."""
    _, forgery = _forge(attack, model)
    assert torch.isfinite(dense_items(forgery.updates)).all()
    pairs = torch.stack([forgery.updates.owner, forgery.updates.item])
    assert pairs.unique(dim=1).shape == pairs.shape


def equal_streams_give_equal_forgeries(attack: type, model: MakeModel) -> None:
    """All randomness must come from `streams`."""
    (_, first), (_, second) = _forge(attack, model), _forge(attack, model)
    assert torch.equal(first.updates.value, second.updates.value)
    assert first.state == second.state and first.trace == second.trace


def the_view_is_left_as_it_was(attack: type, model: MakeModel) -> None:
    """The attack must not change its arguments in place."""
    before, (view, _) = attacker_view(model()), _forge(attack, model)
    assert torch.equal(view.shared.items, before.shared.items)
    assert torch.equal(view.devices.local, before.devices.local)
    assert torch.equal(view.benign.value, before.benign.value)


def an_upload_depends_on_neither_place_nor_company(attack: type, model: MakeModel) -> None:
    """Draws must depend on the user id, not on the pool's order or on others in the cohort.

    How many others there are may matter: malicious clients can divide an attack among them.
    """
    view, method, streams = attacker_view(model()), attack(), Streams(0).at(1)
    company = _seen_by(view, positions=[2, 0, 4], pool=[3, 4, 1, 0, 2])  # users 1, 3 and 2
    others = _seen_by(view, positions=[1, 0, 4], pool=[0, 1, 2, 3, 4])
    first, second = (
        method.forge(informed(v, attack), method.initial_state(), streams).updates
        for v in (company, others)
    )
    # Statistics of the pool are summed in another order.
    assert_close(dense_items(first)[0], dense_items(second)[0], atol=1e-5, rtol=1e-4)
    assert_close(first.dense[0], second.dense[0], atol=1e-5, rtol=1e-4)


def rows_ascend_by_client_and_the_table_is_the_broadcast_one(
    attack: type, model: MakeModel
) -> None:
    """Uploads must have the form that `fedrec.updates.Updates` requires."""
    view, forgery = _forge(attack, model)
    assert forgery.updates.owner.tolist() == sorted(forgery.updates.owner.tolist())
    assert torch.equal(forgery.updates.table, view.shared.items)
    assert not forgery.updates.noise


def a_state_can_be_carried_on_and_used_again(attack: type, model: MakeModel) -> None:
    """A step must be pure: a second round from the same state must give the same result."""
    view, method, streams = informed(attacker_view(model()), attack), attack(), Streams(0)
    start = method.initial_state()
    first = method.forge(view, start, streams.at(1))
    second = method.forge(view, first.state, streams.at(2))
    method.forge(view, second.state, streams.at(3))
    again = method.forge(view, first.state, streams.at(2))
    assert start == method.initial_state()
    assert second.state == again.state and second.trace == again.trace
    assert torch.equal(second.updates.value, again.updates.value)
    assert type(second.state) is type(start)


def what_is_traced_has_the_same_names_in_every_round(attack: type, model: MakeModel) -> None:
    """Records have one column of numbers for each name, so the names must not change."""
    (_, first), (_, second) = _forge(attack, model, round=1), _forge(attack, model, round=2)
    assert first.trace.keys() == second.trace.keys()
    assert all(type(value) in (int, float) for value in first.trace.values())


SETTINGS_RULES: tuple[Callable[[type], None], ...] = (
    hyper_parameters_are_frozen_strict_and_described,
    its_fields_refuse_what_is_of_no_type,
    it_is_an_attack_by_its_protocol,
)
ATTACK_RULES: tuple[Callable[[type, MakeModel], None], ...] = (
    uploads_have_the_shape_of_benign_ones,
    uploads_are_finite_and_rows_unique,
    equal_streams_give_equal_forgeries,
    the_view_is_left_as_it_was,
    an_upload_depends_on_neither_place_nor_company,
    rows_ascend_by_client_and_the_table_is_the_broadcast_one,
    a_state_can_be_carried_on_and_used_again,
    what_is_traced_has_the_same_names_in_every_round,
)


def _forge(attack: type, model: MakeModel, round: int = 1) -> tuple[AttackerView, Forgery[Any]]:
    view, method = informed(attacker_view(model()), attack), attack()
    return view, method.forge(view, method.initial_state(), Streams(0).at(round))


def _seen_by(view: AttackerView, positions: list[int], pool: list[int]) -> AttackerView:
    """Return the view of the malicious clients `pool`, with those at `positions` selected."""
    some, chosen = torch.tensor(pool), torch.tensor(positions)
    devices = Devices(
        view.devices.model, view.devices.pairs.of(some), view.devices.local[some].clone()
    )
    benign = devices.gradients(view.shared, chosen, Streams(0).at(1)).updates
    return dataclasses.replace(view, devices=devices, selected=chosen, benign=benign)
