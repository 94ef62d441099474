"""Methods of other packages: found, named, checked, used, and refused where two claim one name."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

from fedrec.config.cell_config import CellConfig
from fedrec.config.methods import build
from fedrec.config.study import Study
from fedrec.data.split import Split
from fedrec.errors import ConfigError
from fedrec.plug_ins import Method, find_plug_ins, joined
from fedrec.records import read_record

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "fedrec-example"
CELL = "synthetic/MF/SignFlip/Median/m0.01/seed0.json"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example package is installed, from a copy and without a network."""
    folder = tmp_path_factory.mktemp("plug-in")
    shutil.copytree(EXAMPLE, folder / "source")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--disable-pip-version-check"]
    target = ["--target", str(folder / "site"), str(folder / "source")]
    subprocess.run([*install, *target], check=True, capture_output=True)
    return folder / "site"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's study, shortened, in a project of its own."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("config", "workflow", "profiles", "envs", "Snakefile"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    (folder / "examples" / "fedrec-example").mkdir(parents=True)
    text = (EXAMPLE / "study.yaml").read_text() + "seeds: [0]\n"
    protocol = "protocol: { rounds: 4, evaluate_every: 2, clients_per_round: 50 }\n"
    data = "datasets: { synthetic: { communities: { users: 200, mean_length: 10 } } }\n"
    (folder / "examples" / "fedrec-example" / "study.yaml").write_text(text + protocol + data)
    return folder


def called(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    where = os.pathsep.join([str(ROOT), str(installed)])
    environment = {**os.environ, "PYTHONPATH": where, "PATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def run(installed: Path, folder: Path, *command: str) -> str:
    done = called(installed, folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_package_is_listed_and_keeps_the_contract(installed: Path) -> None:
    told = run(installed, ROOT, "fedrec", "list", "attacks")
    (line,) = (line for line in told.splitlines() if line.startswith("sign_flip"))
    assert line.endswith("[fedrec-example 0.1.0]; no entry in the config")
    told = run(installed, ROOT, "fedrec", "list", "defenses", "median")
    assert told.startswith("median (median) [fedrec-example 0.1.0]")
    tests = [str(EXAMPLE / "tests"), "-p", "no:cacheprovider", "--import-mode=importlib"]
    assert "3 passed" in run(installed, ROOT, sys.executable, "-m", "pytest", "-q", "-v", *tests)


READ = """
extends: examples/fedrec-example/study.yaml
datasets:
  plays: {{ source: {{ path: plays.json }}, reader: {{ kind: json_lists{more} }} }}
"""


def test_an_installed_package_reads_a_file(installed: Path, study: Path) -> None:
    assert "json_lists" in run(installed, ROOT, "fedrec", "list", "readers")
    lists = {f"u{u}": [f"i{(u + k) % 30}" for k in range(12)] for u in range(40)}
    (study / "plays.json").write_text(json.dumps(lists))
    (study / "read.yaml").write_text(READ.format(more=""))
    split = "results/example/data/plays/split.npz"
    run(installed, study, "snakemake", "--cores", "1", "--configfile", "read.yaml", "--", split)
    assert Split.load(study / split).n_users == 40


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        ("json_lists, encodnig: ascii", "datasets.plays.reader: encodnig: "),
        ("json_list", "no reader `json_list` here: install .*did you mean `json_lists`"),
    ],
)
def test_a_reader_that_cannot_be_used_is_refused(
    installed: Path, study: Path, reader: str, message: str
) -> None:
    (study / "wrong.yaml").write_text(READ.format(more="").replace("json_lists", reader))
    done = called(installed, study, "fedrec", "check", "--config", "wrong.yaml")
    assert done.returncode == 1 and re.search(rf"wrong\.yaml:4: .*{message}", done.stderr)


def test_an_installed_package_is_in_a_run_and_in_a_table(installed: Path, study: Path) -> None:
    config = "examples/fedrec-example/study.yaml"
    run(installed, study, "fedrec", "run", CELL, "--config", config)
    record = read_record(study / "results" / "example" / "runs" / CELL)
    assert record.config["attack"] == {"kind": "sign_flip", "factor": 50.0}
    assert record.config["plug-ins"] == {"fedrec-example": "0.1.0"}
    before = (study / "results" / "example" / "runs" / CELL).stat().st_mtime_ns
    run(installed, study, "snakemake", "--cores", "2", "--configfile", config)
    table = (study / "results" / "example" / "tables" / "example.md").read_text()
    assert "| SignFlip |" in table and "Median" in table
    # What `fedrec run` made counts for the study.
    assert (study / "results" / "example" / "runs" / CELL).stat().st_mtime_ns == before


def test_a_dataset_that_cannot_be_made_says_why(installed: Path, study: Path) -> None:
    """In one line, whatever the workflow says of its jobs."""
    (study / "bad.yaml").write_text(
        "extends: examples/fedrec-example/study.yaml\n"
        "datasets: { bad: { communities: { items: 20 } } }\n"
    )
    done = called(installed, study, "fedrec", "run", "bad/MF", "--config", "bad.yaml")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith("fedrec run: fedrec interactions: communities:")


def test_cells_of_our_own_methods_do_not_name_packages() -> None:
    study = Study.load(ROOT / "config" / "miniature.yaml")
    cell = study.cells(study.tables["table-1"])[0]
    assert "plug-ins" not in study.cell_config(cell).values


def test_a_record_of_a_package_that_is_not_here_names_it() -> None:
    study = Study.load(ROOT / "config" / "miniature.yaml")
    values = json.loads(study.cell_config(study.cells(study.tables["table-1"])[0]).to_json())
    values |= {"attack": {"kind": "sign_flip"}, "plug-ins": {"fedrec-example": "0.1.0"}}
    with pytest.raises(ConfigError, match="no `sign_flip` in `attacks`: install fedrec-ex"):
        CellConfig.parse(values)


def test_a_name_that_two_packages_claim_is_an_error_with_both() -> None:
    ours = Method("fang", object, "fedrec", "0.2.0")
    theirs = Method("fang", object, "other", "1.0")
    with pytest.raises(ConfigError, match=r"fedrec 0\.2\.0 and other 1\.0 both offer `fang`"):
        joined("attacks", [ours, theirs])


class Package(Distribution):
    """A package with a name and a version, and no files."""

    def read_text(self, filename: str) -> str | None:
        return "Name: other\nVersion: 1.0\n" if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


def offered(name: str, value: str) -> list[EntryPoint]:
    entry = EntryPoint(name, value, "fedrec.attacks")
    return [entry._for(Package())]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a", "no_such_module:A", r"other 1\.0: .*cannot be loaded \(ModuleNotFoundError"),
        ("a", "pathlib:Path", r"is not a class of settings: decorate it"),
        ("A b", "pathlib:Path", r"is not a kind: name it in lower case"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(find_plug_ins("attacks", offered(name, value)))


def test_a_method_that_is_offered_is_found_with_its_package() -> None:
    (found,) = find_plug_ins("attacks", offered("loud", "fedrec.attacks.gaussian:Gaussian"))
    assert (found.kind, found.package, found.version) == ("loud", "other", "1.0")
    assert found.is_plug_in and build("attacks", {"kind": "gaussian"}, {}) == found.type()
