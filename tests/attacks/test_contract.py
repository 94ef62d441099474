"""What every attack must keep to, with every model: all that the folders and plug-ins offer."""

import dataclasses
from collections.abc import Callable

import pytest

from fedrec.attacks.base import AttackerView, KnowingView, PreviewingView, knowledge_of
from fedrec.attacks.gaussian import Gaussian
from fedrec.config.methods import KINDS
from fedrec.models.mf import MF
from fedrec.settings import settings
from fedrec.testing import ATTACK_RULES, check_attack
from fedrec.testing.attacks import SETTINGS_RULES
from fedrec.testing.federation import attacker_view, rule_of

ATTACKS, MODELS = KINDS["attacks"], KINDS["models"]


@pytest.mark.parametrize("rule", ATTACK_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ATTACKS)
def test_contract(kind: str, model: str, rule: Callable[..., None]) -> None:
    rule(ATTACKS[kind], MODELS[model])


@pytest.mark.parametrize("rule", SETTINGS_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("kind", ATTACKS)
def test_settings(kind: str, rule: Callable[[type], None]) -> None:
    rule(ATTACKS[kind])


def test_a_broken_attack_is_told_which_rule_it_breaks() -> None:
    @settings
    class Twofold(Gaussian):
        def forge(self, view, state, streams):  # type: ignore[no-untyped-def]
            forgery = super().forge(view, state, streams)
            view.shared.items.zero_()
            return forgery

    with pytest.raises(
        AssertionError, match="Twofold: the view is left as it was: The attack must"
    ):
        check_attack(Twofold, MF)


def test_a_view_grants_what_the_threat_model_grants() -> None:
    """No benign client's data, no aggregation rule: the fields are the whole of the view.

    `who` names the attackers themselves.
    """
    fields = {field.name for field in dataclasses.fields(AttackerView)}
    assert fields == {"shared", "devices", "selected", "benign", "who"}


def test_a_view_grants_more_about_the_server_only_if_the_attack_declares_it() -> None:
    view = attacker_view()
    rule = rule_of(view)
    own = {field.name for field in dataclasses.fields(AttackerView)}
    assert rule.shown(view, "own data") is view
    for knows, kind, more in (
        ("the server's preview", PreviewingView, {"honest", "preview"}),
        ("the aggregation rule", KnowingView, {"honest", "aggregate"}),
    ):
        shown = rule.shown(view, knows)
        assert type(shown) is kind
        assert {field.name for field in dataclasses.fields(shown)} == own | more


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_that_declares_nothing_has_its_own_data_alone(kind: str) -> None:
    """So do the attacks of the paper."""
    more = {"lie_search", "ipm_search", "cluster_attack_matched"}
    assert (knowledge_of(ATTACKS[kind]) == "own data") == (kind not in more)
