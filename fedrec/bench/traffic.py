"""Bytes moved and operations done in a round, estimated from the work that it requires.

Every pass over an array counts with its bytes, whether a cache holds them or not. Data that a loop
keeps in registers and in small buffers do not count. Operations are those on numbers, including
random bits, but not those on addresses. The estimates are for the loops of a CPU.
"""

from fedrec.bench.attack_work import attack_work
from fedrec.bench.defense_work import defense_work
from fedrec.bench.model_work import model_work, task_work
from fedrec.bench.tally import FLOAT, INT, Number, Tally, Work
from fedrec.config.cell_config import CellConfig
from fedrec.models.sas_rec import SASRec

ADAM = (7.0, 12.0)  # passes over the parameters and their moments, operations per parameter


def round_work(config: CellConfig, t: Tally) -> dict[str, Work]:
    """Return the work of each part of a round, by the part's name.

    Forging counts with the share of rounds that have a malicious client.

    Raises:
        NotImplementedError: there is no estimate for a method.
    """
    user = 0.0 if isinstance(config.model, SASRec) else t.users * t.d
    forging = {}
    if t.malicious:
        forged = attack_work(config.attack, t.in_attacked_round(), config)
        forging["attack: forge"] = forged * t.attacked
    tasks = (task_work(part, t, config.model) for part in config.defense.tasks)
    return {
        "clients: gather pairs": Work(2 * INT * (5 * t.pairs + 2 * t.rows)),
        "clients: local gradients": model_work(config.model, t),
        "clients: the defence's task": sum(tasks, Work()),
        **forging,
        "defense: aggregate": defense_work(config.defense, t),
        "server: step": adam_work(t.items * t.d + t.dense),
        "clients: own step": adam_work(user),
    }


def adam_work(parameters: Number) -> Work:
    """Return the work of one step of dense Adam."""
    passes, operations = ADAM
    return Work(passes * FLOAT * parameters, operations * parameters)
