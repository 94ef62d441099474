"""The configuration: strict, resolved field by field, and clear about mistakes."""

import json
from pathlib import Path

import pytest
import yaml

from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.config import CellConfig, Study
from fedrec.config_errors import ConfigError
from fedrec.models.mf import MF
from fedrec.models.sas_rec import SASRec

ROOT = Path(__file__).parents[1]
PAPER = ROOT / "config" / "paper.yaml"


def edited(folder: Path, old: str, new: str) -> Path:
    """The paper's config with one thing changed."""
    text = PAPER.read_text()
    assert old in text
    path = folder / "study.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("name", "attacks", "arms_by_model"),
    [("paper", 7, {"MF": 7 * 8 + 7, "SASRec": 7 + 7}), ("demo", 2, {"MF": 2 * 2})],
)
def test_the_projects_configs_are_valid(
    name: str, attacks: int, arms_by_model: dict[str, int]
) -> None:
    study = Study.load(ROOT / "config" / f"{name}.yaml")
    cells = {cell for block in study.blocks().values() for cell in study.cells(block)}
    arms = {(cell.attack, cell.ratio > 0) for cell in cells}
    assert arms >= {("NoAttack", False), ("ClusterAttack", True)} and len(arms) == attacks
    for model, count in arms_by_model.items():
        assert sum(cell.model == model for cell in cells) == count * len(study.seeds)


def test_the_papers_values_are_set() -> None:
    """Table 6 and Appendix A."""
    study = Study.load(PAPER)
    cells = [cell for cell in study.cells(study.tables["table-1"]) if cell.dataset == "ml-1m"]
    last = {cell.model: study.cell_config(cell) for cell in cells}  # under ClusterAttack
    assert last["SASRec"].model == SASRec(
        dim=64, blocks=2, heads=1, length=200, dropout=0.2, learning_rate=1e-3, l2=1e-5
    )
    config = last["MF"]
    assert config.protocol.rounds == 6000 and config.protocol.clients_per_round == 50
    assert config.model == MF(dim=64, dropout=0.2, learning_rate=2e-3, l2=1e-5)
    assert config.attack == ClusterAttack(
        clusters=2, min_clusters=1, max_clusters=50, threshold=100, spread=3.0
    )


def test_the_schema_is_up_to_date() -> None:
    """After a change of a field: `make schema`."""
    assert json.loads((ROOT / "config" / "schema.json").read_text()) == Study.model_json_schema()


MISTAKES = [
    ("clusters: 2", "clustres: 2", "attacks.ClusterAttack.clustres: unknown key", "`clusters`"),
    ("clusters: 2", "clusters: two", "attacks.ClusterAttack.clusters", "valid integer"),
    ("clusters: 2", "clusters: 99", "attacks.ClusterAttack", "max_clusters"),
    ("kind: cluster_attack", "kind: cluster_atack", "attacks.ClusterAttack", "`cluster_attack`"),
    ("l2: 1.0e-5", "l2: 1e-5", "models.MF.l2", "write 1.0e-5"),
    ("Fang, ClusterAttack]", "Fang, ClusterAtack]", "table-1.attacks.6", "`Cluster"),
    ("rounds: 6000", "round: 6000", "protocol.round: unknown key", "`rounds`"),
    ("rounds: 6000", "rounds: 0", "protocol.rounds", "greater than or equal to 1"),
    ("report: best_val", "report: best", "report", "`best_val`"),
    ("separator:", "seperator:", "datasets.ml-1m.format.seperator", "`separator`"),
    ("    format:", "    synthetic: {}\n    format:", "datasets.ml-1m", "either"),
    ("seeds:", "seed:", "seed: unknown key", "`seeds`"),
    ("attacks: [No", "ratios: [0.2]\n    attacks: [No", "table-1.ratios.0", "protocol.pool"),
    ("[{ kind: mean }]", "[]", "defenses.FedAvg", "exactly one reduction"),
    ("dataset: gowalla, l2", "dataset: gowala, l2", "models.MF.where.0.dataset", "`gowalla`"),
    ("dataset: gowalla, l2", "dataset: gowalla, l3", "models.MF.where.0.l3", "`l2`"),
    ("item_lists: {}", "item_list: {}", "gowalla-unique.item_list", "`item_lists`"),
]


