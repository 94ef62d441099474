"""Work of a round's forged uploads, by attack."""

from functools import singledispatch

import numpy as np

from fedrec.attacks._perturbation import Perturbed
from fedrec.attacks._rule_search import RuleSearch
from fedrec.attacks.bit_flip import BitFlip
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.cluster_attack_matched import ClusterAttackMatched
from fedrec.attacks.fang import Fang
from fedrec.attacks.fed_attack import FedAttack
from fedrec.attacks.gaussian import Gaussian
from fedrec.attacks.ipm import IPM
from fedrec.attacks.label_flip import LabelFlip
from fedrec.attacks.lie import LIE
from fedrec.attacks.lie_search import LIESearch
from fedrec.attacks.mimic import Mimic
from fedrec.attacks.no_attack import NoAttack
from fedrec.attacks.spattack_l import SpattackL
from fedrec.attacks.spattack_o import SpattackO
from fedrec.attacks.ua_fedrec import UAFedRec
from fedrec.bench.defense_work import defense_work
from fedrec.bench.model_work import NORMAL, WORD, anchor_work, model_work, task_work
from fedrec.bench.tally import FLOAT, INT, Number, Tally, Work
from fedrec.config.cell_config import CellConfig


@singledispatch
def attack_work(attack: object, t: Tally, config: CellConfig) -> Work:
    """Return the work of forging in a round with `t.malicious` malicious clients.

    Raises:
        NotImplementedError: there is no estimate for the attack.
    """
    raise NotImplementedError(f"no work estimate for {type(attack).__name__}")


@attack_work.register
def _none(attack: NoAttack, t: Tally, config: CellConfig) -> Work:
    return Work()


@attack_work.register
def _cluster(attack: ClusterAttack, t: Tally, config: CellConfig) -> Work:
    """Count at least one iteration of k-means, and the variance's gradient, bounded per client.

    With the contrastive task, each client adds a gradient of its own over all items.
    """
    clusters = Work(2 * t.table, 2 * attack.clusters * t.numbers)
    forged = Work(6 * t.table, 6 * t.numbers) + Work(2 * t.table, 2 * t.numbers) * t.malicious
    share = normal_share(attack.normal_clients, t)
    normal = (model_work(config.model, t) + Work(2 * t.rows * t.row)) * share
    if attack.contrastive:
        anchors = anchor_work(attack.negatives, t) * (t.anchors / t.clients)
        forged += (anchors + Work(4 * t.table, t.numbers)) * t.malicious
    return clusters + forged + normal + placed(t)


@attack_work.register
def _label_flip(attack: LabelFlip, t: Tally, config: CellConfig) -> Work:
    return model_work(config.model, t) * (t.malicious / t.clients) + placed(t)


@attack_work.register
def _fed_attack(attack: FedAttack, t: Tally, config: CellConfig) -> Work:
    """Count scores of all items, which are ordered if a client needs the nearest ones."""
    trained = model_work(config.model, t) * (t.malicious / t.clients)
    if attack.hardest == "pair":
        users, orders = t.pairs / t.clients * t.malicious, 2.0  # two searches
    else:
        users, orders = t.malicious, np.log2(t.items)
    scored = Work(t.table) + Work(2 * FLOAT * t.items, 2 * t.numbers) * users
    return trained + scored + Work(INT * t.items, orders * t.items) * users + placed(t)


@attack_work.register
def _gaussian(attack: Gaussian, t: Tally, config: CellConfig) -> Work:
    drawn = Work(4 * t.table, (NORMAL + 2) * t.numbers) * t.malicious
    return statistics_work(attack.normal_clients, t, config) + drawn + placed(t)


@attack_work.register
def _lie(attack: LIE, t: Tally, config: CellConfig) -> Work:
    return statistics_work(attack.normal_clients, t, config) + moved(t) + everywhere(t)


@attack_work.register
def _fang(attack: Fang, t: Tally, config: CellConfig) -> Work:
    random = (WORD / 2 + 2) * t.numbers if attack.drawn == "per_coordinate" else 0.0
    each = Work(3 * t.table, 4 * t.numbers + random) * t.malicious
    return statistics_work(attack.normal_clients, t, config) + each + placed(t)


@attack_work.register
def _ipm(attack: IPM, t: Tally, config: CellConfig) -> Work:
    return mean_work(attack.normal_clients, t, config) + everywhere(t)


@attack_work.register
def _spattack_o(attack: SpattackO, t: Tally, config: CellConfig) -> Work:
    return mean_work(attack.normal_clients, t, config) + everywhere(t)


@attack_work.register
def _spattack_l(attack: SpattackL, t: Tally, config: CellConfig) -> Work:
    drawn = t.numbers + t.dense
    return Work(3 * FLOAT * drawn, (NORMAL + 1) * drawn) + everywhere(t)


@attack_work.register
def _ua_fedrec(attack: UAFedRec, t: Tally, config: CellConfig) -> Work:
    """Count normal gradients and their norms, all inner products, and the rows of both partners."""
    share = normal_share(attack.normal_clients, t)
    rows, dense = t.rows * share, t.dense_numbers * share
    normal = model_work(config.model, t) * share + Work(2 * rows * t.row, 4 * rows * t.d)
    products = Work(2 * t.table + 3 * FLOAT * t.items**2, 2 * (t.d + 1) * t.items**2)
    moves = Work(12 * t.table, 9 * t.numbers)  # three are read and three added; then the norm
    return normal + Work(2 * FLOAT * dense, 5 * dense) + products + moves + everywhere(t)


