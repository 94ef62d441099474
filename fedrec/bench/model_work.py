"""Work of the clients' gradients, by model, and of what a defence adds to it."""

from functools import singledispatch
from itertools import pairwise

from fedrec.bench.tally import FLOAT, INT, Tally, Work
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.pieck import PIECK
from fedrec.defenses.union import Union
from fedrec.models.base import Model
from fedrec.models.mf import MF
from fedrec.models.ncf import NCF
from fedrec.models.sas_rec import SASRec

WORD = 44  # operations for 64 random bits: ten rounds of eight for two words, and joining halves
LOG = 25  # operations of a logarithm (`kernels.series.log_uniform`)
NORMAL = WORD / 2 + 0.5 * LOG + 20  # of a normal number: 32 bits, half a logarithm, a root, a sine
LAPLACE = WORD / 2 + LOG + 3  # of a Laplace number: 32 bits, a logarithm and its sign


@singledispatch
def model_work(model: Model, t: Tally) -> Work:
    """Return the work of a cohort's gradients.

    Raises:
        NotImplementedError: there is no estimate for the model.
    """
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
    ends = Work(3 * 4 * t.row * t.tokens + 4 * FLOAT * t.dense_numbers)
    return Work(activations, 3 * layers) * model.blocks + ends


@model_work.register
def _ncf(model: NCF, t: Tally) -> Work:
    """Count the layers on positives and negatives; the user's half of the first one once a pair."""
    users = t.pairs if model.dropout else t.clients  # without dropout, a client has one user row
    first, scored = model.layers[0], 2 * t.pairs
    products = first * t.d * (scored + users)
    products += scored * (sum(a * b for a, b in pairwise(model.layers)) + model.layers[-1])
    # States are written and read, both ways. Rows are gathered, read by two products and added to
    # the client's rows by their gradients; a user's are read and summed.
    states = 4 * FLOAT * scored * sum(model.layers)
    rows = t.row * (8 * scored + 4 * users)
    work = Work(states + rows + 4 * FLOAT * t.dense_numbers + 4 * INT * t.pairs, 3 * 2 * products)
    if model.dropout:  # three masks per pair, drawn and written once, and applied both ways
        work += Work(7 * 3 * t.row, 3 * t.d * (2 + WORD / 4)) * t.pairs
    return work + Work(t.rows * t.row)  # rows are initialised to zeros


@singledispatch
def task_work(part: object, t: Tally, model: Model) -> Work:
    """Return the work that a defence adds for honest clients.

    Raises:
        NotImplementedError: there is no estimate for the task.
    """
    raise NotImplementedError(f"no work estimate for {type(part).__name__}")


def anchor_work(negatives: int, t: Tally) -> Work:
    """Return the work of the contrastive task for one anchor: itself, a positive, negatives."""
    candidates = negatives + 2
    return Work(candidates * (3 * t.row + 2 * INT), candidates * t.d * (10 + WORD / 4))


@task_work.register
def _contrastive(part: Union, t: Tally, model: Model) -> Work:
    if part.weight == 0:
        return Work()
    marks = Work(2 * t.clients * t.items)  # which client touches which item, a byte each
    rows = Work((t.honest + 2 * t.rows) * t.row)
    return anchor_work(part.negatives, t) * t.anchors + marks + rows


@task_work.register
def _terms(part: PIECK, t: Tally, model: Model) -> Work:
    """Count the pull of each item, from its present and first embedding, added to all rows."""
    pulls = Work(3 * t.table, 11 * t.numbers)
    return pulls + Work(t.rows * (3 * t.row + 2 * INT), 2 * t.rows * t.d)


@task_work.register
def _changes(part: FLWBC, t: Tally, model: Model) -> Work:
    """Count a second gradient, after a step of each client on its rows; the server adds noise."""
    # Row and embedding are read, the stepped row is written; then two gradients are subtracted.
    stepped = Work(t.rows * (6 * t.row + 2 * INT), 7 * t.rows * t.d)
    return model_work(model, t) + stepped + Work(6 * FLOAT * t.dense_numbers, 3 * t.dense_numbers)
