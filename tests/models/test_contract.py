"""What every model must keep to: all that the folders and plug-ins offer."""

from collections.abc import Callable

import pytest
import torch

from fedrec.config.methods import KINDS
from fedrec.models.mf import MF
from fedrec.settings import settings
from fedrec.testing import MODEL_RULES, check_model

MODELS = KINDS["models"]


@pytest.mark.parametrize("rule", MODEL_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("kind", MODELS)
def test_contract(kind: str, rule: Callable[[type], None]) -> None:
    rule(MODELS[kind])


def test_a_broken_model_is_told_which_rule_it_breaks() -> None:
    @settings
    class Moody(MF):
        def scores(self, shared, local, past):  # type: ignore[no-untyped-def]
            return super().scores(shared, local, past) + torch.rand(1)

    with pytest.raises(AssertionError, match="Moody: scores rank all items without chance"):
        check_model(Moody)
