"""What every attack must keep to, with every model: all that the folders and plug-ins offer."""

import dataclasses
from collections.abc import Callable

import pytest

from fedrec.attacks.base import AttackerView
from fedrec.attacks.gaussian import Gaussian
from fedrec.config.methods import KINDS
from fedrec.models.mf import MF
from fedrec.settings import settings
from fedrec.testing import ATTACK_RULES, check_attack
from fedrec.testing.attacks import SETTINGS_RULES

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
