"""Work of the server's defence, by method."""

from dataclasses import replace
from functools import singledispatch

import numpy as np

from fedrec.bench.model_work import LAPLACE, NORMAL
from fedrec.bench.tally import FLOAT, INT, Number, Tally, Work
from fedrec.defenses.base import Defense, DefensePart
from fedrec.defenses.bucketing import Bucketing
from fedrec.defenses.bulyan import Bulyan
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.dnc import SQUARINGS, DnC
from fedrec.defenses.dp_fedavg import DPFedAvg
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.fools_gold import FoolsGold
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.per_row import PerRow
from fedrec.defenses.pieck import PIECK
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.defenses.union import Union

DOUBLE = 8.0  # bytes


def defense_work(defense: Defense, t: Tally) -> Work:
    """Return the work of the server's defence in a round. A method with several roles counts once.

    Raises:
        NotImplementedError: there is no estimate for a method.
    """
    work = Work()
    for part in defense.mixers:
        work, t = work + server_work(part, t), mixed(part, t)
    others: list[DefensePart] = [*defense.tasks, *defense.filters, *defense.transforms]
    once = {id(part): part for part in (*others, defense.reduction)}
    return sum((server_work(part, t) for part in once.values()), work)


@singledispatch
def server_work(part: DefensePart, t: Tally) -> Work:
    """Return the work of one method on the server, in all its roles."""
    raise NotImplementedError(f"no work estimate for {type(part).__name__}")


@server_work.register
def _union(part: Union, t: Tally) -> Work:
    sample = min(float(part.sample), t.items)
    moved = t.uploaded * sample / t.items  # rows of the sampled items
    previews = Work(7 * t.row * moved + INT * t.uploaded, 15 * t.d * moved)
    forged = t.forged / t.items * sample**2 * t.d  # pairs that both moved count once
    return previews + Work(FLOAT * t.clients * sample**2 / 2, 2 * moved * sample * t.d - forged)


@server_work.register
def _fl_wbc(part: FLWBC, t: Tally) -> Work:
    """Count the noise of the benign clients, which is drawn as it is added to the mean."""
    noisy = t.clients - t.malicious
    return Work(2 * (t.table + FLOAT * t.dense), (LAPLACE + 2) * (t.numbers + t.dense)) * noisy


@server_work.register
def _pieck(part: PIECK, t: Tally) -> Work:
    return Work()  # its terms are the clients'


@server_work.register
def _krum(part: Krum, t: Tally) -> Work:
    return gram_work(t)


@server_work.register
def _norm_bound(part: NormBound, t: Tally) -> Work:
    items = Work(t.uploaded * (4 * t.row + 2 * INT), 6 * t.uploaded * t.d)
    return items + Work(3 * FLOAT * t.dense_numbers, 3 * t.dense_numbers)


@server_work.register
def _mean(part: Mean, t: Tally) -> Work:
    return sum_work(t)


