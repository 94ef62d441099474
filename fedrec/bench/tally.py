"""The quantities in an average round that determine its work."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from fedrec.attacks.base import Attack
from fedrec.attacks.bit_flip import BitFlip
from fedrec.attacks.fed_attack import FedAttack
from fedrec.attacks.label_flip import LabelFlip
from fedrec.attacks.no_attack import NoAttack
from fedrec.config.cell_config import CellConfig
from fedrec.defenses.union import Union
from fedrec.federation import Federation, sample_clients

FLOAT, INT = 4.0, 8.0  # bytes
# The type checker of the tests does not take whole numbers for floats.
Number = float | int
ROUNDS = 40  # rounds whose cohorts are counted


@dataclass(frozen=True)
class Work:
    """Bytes between memory and processor, and operations."""

    bytes: Number = 0.0
    operations: Number = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.bytes + other.bytes, self.operations + other.operations)

    def __mul__(self, times: Number) -> "Work":
        return Work(self.bytes * times, self.operations * times)


@dataclass(frozen=True)
class Touched:
    """How many clients touch an item: `items` has the number of items for each number of clients.

    A client touches an item if its upload has a row for it.
    """

    clients: Float[np.ndarray, " kinds"]
    items: Float[np.ndarray, " kinds"]

    def sum(self, of: Callable[[np.ndarray], np.ndarray]) -> Number:
        """Return the sum over all items of a function of the number of clients."""
        return float((self.items * of(self.clients)).sum())

    def map(self, of: Callable[[np.ndarray], np.ndarray]) -> "Touched":
        """Return the same items with other numbers of clients."""
        return replace(self, clients=of(self.clients))


@dataclass(frozen=True)
class Tally:
    """The quantities in an average round that determine its work."""

    users: Number
    items: Number
    d: Number
    dense: Number  # parameters other than the items
    clients: Number
    assumed: Number  # malicious uploads that the server assumes: f
    attackers: Number  # malicious users, in the cohort or not
    attacked: Number  # share of rounds with a malicious client
    malicious: Number
    pairs: Number
    rows: Number  # of the honest uploads without the contrastive task
    tokens: Number  # read by a sequential model
    squares: Number  # sum over clients of the squared number of tokens
    anchors: Number  # of the contrastive task
    honest: Number  # rows that the server receives from benign clients
    forged: Number  # rows that it receives from malicious clients
    plain: Touched  # items of the honest uploads without the contrastive task
    received: Touched  # items of all uploads

    @property
    def row(self) -> Number:
        """Bytes of an embedding."""
        return FLOAT * self.d

    @property
    def table(self) -> Number:
        """Bytes of all embeddings."""
        return self.row * self.items

    @property
    def numbers(self) -> Number:
        """Coordinates of all embeddings."""
        return self.d * self.items

    @property
    def uploaded(self) -> Number:
        """Rows that the server receives."""
        return self.honest + self.forged

    @property
    def dense_numbers(self) -> Number:
        """Numbers of all clients' dense gradients."""
        return self.clients * self.dense

    def cohort(self, honest: Number, forged: Number) -> "Tally":
        """Return the tally of another cohort; its forged uploads have a row for every item."""
        share = honest / (self.clients - self.malicious)

        def others(clients: np.ndarray) -> np.ndarray:
            return np.asarray((clients - self.malicious).clip(min=0) * share + forged)

        return replace(
            self,
            clients=honest + forged,
            malicious=forged,
            honest=self.honest * share,
            forged=forged * self.items,
            received=self.received.map(others),
        )

    def in_attacked_round(self) -> "Tally":
        """Return the tally of a round that has malicious clients."""
        malicious, forged = self.malicious / self.attacked, self.forged / self.attacked
        return replace(self, malicious=malicious, forged=forged)


