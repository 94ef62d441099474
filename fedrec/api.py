"""The Python interface: load data, describe a cell, simulate it, plot it. See `fedrec`."""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fedrec.attacks.base import Attack
from fedrec.attacks.no_attack import NoAttack
from fedrec.config.cell_config import CellConfig
from fedrec.config.protocol import TrainingProtocol
from fedrec.data.columns import Known
from fedrec.data.communities import Communities
from fedrec.data.dataset import Dataset
from fedrec.data.inspection import entry_of
from fedrec.data.own_file import parsed_entry, split_of
from fedrec.data.split import Split
from fedrec.data.synthetic import Synthetic
from fedrec.defenses.base import DefensePart
from fedrec.defenses.mean import Mean
from fedrec.kernels.threads import prepare
from fedrec.metrics.traces import UploadTrace
from fedrec.models.base import Model
from fedrec.models.mf import MF
from fedrec.plan.blocks import TrainingCurves
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.metrics import METRICS, Metric
from fedrec.plan.variants import Variant
from fedrec.records import Record
from fedrec.training.progress import Progress
from fedrec.training.run import choose_device, run_cell
from fedrec.training.tracing import AT_MOST, traced


def synthetic(**fields: Any) -> Split:
    """Generate a synthetic dataset and split it by leave-one-out.

    The last item of each user is the test item, and the item before it the validation item.
    `fields` are the fields of `fedrec.data.synthetic.Synthetic`, such as `users`, `items`,
    `mean_length` and `seed`. The same fields always give the same data.

    Raises:
        DataError: there are too few items for the given `mean_length`.
    """
    return split_of(Dataset(synthetic=Synthetic(**fields)))


def communities(**fields: Any) -> Split:
    """Generate synthetic data with communities of users, as the demo has, and split them.

    `fields` are the fields of `fedrec.data.communities.Communities`, such as `users`, `items`,
    `communities`, `drift` and `seed`. The same fields always give the same data.

    Raises:
        DataError: the fields cannot be combined.
    """
    return split_of(Dataset(communities=Communities(**fields)))


def load_data(path: Path | str) -> Split:
    """Load a split (`.npz`), or a file of interactions that `fedrec data inspect` can read.

    Raises:
        DataError: the file cannot be read, or its format is not recognised.
    """
    if Path(path).suffix == ".npz":
        return Split.load(Path(path))
    return split_of(parsed_entry(entry_of(Path(path), Known())[1]))


def describe(
    attack: Attack[Any] | None = None,
    defense: Sequence[DefensePart] = (),
    *,
    model: Model | None = None,
    protocol: TrainingProtocol | None = None,
    ratio: float = 0.01,
    seed: int = 0,
    dataset: str = "data",
) -> CellConfig:
    """Describe one training job by its methods. A method may be any class, also one of your own.

    Without an attack no user is malicious, and `ratio` is ignored. Without a defence the server
    takes the mean of the uploads (FedAvg). The default model is MF. `dataset` is only a label. A
    method is named after its class and the fields that differ from their defaults, for example
    `ClusterAttack@clusters=4`.

    Raises:
        ValueError: the parts of the defence cannot be combined, for example two reductions.
    """
    attack, model, parts = attack or NoAttack(), model or MF(), tuple(defense) or (Mean(),)
    nobody = isinstance(attack, NoAttack)
    cell = Cell(
        dataset=dataset,
        model=_name(model),
        attack=BASELINE if nobody else _name(attack),
        defense="+".join(_name(p) for p in parts if not isinstance(p, Mean)) or PLAIN,
        ratio=0.0 if nobody else ratio,
        seed=seed,
    )
    return CellConfig.of(cell, protocol or TrainingProtocol(), model, attack, parts)


def simulate(
    cell: CellConfig, data: Split, *, device: str = "cpu", threads: int = 1, progress: bool = False
) -> Record:
    """Train a cell on data and return its record.

    The same cell and data give the same record, bit for bit. `device` is cpu, cuda or auto.
    `progress` shows a progress bar on a terminal, and elsewhere one line for each evaluation.

    Raises:
        ConfigError: the attack would have no malicious user, because there are too few users.
        RuntimeError: `device` is cuda, but there is no GPU.
    """
    prepare(threads)
    return run_cell(cell, data, choose_device(device), [Progress()] if progress else [])


def trace_uploads(
    cell: CellConfig,
    data: Split,
    *,
    rounds: Collection[int],
    at_most: float = AT_MOST,
    device: str = "cpu",
    threads: int = 1,
    progress: bool = False,
) -> UploadTrace:
    """Play a cell on data up to the last of some rounds, and return their labelled uploads.

    `rounds` count from 1. They are the rounds of `simulate`, but no record is made. `at_most` is
    the largest size of the trace in megabytes; it is kept in memory. `progress` shows a bar.

    Raises:
        ConfigError: a round is not among the cell's, the trace would be too large, or the attack
            would have no malicious user.
        Diverged: training diverged before the last of the rounds.
        RuntimeError: `device` is cuda, but there is no GPU.
    """
    prepare(threads)
    return traced(cell, data, choose_device(device), rounds, at_most, progress)


def trajectory(*records: Record) -> pd.DataFrame:
    """Return the measurements of all evaluations as a table, one row per record and evaluation.

    The columns are the fields of the cell, `round`, `loss` (the mean training loss since the
    previous evaluation), the test metrics (from 0 to 1, such as `hr@5`), and `validation_hr@5`.
    """
    return pd.concat([_rows(record) for record in records], ignore_index=True)


@dataclass(frozen=True)
class Plot:
    """A plot that notebooks display; `figure` is the Matplotlib figure."""

    figure: Figure

    def save(self, path: Path | str) -> None:
        """Save the plot; the file name's extension sets the format (.png, .pdf, .svg)."""
        self.figure.savefig(path, dpi=200)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.figure.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def plot(*records: Record, metric: Metric = "hr@5", title: str = "Test performance") -> Plot:
    """Plot a test metric against the rounds, with one line per attack, defence and ratio.

    A line is the mean over seeds, with a 95 % band. A dot marks the evaluation that is reported.
    """
    from fedrec.analysis.figures.training_curves import draw

    cells = [record.cell for record in records]
    names: dict[str, tuple[str, ...]] = {
        f"{part}s": tuple(dict.fromkeys(getattr(cell, part) for cell in cells))
        for part in ("dataset", "model", "attack", "defense")
    }
    block = TrainingCurves(kind="training_curves", title=title, metric=metric, **names)  # type: ignore[arg-type]
    return Plot(draw(list(records), block, "best_val"))


def _name(method: Any) -> str:
    """Return the name of a class, with the fields that differ from their defaults."""
    given = dataclasses.asdict(method)
    defaults = dataclasses.asdict(type(method)())
    return Variant(type(method).__name__, {k: v for k, v in given.items() if v != defaults[k]}).name


def _rows(record: Record) -> pd.DataFrame:
    track = record.trajectory
    columns = {"round": track.round, "loss": track.loss}
    columns |= {metric: track.test[metric] for metric in METRICS}
    columns["validation_hr@5"] = track.validation["hr@5"]
    frame = pd.DataFrame(columns)
    for place, (name, value) in enumerate(record.cell.model_dump().items()):
        frame.insert(place, name, value)
    return frame