@pytest.mark.parametrize(("old", "new", "place", "remedy"), MISTAKES)
def test_a_mistake_names_file_line_key_and_remedy(
    tmp_path: Path, old: str, new: str, place: str, remedy: str
) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(ConfigError) as caught:
        Study.load(path)
    line, _, message = str(caught.value).removeprefix(f"{path}:").partition(": ")
    assert place in message and remedy in str(caught.value)
    key = place.rpartition(".")[2].partition(":")[0]
    if not key.isdigit():
        assert key in path.read_text().splitlines()[int(line) - 1]


NAMES = ("../up", "a b", "a;b", "a\nb", ".hidden", "a..b", "a/b", "$(a)", "", "end.", "é")


@pytest.mark.parametrize("group", ["datasets", "models", "attacks", "defenses", "tables"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_leave_its_folder_is_refused(group: str, name: str) -> None:
    values = yaml.safe_load(PAPER.read_text())
    values[group][name] = next(iter(values[group].values()))
    with pytest.raises(ConfigError, match=r"names a file or folder: only letters") as caught:
        Study.parse(values)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["ClusterAttack@clusters=1,adaptive=false", "a.b-c_d", "K+U"])
def test_a_name_may_hold_what_is_harmless_in_a_path(name: str) -> None:
    values = yaml.safe_load(PAPER.read_text())
    values["attacks"][name] = values["attacks"]["ClusterAttack"]
    assert name in Study.parse(values).attacks


@pytest.mark.parametrize("folder", ["../results", "results/../..", "a b", "x;y", "results/"])
def test_the_results_stay_in_a_plain_folder(folder: str) -> None:
    with pytest.raises(ConfigError, match="names a file or folder"):
        Study.parse(yaml.safe_load(PAPER.read_text()) | {"results": folder})


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.zip",
        "file:///etc/passwd",
        "https://example.org/a b.zip",
        "https://example.org/..",
        "https://example.org/a.zip\n",
    ],
)
def test_downloads_come_over_https_and_have_plain_names(url: str) -> None:
    values = yaml.safe_load(PAPER.read_text())
    values["datasets"]["ml-1m"]["source"]["url"] = url
    with pytest.raises(ConfigError, match="must be an https address"):
        Study.parse(values)


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", None])
def test_a_file_that_is_no_config_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"study\.yaml"):
        Study.load(path)


def test_presets_then_the_entry_then_its_cases(tmp_path: Path) -> None:
    text = PAPER.read_text().replace("kind: mf", "kind: mf\n    preset: released")
    path = tmp_path / "study.yaml"
    path.write_text(text.replace("dataset: gowalla, l2: 1.0e-6", "dataset: ml-1m, dropout: 0.5"))
    study = Study.load(path)
    model = study.cell_config(study.cells(study.tables["table-1"])[0]).model
    assert model == MF(l2_half=True, dropout=0.5)


def test_a_later_file_overrides_single_keys() -> None:
    study = Study.load(PAPER, ROOT / "config" / "released.yaml")
    cells = study.cells(study.tables["table-1"])
    wanted = ("ml-1m", "MF", "ClusterAttack")
    (cell,) = [c for c in cells if (c.dataset, c.model, c.attack) == wanted]
    assert study.results == "results/released"
    attack = study.cell_config(cell).attack
    assert attack == ClusterAttack(**ClusterAttack.PRESETS["released"])
    assert attack != ClusterAttack()


def test_a_cells_settings_survive_the_command_line() -> None:
    study = Study.load(PAPER)
    config = study.cell_config(study.cells(study.tables["table-1"])[-1])
    again = CellConfig.parse(json.loads(config.to_json()))
    assert again == config and again.digest == config.digest


def test_a_changed_constant_changes_its_own_cells_alone(tmp_path: Path) -> None:
    before, after = Study.load(PAPER), Study.load(edited(tmp_path, "clusters: 2", "clusters: 3"))
    changed = {
        cell.attack
        for cell in before.cells(before.tables["table-1"])
        if before.cell_config(cell).digest != after.cell_config(cell).digest
    }
    assert changed == {"ClusterAttack"}