@attack_work.register
def _bit_flip(attack: BitFlip, t: Tally, config: CellConfig) -> Work:
    rows = t.rows / t.clients * t.malicious
    return Work(2 * rows * t.row, rows * t.d) + placed(t)


@attack_work.register
def _mimic(attack: Mimic, t: Tally, config: CellConfig) -> Work:
    """Count a round after the target is chosen: its gradient, written out."""
    return mean_work(1, t, config) + everywhere(t)


@attack_work.register
def _perturbed(attack: Perturbed, t: Tally, config: CellConfig) -> Work:
    """Count the inner products of the normal uploads, μ and p; the search has only distances."""
    share = normal_share(attack.normal_clients, t)
    rows = t.rows * share + 2 * t.items
    products = t.plain.sum(lambda c: (c * share + 2) ** 2)
    gram = Work(rows * (t.row + 3 * INT) + t.table, products * t.d)
    direction = Work(2 * t.table, t.numbers)
    statistics = statistics_work(attack.normal_clients, t, config)
    return statistics + direction + gram + moved(t) + everywhere(t)


@attack_work.register
def _rule_search(attack: RuleSearch, t: Tally, config: CellConfig) -> Work:
    """Count each trial: the forged uploads, the server's rule, and the shift of its result."""
    normal = normal_share(attack.normal_clients, t) * t.clients
    statistics = rows_work(normal / t.clients, t, spread=isinstance(attack, LIESearch))
    without, tried = t.cohort(normal + t.malicious, 0), t.cohort(normal, t.malicious)
    shift = Work(5 * t.table, 3 * t.numbers)
    forged = moved(t) + everywhere(tried)
    trials = (forged + defense_work(config.defense, tried) + shift) * attack.trials
    honest = honest_work(normal + t.malicious, t, config) + defense_work(config.defense, without)
    return honest + statistics + trials + moved(t) + everywhere(t)


@attack_work.register
def _cluster_matched(attack: ClusterAttackMatched, t: Tally, config: CellConfig) -> Work:
    """Count ClusterAttack, honest uploads, and uniformities: of these, and of mixed uploads."""
    normal = normal_share(attack.normal_clients, t) * t.clients
    sample = min(float(attack.sample), t.items)
    # Between the sampled items, half of the pairs; then the preview of the server's step.
    each = Work(FLOAT * sample**2 / 2 + 7 * t.row * sample, t.d * (sample**2 + 15 * sample))
    mixed = Work(3 * t.row * sample, 3 * t.d * sample)
    bisection = (each + mixed) * ((1 + attack.steps) * t.malicious)
    share = t.honest / (t.clients - t.malicious) / t.items  # of the items, in an honest upload
    measured = each * (share * normal)
    whole = Work(5 * t.table, 3 * t.numbers) * t.malicious  # written out, and mixed
    honest = honest_work(normal + t.malicious, t, config)
    return attack_work(attack.plain, t, config) + honest + measured + bisection + whole


def normal_share(count: int, t: Tally) -> Number:
    """Return the number of clients that give normal gradients, as a share of a cohort."""
    return min(float(count), t.attackers) / t.clients


def honest_work(clients: Number, t: Tally, config: CellConfig) -> Work:
    """Return the work of some clients' honest uploads, with the tasks of the defence."""
    tasks = sum((task_work(part, t, config.model) for part in config.defense.tasks), Work())
    return (model_work(config.model, t) + tasks) * (clients / t.clients)


def mean_work(count: int, t: Tally, config: CellConfig) -> Work:
    """Return the work of normal gradients and of their mean."""
    share = normal_share(count, t)
    return model_work(config.model, t) * share + rows_work(share, t, spread=False)


def statistics_work(count: int, t: Tally, config: CellConfig) -> Work:
    """Return the work of normal gradients and of the mean and deviation of each coordinate."""
    share = normal_share(count, t)
    return model_work(config.model, t) * share + rows_work(share, t, spread=True)


def rows_work(share: Number, t: Tally, spread: bool) -> Work:
    """Return the work of the mean, and if `spread` of the deviation, of normal rows."""
    rows, dense = t.rows * share, t.dense_numbers * share
    if not spread:
        found = Work(rows * (3 * t.row + INT) + 2 * t.table, 2 * rows * t.d + t.numbers)
        return found + Work(FLOAT * dense, 2 * dense)
    # Row and embedding are read, and two tables are added to. These are written, read, and made μ
    # and σ, for which the embeddings are read too.
    found = Work(rows * (6 * t.row + 2 * INT) + 7 * t.table, 8 * rows * t.d + 10 * t.numbers)
    return found + Work(2 * FLOAT * dense, 5 * dense)


def moved(t: Tally) -> Work:
    """Return the work of an upload that is moved along a direction: μ + γp."""
    return Work(3 * t.table, 2 * t.numbers)


def everywhere(t: Tally) -> Work:
    """Return the work of the same upload for all malicious clients, put among the others."""
    return Work(t.table) * (1 + t.malicious) + placed(t)


def placed(t: Tally) -> Work:
    """Return the work of putting forged uploads among the others: all rows are copied."""
    return Work(2 * t.uploaded * (t.row + 2 * INT))
