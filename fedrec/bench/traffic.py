"""Bytes moved and operations done in a round, estimated from the work that it requires.

Every pass over an array counts with its bytes, whether a cache holds them or not. Data that a loop
keeps in registers and in small buffers do not count. Operations are those on numbers, including
random bits, but not those on addresses.
"""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from fedrec.attacks.base import Attack
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.no_attack import NoAttack
from fedrec.config.cell_config import CellConfig
from fedrec.defenses.base import DefensePart
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.union import Union
from fedrec.federation import Federation, sample_clients
from fedrec.models.base import Model
from fedrec.models.mf import MF
from fedrec.models.sas_rec import SASRec

FLOAT, INT = 4.0, 8.0  # bytes
ADAM = (7.0, 12.0)  # passes over the parameters and their moments, operations per parameter
WORD = 44  # operations for 64 random bits: ten rounds of eight for two words, and joining halves
ROUNDS = 40  # rounds whose cohorts are counted


@dataclass(frozen=True)
class Work:
    """Bytes between memory and processor, and operations."""

    bytes: float = 0.0
    operations: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.bytes + other.bytes, self.operations + other.operations)

    def __mul__(self, times: float) -> "Work":
        return Work(self.bytes * times, self.operations * times)


@dataclass(frozen=True)
class Tally:
    """The quantities in an average round that determine its work."""

    users: float
    items: float
    d: float
    dense: float  # parameters other than the items
    clients: float
    malicious: float
    pairs: float
    rows: float  # of the honest uploads without the contrastive task
    tokens: float  # read by a sequential model
    squares: float  # sum over clients of the squared number of tokens
    anchors: float  # of the contrastive task
    uploaded: float  # rows that the server receives
    items_met: float  # Σ over the items of the squared number of rows: the products in Krum

    @property
    def row(self) -> float:
        """Bytes of an embedding."""
        return FLOAT * self.d

    @property
    def table(self) -> float:
        """Bytes of all embeddings."""
        return self.row * self.items


def tally(fed: Federation, config: CellConfig) -> Tally:
    """Return averages over some rounds' cohorts; the rounds are not run."""
    counted = [_count(fed, config, number) for number in range(1, ROUNDS + 1)]
    means = {name: float(np.mean([row[name] for row in counted])) for name in counted[0]}
    items, d = fed.server.shared.items.shape
    return Tally(
        users=float(len(fed.position)),
        items=float(items),
        d=float(d),
        dense=float(len(fed.server.shared.dense)),
        clients=float(fed.clients_per_round),
        **means,
    )


def _count(fed: Federation, config: CellConfig, number: int) -> dict[str, float]:
    """Return the quantities of one round's cohort."""
    streams, n_items = fed.streams.at(number), len(fed.server.shared.items)
    cohort = sample_clients(len(fed.position), fed.clients_per_round, streams)
    malicious = (fed.position[cohort] >= 0).cpu().numpy()
    batch = fed.devices.pairs.batch(fed.position.new_tensor(cohort), streams)
    sizes = batch.sizes.cpu().numpy()
    rows = np.bincount(batch.row_owner.cpu().numpy(), minlength=len(sizes)).astype(float)
    tokens = (sizes - 1).clip(max=getattr(config.model, "length", 0))
    uploaded = _task_rows(config, sizes, rows, n_items)
    if not isinstance(config.attack, NoAttack):
        uploaded = np.where(malicious, n_items, uploaded)
    per_item = np.bincount(batch.row_item.cpu().numpy(), minlength=n_items)
    per_item = per_item * uploaded.sum() / max(rows.sum(), 1)
    return {
        "malicious": float(malicious.sum()),
        "pairs": float(sizes.sum()),
        "rows": float(rows.sum()),
        "tokens": float(tokens.sum()),
        "squares": float((tokens.astype(float) ** 2).sum()),
        "anchors": float(sizes[sizes > 1].sum()),
        "uploaded": float(uploaded.sum()),
        "items_met": float((per_item.clip(max=len(cohort)) ** 2).sum()),
    }


def _task_rows(config: CellConfig, sizes: np.ndarray, rows: np.ndarray, n_items: int) -> np.ndarray:
    """Return each client's expected rows, including those of the contrastive task's negatives."""
    draws = sum(t.negatives for t in config.defense.tasks if isinstance(t, Union) and t.weight)
    outside = (n_items - rows).clip(min=1)
    return np.asarray(rows + outside * (1 - (1 - 1 / outside) ** (sizes * draws)))


