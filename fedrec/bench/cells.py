"""The cells that are timed: the paper's methods, on synthetic data of the paper's sizes."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from fedrec.config.cell_config import CellConfig
from fedrec.config.study import Study
from fedrec.data.interactions import Counts, from_columns
from fedrec.data.split import Split, leave_one_out
from fedrec.plan.cells import BASELINE, Cell
from fedrec.settings import RecordPart

# The paper's sizes (Table 2), Gowalla without its repeated visits; and a much larger one.
SIZES = {
    "ml-1m": Counts(users=6040, items=3706, interactions=1_000_209),
    "gowalla": Counts(users=29_858, items=40_981, interactions=1_027_370),
    "million": Counts(users=1_000_000, items=1_000_000, interactions=15_000_000),
}
STUDY = "config/arena.yaml"  # it extends the paper's study
ATTACKED = 0.01  # the share of malicious users, if there is an attack


class Case(RecordPart):
    """One cell, its size, and the device and threads it runs on."""

    model: str
    attack: str
    defense: str
    size: str
    users: int
    items: int
    interactions: int
    clients: int = 50  # in a round
    device: str = "cpu"
    threads: int = 1

    @staticmethod
    def of(model: str, attack: str, defense: str, size: str, device: str, threads: int) -> "Case":
        """Return a case of a named size."""
        return Case(
            model=model,
            attack=attack,
            defense=defense,
            size=size,
            **vars(SIZES[size]),
            device=device,
            threads=threads,
        )

    def grown(self, what: str, factor: int) -> "Case":
        """Return the case with `factor` times the items, users (and so interactions) or clients."""
        grown = {"users": ("users", "interactions")}.get(what, (what,))
        more = {name: getattr(self, name) * factor for name in grown}
        return self.model_copy(update={"size": f"{self.size}, {what} x {factor}", **more})

    @property
    def name(self) -> str:
        """The case in words."""
        return f"{self.model}, {self.size}, {self.attack}, {self.defense}"

    def config(self) -> CellConfig:
        """Return the settings of the cell, as in the paper's study on ML-1M."""
        config = bench_cell(self.attack, self.defense, self.model)
        return replace(config, protocol=replace(config.protocol, clients_per_round=self.clients))

    def counts(self) -> Counts:
        """Return the numbers of users, items and interactions of the case's data."""
        return Counts(self.users, self.items, self.interactions)


def bench_cell(attack: str, defense: str = "FedAvg", model: str = "MF") -> CellConfig:
    """Return a cell on ML-1M of the two studies' methods; an attack has 1 % of malicious users.

    Raises:
        ConfigError: the studies have no method with such a name.
    """
    study, ratio = Study.load(STUDY), 0.0 if attack == BASELINE else ATTACKED
    cell = Cell(dataset="ml-1m", model=model, attack=attack, defense=defense, ratio=ratio, seed=0)
    study.check_names(cell)
    return study.cell_config(cell)


def bench_split(size: Counts, seed: int = 0) -> Split:
    """Return a synthetic split of a dataset's size, so that the benchmark needs no download.

    The lengths of histories and the popularity of items are skewed; no user takes an item twice.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(sigma=1.0, size=size.users)
    lengths = (lengths * size.interactions / lengths.sum()).astype(int).clip(3, size.items // 2)
    popularity = 1 / np.arange(1, size.items + 1)
    share = popularity.cumsum() / popularity.sum()
    items = [_without_replacement(rng, share, length) for length in lengths.tolist()]
    user, item = np.repeat(np.arange(size.users), lengths), np.concatenate(items)
    split = leave_one_out(from_columns(user, item, np.arange(len(user))))
    return replace(split, n_items=size.items)  # including items that no user has


def _without_replacement(
    rng: np.random.Generator, share: Float[np.ndarray, " items"], count: int
) -> Int[np.ndarray, " count"]:
    """Draw distinct items by popularity, whose cumulative sum is `share`, one after another."""
    drawn = share.searchsorted(rng.random(4 * count))
    first = np.unique(drawn, return_index=True)[1]
    if len(first) >= count:
        return drawn[np.sort(first)[:count]]
    # A user who needs most items draws too few distinct ones by chance. The first of randomly
    # delayed arrivals have the same distribution.
    chance = np.log(np.diff(share, prepend=0))
    return np.argsort(rng.gumbel(size=len(share)) + chance)[-count:]