@server_work.register
def _trimmed_mean(part: TrimmedMean, t: Tally) -> Work:
    share = t.assumed if part.trim == "f" else part.trim * t.clients
    return trimmed_work(t, min(share, (t.clients - 1) // 2))


@server_work.register
def _coordinate_median(part: CoordinateMedian, t: Tally) -> Work:
    return trimmed_work(t, (t.clients - 1) // 2)


@server_work.register
def _geometric_median(part: GeometricMedian, t: Tally) -> Work:
    return gram_work(t) + sum_work(t) + matrix_work(t, 2 * part.iterations)


@server_work.register
def _fools_gold(part: FoolsGold, t: Tally) -> Work:
    """Count ten passes over the cosines."""
    return gram_work(t) + sum_work(t) + matrix_work(t, 10)


@server_work.register
def _bulyan(part: Bulyan, t: Tally) -> Work:
    f = min(t.assumed, max(t.clients - 3, 0) // 4)
    if f == 0:
        return sum_work(t)
    kept, beta = t.clients - 2 * f, t.clients - 4 * f
    here = t.received.map(lambda c: c * (kept / t.clients))

    def looked_at(c: np.ndarray) -> np.ndarray:
        """Rows to sort; none if the median and the closest values are those of the others."""
        return np.where((2 * c < kept) & (kept - c >= beta), 0.0, c)

    line = here.sum(lambda c: (looked_at(c) > 0) * 4 * kept)  # values are put in order, and added
    rows, compared = here.sum(looked_at), here.sum(lambda c: comparisons(looked_at(c)))
    chosen = matrix_work(t, 3 * t.clients)  # of the n² distances, read for each of n choices
    moved = Work(2 * t.uploaded * kept / t.clients * (t.row + 2 * INT))
    sorting = Work(rows * t.row + 2 * t.table, t.d * (2 * compared + 2 * rows + line))
    return gram_work(t) + chosen + moved + sorting + sorted_dense(t)


@server_work.register
def _dnc(part: DnC, t: Tally) -> Work:
    if int(round(part.share * t.assumed, 9)) == 0:
        return Work()
    sample = min(float(part.sample), t.items)
    moved, coordinates = t.uploaded * sample / t.items, sample * (t.d + t.dense / t.items)
    points = t.clients * coordinates
    # Items are looked up, and the rows of the sampled ones are put in an array, which is widened,
    # masked, averaged, centred and multiplied by itself.
    gathered = Work(t.uploaded * INT + 2 * moved * t.row + 2 * FLOAT * points)
    centred = Work(8 * DOUBLE * points, 4 * points)
    products = Work(DOUBLE * points, 2 * t.clients * points)
    squared = Work(5 * DOUBLE * t.clients**2, 2 * t.clients**3) * SQUARINGS
    return (gathered + centred + products + squared) * part.iterations


@server_work.register
def _dp_fedavg(part: DPFedAvg, t: Tally) -> Work:
    """Count the clipping, the mean, and noise that is written, scaled and added."""
    drawn = t.numbers + t.dense
    noise = Work(6 * FLOAT * drawn, (NORMAL + 2) * drawn)
    return server_work(NormBound(bound=part.bound), t) + sum_work(t) + noise


@server_work.register
def _centred_clipping(part: CentredClipping, t: Tally) -> Work:
    """Count the last aggregate as one more upload, which is copied together with the others."""
    more = t.cohort(t.clients - t.malicious, t.malicious + 1)
    joined = Work(2 * more.uploaded * (t.row + 2 * INT))
    remembered = Work(2 * t.table)
    return (
        joined + gram_work(more) + sum_work(more) + matrix_work(more, part.iterations) + remembered
    )


@server_work.register
def _per_row(part: PerRow, t: Tally) -> Work:
    rows = t.received.sum(lambda c: c)
    if part.rule == "krum":  # three operations for a coordinate of a pair's distance
        pairs = t.received.sum(lambda c: c * (c - 1).clip(min=0) / 2)
        operations = 3 * t.d * pairs + 2 * t.d * rows
    else:
        operations = t.d * (2 * t.received.sum(comparisons) + 3 * rows)
    marks = Work(2 * t.clients * t.items)  # which client touches the item, a byte each
    return Work(rows * (t.row + 3 * INT) + 2 * t.table, operations) + marks + sorted_dense(t)


@server_work.register
def _nnm(part: NNM, t: Tally) -> Work:
    """Count one sum that most mixtures share, and for each mixture the f uploads that it lacks."""
    if t.assumed == 0:
        return sum_work(t)
    lacking = t.uploaded * min(t.assumed, t.clients - 1)
    return gram_work(t) + matrix_work(t, 4) + sum_work(t) + mixtures_work(t, lacking, t.clients)


@server_work.register
def _bucketing(part: Bucketing, t: Tally) -> Work:
    return Work(2 * t.table, t.numbers) + mixtures_work(t, t.uploaded, -(-t.clients // part.size))


@singledispatch
def mixed(part: DefensePart, t: Tally) -> Tally:
    """Return the tally of mixed uploads, which have rows only where they differ from their table.

    Members of a mixture are taken at random, and their L2 factors are taken as equal.
    """
    raise NotImplementedError(f"no work estimate for what {type(part).__name__} returns")


@mixed.register
def _mixed_by_nnm(part: NNM, t: Tally) -> Tally:
    """Give a mixture the items of the f uploads that it lacks; without attack there is only one."""
    if t.assumed == 0:
        return _of_mixtures(t, 1, 0.0)
    return _of_mixtures(t, t.clients, min(t.assumed / t.clients, 1.0))


@mixed.register
def _mixed_by_bucketing(part: Bucketing, t: Tally) -> Tally:
    buckets = -(-t.clients // part.size)
    return _of_mixtures(t, buckets, 1 / buckets)


def _of_mixtures(t: Tally, mixtures: Number, chance: Number) -> Tally:
    """Return the tally of mixtures, each of which has any upload's rows with the same chance."""
    received = t.received.map(lambda c: mixtures * (1 - (1 - chance) ** c))
    rows = received.sum(lambda c: c)
    return replace(t, clients=mixtures, malicious=0.0, honest=rows, forged=0.0, received=received)


def mixtures_work(t: Tally, rows: Number, mixtures: Number) -> Work:
    """Return the work of adding uploaded rows to those of mixtures, `rows` in all."""
    # An item of a mixture is marked, counted and placed.
    places = Work(mixtures * t.items * (3 + 3 * INT), mixtures * t.items)
    return places + Work(rows * (3 * t.row + 2 * INT), 2 * rows * t.d)


def gram_work(t: Tally) -> Work:
    """Return the work of the inner products of all pairs of uploads, half of which are computed."""
    items = Work(t.uploaded * (t.row + 3 * INT) + t.table, t.received.sum(np.square) * t.d)
    # The dense parts are widened to float64.
    return items + Work((FLOAT + 2 * DOUBLE) * t.dense_numbers, 2 * t.clients * t.dense_numbers)


def sum_work(t: Tally) -> Work:
    """Return the work of a weighted sum of all uploads."""
    items = Work(2 * t.table, t.numbers) + Work(
        t.uploaded * (3 * t.row + INT), 2 * t.uploaded * t.d
    )
    return items + Work(3 * FLOAT * t.dense_numbers, 2 * t.dense_numbers)


def matrix_work(t: Tally, passes: Number) -> Work:
    """Return the work of passes over a matrix with a float64 number for each pair of uploads."""
    return Work(DOUBLE, 1.0) * (passes * t.clients**2)


def trimmed_work(t: Tally, trim: Number) -> Work:
    """Return the work of a trimmed mean. Items that at most `trim` clients touch need no rows."""
    if trim == 0:
        return sum_work(t)

    def looked_at(c: np.ndarray) -> np.ndarray:
        return np.where(c <= trim, 0.0, c)

    def in_order(c: np.ndarray) -> np.ndarray:
        """Rows to sort: those of all clients if few enough of the others are left for both ends."""
        return np.where((c > trim) & (t.clients - c < 2 * trim), t.clients, looked_at(c))

    rows, entries = t.received.sum(looked_at), t.received.sum(in_order)
    compared = t.received.sum(lambda c: comparisons(in_order(c)))
    by_item = Work(t.uploaded * 3 * INT + rows * t.row + 2 * t.table)
    return by_item + Work(0, t.d * (2 * compared + 3 * entries) + t.numbers) + sorted_dense(t)


def sorted_dense(t: Tally) -> Work:
    """Return the work of sorting the clients' dense gradients, and of a mean of them."""
    compared = float(comparisons(np.array(t.clients)))
    return Work(4 * FLOAT * t.dense_numbers, 2 * compared * t.dense + t.dense_numbers)


def comparisons(rows: np.ndarray) -> np.ndarray:
    """Return how often Batcher's merge exchange compares two rows (Knuth, 5.2.2 M).

    It is (k² − k + 4) · 2^(k−2) − 1 for 2^k rows, and between these values for other numbers.
    """
    k = np.log2(rows.clip(min=1))
    return np.asarray(np.where(rows > 1, (k * k - k + 4) * rows / 4 - 1, 0.0))