def round_work(config: CellConfig, t: Tally) -> dict[str, Work]:
    """Return the work of each part of a round, by the part's name.

    Raises:
        NotImplementedError: there is no estimate for a method.
    """
    defense = config.defense
    defended: list[DefensePart] = [*defense.filters, *defense.transforms, defense.reduction]
    user = 0.0 if isinstance(config.model, SASRec) else t.users * t.d
    attacked = {"attack: forge": attack_work(config.attack, t, config.model)} if t.malicious else {}
    return {
        "clients: gather pairs": Work(2 * INT * (5 * t.pairs + 2 * t.rows)),
        "clients: local gradients": model_work(config.model, t),
        "clients: the defence's task": sum((task_work(p, t) for p in defense.tasks), Work()),
        **attacked,
        "defense: aggregate": sum((server_work(p, t) for p in defended), Work()),
        "server: step": adam_work(t.items * t.d + t.dense),
        "clients: own step": adam_work(user),
    }


def adam_work(parameters: float) -> Work:
    """Return the work of one step of dense Adam."""
    passes, operations = ADAM
    return Work(passes * FLOAT * parameters, operations * parameters)


@singledispatch
def model_work(model: Model, t: Tally) -> Work:
    """Return the work of a cohort's gradients."""
    raise NotImplementedError(f"no work estimate for {type(model).__name__}")


@model_work.register
def _mf(model: MF, t: Tally) -> Work:
    # Two rows are read, and two added to; per coordinate three masks, and 15 operations on them.
    pair = Work(6 * t.row + 4 * INT, t.d * (15 + 3 * (2 + WORD / 4)))
    return pair * t.pairs + Work(t.rows * t.row)  # rows are initialised to zeros


@model_work.register
def _sas_rec(model: SASRec, t: Tally) -> Work:
    # Forward and backward pass together take three products for each of a layer's.
    layers = t.tokens * (6 * t.d**2 + 4 * t.d * model.hidden) + 4 * t.d * t.squares
    # About twenty activations per token and six per pair of tokens, written and read, both ways.
    activations = 4 * FLOAT * (20 * t.tokens * t.d + 6 * model.heads * t.squares)
    ends = Work(3 * 4 * t.row * t.tokens + 4 * FLOAT * t.clients * t.dense)
    return Work(activations, 3 * layers) * model.blocks + ends


@singledispatch
def task_work(part: object, t: Tally) -> Work:
    """Return the work that a defence adds for honest clients."""
    raise NotImplementedError(f"no work estimate for {type(part).__name__}")


@task_work.register
def _contrastive(part: Union, t: Tally) -> Work:
    if part.weight == 0:
        return Work()
    honest = t.uploaded - t.malicious * t.items
    candidates = part.negatives + 2
    anchor = Work(candidates * (3 * t.row + 2 * INT), candidates * t.d * (10 + WORD / 4))
    marks = Work(2 * t.clients * t.items)  # which client touches which item, a byte each
    return anchor * t.anchors + marks + Work((honest + 2 * t.rows) * t.row)


@singledispatch
def attack_work(attack: Attack[Any], t: Tally, model: Model) -> Work:
    """Return the work of a round's forged uploads."""
    raise NotImplementedError(f"no work estimate for {type(attack).__name__}")


@attack_work.register
def _none(attack: NoAttack, t: Tally, model: Model) -> Work:
    return Work()


@attack_work.register
def _cluster(attack: ClusterAttack, t: Tally, model: Model) -> Work:
    """Count at least one iteration of k-means, and the variance's gradient, bounded per client."""
    if attack.contrastive:
        raise NotImplementedError("no work estimate for ClusterAttack+CL")
    clusters = Work(2 * t.table, 2 * attack.clusters * t.items * t.d)
    forged = (
        Work(6 * t.table, 6 * t.items * t.d) + Work(2 * t.table, 2 * t.items * t.d) * t.malicious
    )
    pool = min(attack.normal_clients / t.clients, 1.0)
    normal = (model_work(model, t) + Work(2 * t.rows * t.row)) * pool
    placed = Work(2 * t.uploaded * (t.row + 2 * INT))
    return clusters + forged + normal + placed


@singledispatch
def server_work(part: DefensePart, t: Tally) -> Work:
    """Return the work of one part of the server's defence."""
    raise NotImplementedError(f"no work estimate for {type(part).__name__}")


@server_work.register
def _union(part: Union, t: Tally) -> Work:
    sample = min(float(part.sample), t.items)
    moved = t.uploaded * sample / t.items  # rows of the sampled items
    previews = Work(7 * t.row * moved + INT * t.uploaded, 15 * t.d * moved)
    forged = t.malicious * sample**2 * t.d
    return previews + Work(FLOAT * t.clients * sample**2 / 2, 2 * moved * sample * t.d - forged)


@server_work.register
def _krum(part: Krum, t: Tally) -> Work:
    return Work(t.uploaded * (t.row + 3 * INT) + t.table, t.items_met * t.d)


@server_work.register
def _norm_bound(part: NormBound, t: Tally) -> Work:
    return Work(t.uploaded * (4 * t.row + 2 * INT), 6 * t.uploaded * t.d)


@server_work.register
def _mean(part: Mean, t: Tally) -> Work:
    table = Work(2 * t.table, t.items * t.d)
    return table + Work(t.uploaded * (3 * t.row + INT), 2 * t.uploaded * t.d)
