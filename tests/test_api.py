"""fedrec from Python: the surface, and the notebook that uses all of it."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import fedrec
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.gaussian import Gaussian
from fedrec.config.cell_config import CellConfig
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.models.mf import MF
from fedrec.settings import settings

ROOT = Path(__file__).parents[1]
SHORT = fedrec.TrainingProtocol(rounds=4, clients_per_round=20, evaluate_every=2)
DATA = fedrec.synthetic(users=60, items=50, mean_length=10)


def test_every_name_is_there_and_typed() -> None:
    stub = (ROOT / "fedrec" / "__init__.pyi").read_text()
    for name in dir(fedrec):
        assert getattr(fedrec, name) and name in stub
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fedrec.nothing  # type: ignore[attr-defined]


def test_the_import_alone_brings_no_library() -> None:
    code = "import fedrec, sys; print({'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr


def test_names_say_what_differs_from_the_defaults() -> None:
    cell = fedrec.describe(ClusterAttack(clusters=4), [Krum(keep=1), Mean()], ratio=0.1).cell
    assert cell.attack == "ClusterAttack@clusters=4" and cell.defense == "Krum"
    assert (fedrec.describe().cell.attack, fedrec.describe(ratio=0.5).cell.ratio) == ("NoAttack", 0)
    assert fedrec.describe().cell.defense == "FedAvg"


def test_a_described_cell_is_one_that_the_command_line_takes() -> None:
    described = fedrec.describe(Gaussian(), model=MF(dim=4), protocol=SHORT, ratio=0.05)
    assert CellConfig.parse(described.values) == described


def test_a_class_from_nowhere_is_named_by_its_place() -> None:
    @settings
    class Louder(Gaussian):
        pass

    cell = fedrec.describe(Louder(), model=MF(dim=4), protocol=SHORT, ratio=0.05)
    record = fedrec.simulate(cell, DATA)
    assert record.cell.attack == "Louder"
    assert record.config["attack"]["kind"].endswith("<locals>.Louder")


def test_a_record_has_a_trajectory_and_a_picture(tmp_path: Path) -> None:
    cells = [fedrec.describe(a, model=MF(dim=4), protocol=SHORT) for a in (None, Gaussian())]
    records = [fedrec.simulate(cells[0], DATA), fedrec.simulate(cells[0], DATA)]
    assert records[0].science() == records[1].science()
    frame = fedrec.trajectory(records[0])
    assert frame["round"].tolist() == [2, 4] and frame.attack.unique().tolist() == ["NoAttack"]
    assert frame["hr@5"].tolist() == records[0].trajectory.test["hr@5"]
    picture = fedrec.plot(records[0], metric="mrr")
    picture.save(tmp_path / "curve.png")
    for made in ((tmp_path / "curve.png").read_bytes(), picture._repr_png_()):
        assert made.startswith(b"\x89PNG")


def test_data_with_communities_are_the_demos_kind() -> None:
    data = fedrec.communities(users=60, items=60, communities=4, mean_length=8)
    assert data.n_users == 60 and data.checksum != DATA.checksum
    assert (
        fedrec.communities(users=60, items=60, communities=4, mean_length=8).checksum
        == data.checksum
    )


def test_data_come_from_a_file(tmp_path: Path) -> None:
    DATA.save(tmp_path / "split.npz")
    assert fedrec.load_data(tmp_path / "split.npz").checksum == DATA.checksum
    rows = [f"u{u},t{(u + k) % 9},2023-01-{k + 1:02d}" for u in range(20) for k in range(6)]
    (tmp_path / "plays.csv").write_text("\n".join(["listener,track,played_at", *rows, ""]))
    assert fedrec.load_data(str(tmp_path / "plays.csv")).n_users == 20


def test_the_notebook_runs_from_top_to_bottom() -> None:
    """Its cells are plain Python, so no kernel is needed."""
    notebook = nbformat.read(ROOT / "examples" / "own_attack.ipynb", as_version=4)
    nbformat.validate(notebook)
    names: dict[str, object] = {"__name__": "own_attack"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "own_attack.ipynb", "exec"), names)
    plain, cluster, opposite, bounded = (r.reported("hr@5", "last") for r in names["records"])  # type: ignore[attr-defined]
    assert opposite < cluster < plain and opposite < bounded
    assert names["picture"]._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
