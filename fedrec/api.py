"""fedrec from Python: data, a cell, its simulation, its trajectory, a picture. See `fedrec`."""

import dataclasses
from collections.abc import Sequence
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
from fedrec.data.dataset import Dataset
from fedrec.data.inspection import entry_of
from fedrec.data.own_file import parsed_entry, split_of
from fedrec.data.split import Split
from fedrec.data.synthetic import Synthetic
from fedrec.defenses.base import DefensePart
from fedrec.defenses.mean import Mean
from fedrec.kernels.threads import prepare
from fedrec.models.base import Model
from fedrec.models.mf import MF
from fedrec.plan.blocks import TrainingCurves
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.metrics import METRICS, Metric
from fedrec.plan.variants import Variant
from fedrec.records import Record
from fedrec.training.progress import Progress
from fedrec.training.run import choose_device, run_cell


def synthetic(**fields: Any) -> Split:
    """Make up a dataset, and split it: each user's last item tests, the one before validates.

    `fields` are those of `fedrec.data.synthetic.Synthetic`, such as `users`, `items`,
    `mean_length` and `seed`; the same fields give the same data.

    Raises:
        DataError: there are too few items for users of such a length.
    """
    return split_of(Dataset(synthetic=Synthetic(**fields)))


def load_data(path: Path | str) -> Split:
    """Read a split (`.npz`), or a file of interactions as `fedrec data inspect` understands it.

    Raises:
        DataError: the file cannot be read or understood.
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
    """Describe one training job by its methods, which need not be part of any package.

    Without an attack there are no malicious users, whatever the `ratio` of them is; without a
    defence the server takes the mean of uploads (FedAvg). The model is MF by default. `dataset`
    is only a name. A method's name is its class's, with the fields that differ from their
    defaults: `ClusterAttack@clusters=4`.

    Raises:
        ValueError: the parts of the defence do not go together, such as two that reduce.
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
    """Train a cell on data, and give its record: the same to the bit for the same cell and data.

    `device` is cpu, cuda or auto. `progress` shows a bar on a terminal, else a line an evaluation.

    Raises:
        ConfigError: the attack would have no malicious user, because there are too few users.
        RuntimeError: there is no GPU, but `device` asks for one.
    """
    prepare(threads)
    return run_cell(cell, data, choose_device(device), [Progress()] if progress else [])


def trajectory(*records: Record) -> pd.DataFrame:
    """What was measured on the way: one row for each record and evaluation.

    Columns are the cell's names, `round`, the mean training `loss` since the evaluation before,
    the test metrics (shares from 0 to 1, such as `hr@5`), and `validation_hr@5`.
    """
    return pd.concat([_rows(record) for record in records], ignore_index=True)


@dataclass(frozen=True)
class Plot:
    """A picture that notebooks show; `figure` is Matplotlib's."""

    figure: Figure

    def save(self, path: Path | str) -> None:
        """Write it; the end of the name decides the format (.png, .pdf, .svg)."""
        self.figure.savefig(path, dpi=200)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.figure.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def plot(*records: Record, metric: Metric = "hr@5", title: str = "Test performance") -> Plot:
    """Draw a test metric against rounds, a line for each attack, defence and ratio.

    Seeds of one arm are averaged, in a 95 % band; a dot marks the evaluation that is reported.
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
    """A class's name, with the fields that differ from their defaults."""
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