def tally(fed: Federation, config: CellConfig) -> Tally:
    """Return averages over some rounds' cohorts; the rounds are not run."""
    counted = [_count(fed, config, number) for number in range(1, ROUNDS + 1)]
    means = {name: np.mean([row[name] for row in counted], axis=0) for name in counted[0]}
    plain, received = (means.pop(name) for name in ("plain", "received"))
    items, d = fed.server.shared.items.shape
    return Tally(
        users=float(len(fed.position)),
        items=float(items),
        d=float(d),
        dense=float(len(fed.server.shared.dense)),
        clients=float(fed.clients_per_round),
        assumed=float(fed.expected_malicious),
        attackers=float(fed.is_malicious.sum()),
        plain=Touched(np.arange(float(len(plain))), plain),
        received=Touched(np.arange(float(len(received))), received),
        **{name: float(mean) for name, mean in means.items()},
    )


def _count(fed: Federation, config: CellConfig, number: int) -> dict[str, Any]:
    """Return the quantities of one round's cohort: numbers, and arrays for `Touched`."""
    streams, n_items = fed.streams.at(number), len(fed.server.shared.items)
    cohort = sample_clients(len(fed.position), fed.clients_per_round, streams)
    malicious = (fed.position[cohort] >= 0).cpu().numpy()
    batch = fed.devices.pairs.batch(fed.position.new_tensor(cohort), streams)
    sizes, owner = batch.sizes.cpu().numpy(), batch.row_owner.cpu().numpy()
    item = batch.row_item.cpu().numpy()
    rows = np.bincount(owner, minlength=len(sizes)).astype(float)
    tokens = (sizes - 1).clip(max=getattr(config.model, "length", 0))
    forged = forged_rows(config.attack, sizes, rows, n_items)
    other = malicious & (forged != rows)  # an attack that keeps the rows keeps their items
    touching = np.bincount(item[~other[owner]], minlength=n_items)
    honest = _task_rows(config, sizes, rows, n_items)[~malicious]
    negatives = float(honest.sum() - rows[~malicious].sum())
    received = _spread(touching, negatives, len(cohort) - int(other.sum()))
    return {
        "attacked": float(malicious.any()),
        "malicious": float(malicious.sum()),
        "pairs": float(sizes.sum()),
        "rows": float(rows.sum()),
        "tokens": float(tokens.sum()),
        "squares": float((tokens.astype(float) ** 2).sum()),
        "anchors": float(sizes[sizes > 1].sum()),
        "honest": float(honest.sum()),
        "forged": float(forged[malicious].sum()),
        "plain": _histogram(np.bincount(item, minlength=n_items), len(cohort)),
        "received": _histogram(received + forged[other].sum() / n_items, len(cohort)),
    }


def _histogram(clients: np.ndarray, most: int) -> Float[np.ndarray, " most_and_1"]:
    """Return the number of items that 0, 1, …, `most` clients touch."""
    return np.bincount(np.rint(clients).astype(int), minlength=most + 1).astype(float)


def _spread(
    touching: Int[np.ndarray, " items"], more: Number, n: int
) -> Float[np.ndarray, " items"]:
    """Spread `more` rows evenly over the pairs of n clients and an item that have none yet."""
    free = n - touching
    return np.asarray(touching + free * (more / max(free.sum(), 1)))


def forged_rows(
    attack: Attack[Any],
    sizes: Int[np.ndarray, " n"],
    rows: Float[np.ndarray, " n"],
    n_items: int,
) -> Float[np.ndarray, " n"]:
    """Return the rows of each client's upload if the client is malicious.

    `sizes` has the pairs of each client, and `rows` the rows of its benign upload. FedAttack has
    the farthest item and as many of the nearest ones as there are pairs.
    """
    if isinstance(attack, NoAttack | LabelFlip | BitFlip):
        return rows
    if isinstance(attack, FedAttack):
        return (sizes + 1.0).clip(max=n_items)
    return np.full_like(rows, n_items)


def _task_rows(config: CellConfig, sizes: np.ndarray, rows: np.ndarray, n_items: int) -> np.ndarray:
    """Return each client's expected rows, including those of the contrastive task's negatives."""
    draws = sum(t.negatives for t in config.defense.tasks if isinstance(t, Union) and t.weight)
    outside = (n_items - rows).clip(min=1)
    return np.asarray(rows + outside * (1 - (1 - 1 / outside) ** (sizes * draws)))
