"""The rules for every attack, defence, model and reader, also for the tests of other packages.

    from fedrec.testing import check_attack

    def test_silence_is_an_attack():
        check_attack(Silence)

Each check runs with every model of fedrec (MF, SASRec and NCF), or with a given one, and raises an
AssertionError that names the broken rule. No test framework is needed.
"""

from fedrec.testing.attacks import ATTACK_RULES, check_attack
from fedrec.testing.defenses import DEFENSE_RULES, check_defense
from fedrec.testing.federation import attacker_view, client_view, informed, server_view
from fedrec.testing.models import MODEL_RULES, check_model
from fedrec.testing.readers import READER_RULES, check_reader
from fedrec.testing.uploads import dense_items, random_updates

__all__ = [
    "ATTACK_RULES",
    "DEFENSE_RULES",
    "MODEL_RULES",
    "READER_RULES",
    "attacker_view",
    "check_attack",
    "check_defense",
    "check_model",
    "check_reader",
    "client_view",
    "dense_items",
    "informed",
    "random_updates",
    "server_view",
]
