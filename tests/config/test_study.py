"""The configuration: strict, resolved field by field, and clear about mistakes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from pydantic import ValidationError

from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.config.cell_config import CellConfig
from fedrec.config.study import Study
from fedrec.data.dataset import Dataset
from fedrec.data.sources import LocalFile
from fedrec.defenses.mean import Mean
from fedrec.errors import ConfigError
from fedrec.federation import Population
from fedrec.models.mf import MF
from fedrec.models.sas_rec import SASRec
from fedrec.plan.cells import Cell
from fedrec.records import DRAWS
from fedrec.rng import Streams
from fedrec.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "config" / "paper.yaml"


def edited(folder: Path, old: str, new: str) -> Path:
    """The paper's config with one thing changed."""
    text = PAPER.read_text()
    assert old in text
    path = folder / "study.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("name", "cells_by_model"),
    [
        # Figure 2, Table 1 of two Gowallas, Tables 3 to 5, Figures 3 and 4, over five seeds; the
        # earlier attacks and FL-WBC as other sources have them, over three.
        (
            "paper",
            {
                "MF": 5 * (7 * 8 + 14 + 2 + 4 + 12 + 11 + 2) + 3 * (6 + 2),
                "SASRec": 5 * (21 + 11) + 3 * 4,
            },
        ),
        ("miniature", {"SASRec": 2 * 7 + 4}),
    ],
)
def test_the_projects_configs_are_valid(name: str, cells_by_model: dict[str, int]) -> None:
    study = Study.load(ROOT / "config" / f"{name}.yaml")
    blocks = [block for block in study.blocks().values() if block.kind != "deviations"]
    cells = {cell for block in blocks for cell in study.cells(block)}
    assert all(cell.ratio == 0 for cell in cells if cell.attack == "NoAttack")
    for model, count in cells_by_model.items():
        assert sum(cell.model == model for cell in cells) == count


def test_the_miniature_has_every_table_and_figure_of_the_paper() -> None:
    mini, paper = (Study.load(ROOT / "config" / f"{n}.yaml") for n in ("miniature", "paper"))
    assert mini.blocks().keys() == paper.blocks().keys()
    assert all(mini.blocks()[n].kind == block.kind for n, block in paper.blocks().items())
    assert mini.note.startswith("Miniature") and not paper.note


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
    ('terms: "M', 'licence: x\n      terms: "M', "ml-1m.source.licence: unknown", "`terms`"),
    ("k_core: { k: 10 }", "k_cor: { k: 10 }", "gowalla-10core.k_cor", "`k_core`"),
    ("item_lists: {}", "format: { usr: u }", "gowalla-unique.format.usr", "`user`"),
    ("item_lists: {}", "item_list: {}", "gowalla-unique.item_list", "`item_lists`"),
    ("  figure-2:", "  table-1:", "figures.table-1", "rename one of the two"),
    ("kind: attacks", "kind: uploads", "tables.table-1: unknown kind", "known: `attacks`"),
    ("kind: attacks", "sort: attacks", "tables.table-1", "`kind` is missing"),
    ("metrics: [hr@5]", "metrics: [hr@99]", "table-3.metrics.0", "`hr@5`"),
    (
        "kind: attack_grid",
        "kind: attack_grid\n    metrics: [mrr]",
        "figure-2.metrics: unknown",
        "`metric`",
    ),
    ("models: [MF, SASRec]\n    attacks:", "attacks:", "table-1", "`models` is missing"),
    (
        "models: [MF]\n    attacks: [ClusterAttack]\n    defenses: [MultiKrum+UNION]",
        "defenses: [MultiKrum+UNION]",
        "tables.deviations",
        "`models` is missing",
    ),
    (
        "defenses: [MultiKrum+UNION]\n",
        "defenses: [Krum, UNION]\n",
        "deviations.defenses",
        "at most 1",
    ),
    ('["UNION@observe=50,rounds=50"', "[UNION", "figure-4.defenses", "as UNION@observe=50"),
    (
        "[FedAvg, MultiKrum+UNION",
        "[FedAvg@pool=0.001, MultiKrum+UNION",
        "table-5.ratios.0",
        "protocol.pool = 0.001",
    ),
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
    with pytest.raises(ConfigError, match=r"names a file or folder: use only letters") as caught:
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
    text = PAPER.read_text().replace("kind: mf", "kind: mf\n    preset: paper")
    path = tmp_path / "study.yaml"
    path.write_text(text.replace("dataset: gowalla, l2: 1.0e-6", "dataset: ml-1m, dropout: 0.5"))
    study = Study.load(path)
    model = study.cell_config(study.cells(study.tables["table-1"])[0]).model
    assert model == MF(l2_half=False, dropout=0.5)


def test_a_later_file_overrides_single_keys(tmp_path: Path) -> None:
    text = tmp_path / "text.yaml"
    text.write_text("preset: paper\nresults: results/text\nseeds: [0]\n")
    study = Study.load(PAPER, text)
    cells = study.cells(study.tables["table-1"])
    wanted = ("ml-1m", "MF", "ClusterAttack")
    (cell,) = [c for c in cells if (c.dataset, c.model, c.attack) == wanted]
    assert study.results == "results/text"
    attack = study.cell_config(cell).attack
    assert attack == ClusterAttack(**ClusterAttack.PRESETS["paper"])
    assert attack != ClusterAttack()


def test_a_cells_settings_survive_the_command_line() -> None:
    study = Study.load(PAPER)
    config = study.cell_config(study.cells(study.tables["table-1"])[-1])
    again = CellConfig.parse(json.loads(config.to_json()))
    assert again == config and again.digest == config.digest


@pytest.mark.parametrize("draws", [None, "philox4x32-10/0"])
def test_settings_name_the_draws_and_those_of_others_are_refused(draws: str | None) -> None:
    """So a record or a checkpoint of other draws does not fit its cell."""
    study = Study.load(PAPER)
    values = json.loads(study.cell_config(study.cells(study.tables["table-1"])[0]).to_json())
    assert values.pop("draws") == DRAWS
    with pytest.raises(ConfigError, match=rf"other draws \({draws or 'unnamed'}\).*fedrec cell"):
        CellConfig.parse(values | ({"draws": draws} if draws else {}))


def test_a_changed_constant_changes_its_own_cells_alone(tmp_path: Path) -> None:
    before, after = Study.load(PAPER), Study.load(edited(tmp_path, "clusters: 2", "clusters: 3"))
    changed = {
        cell.attack
        for cell in before.cells(before.tables["table-1"])
        if before.cell_config(cell).digest != after.cell_config(cell).digest
    }
    assert changed == {"ClusterAttack"}


def cell(study: Study, **names: str) -> Cell:
    values = {"dataset": "ml-1m", "model": "MF", "attack": "ClusterAttack", "defense": "FedAvg"}
    return Cell(**{**values, **names}, ratio=0.01, seed=0)


def test_a_variant_changes_fields_of_its_entry_after_all_else() -> None:
    study = Study.load(PAPER)
    config = study.cell_config(
        cell(study, dataset="gowalla", attack="ClusterAttack@clusters=3,adaptive=false")
    )
    assert config.attack == ClusterAttack(clusters=3, adaptive=False)
    plain = study.cell_config(cell(study, dataset="gowalla"))
    assert plain.attack == ClusterAttack(clusters=8)
    assert config.model == plain.model and config.protocol == plain.protocol


def test_a_variant_may_concern_one_part_of_a_defence_or_the_protocol() -> None:
    study = Study.load(PAPER)
    plain = study.cell_config(cell(study, defense="NormBound+UNION")).values
    config = study.cell_config(cell(study, defense="NormBound+UNION@sample=9,rounds=50")).values
    assert config["defense"][0] == plain["defense"][0] | {"sample": 9}
    assert config["defense"][1:] == plain["defense"][1:]
    assert config["protocol"] == plain["protocol"] | {"rounds": 50}


def test_a_field_newer_than_records_is_stated_only_if_it_is_set() -> None:
    """Otherwise every record would be one of other settings."""
    study = Study.load(PAPER)
    plain = study.cell_config(cell(study, defense="MultiKrum"))
    assert plain.protocol.believed == 1 and "believed" not in plain.values["protocol"]
    stated = study.cell_config(cell(study, defense="MultiKrum@believed=1.0")).values
    assert stated["protocol"] == plain.values["protocol"]
    wrong = study.cell_config(cell(study, defense="MultiKrum@believed=0.5"))
    assert wrong.values["protocol"] == plain.values["protocol"] | {"believed": 0.5}
    assert CellConfig.parse(wrong.values).protocol.believed == 0.5
    again = CellConfig.of(plain.cell, plain.protocol, plain.model, plain.attack, [Mean()])
    assert "believed" not in again.values["protocol"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{ attack.clustres: [1] }", "ClusterAttack has no field 'clustres'; did you mean `clus"),
        ("{ attack.clusters: [99] }", "attacks.ClusterAttack: clusters must lie in"),
        ("{ ratio: [0.01, 0.5] }", "table-5.grid.ratio.1: 0.5 must be above 0 and within"),
        (
            "{ attack.clusters: [1, 4] }\n    unchanged: { attack.clusters: 4 }",
            "unchanged.attack.clusters: ClusterAttack has clusters=2 on ml-1m: give that value",
        ),
    ],
)
def test_a_wrong_grid_is_an_error(tmp_path: Path, grid: str, message: str) -> None:
    old = "    attacks: [FedAttack, LIE, Fang, ClusterAttack]\n"
    path = edited(tmp_path, old, f"    attacks: [ClusterAttack]\n    grid: {grid}\n")
    with pytest.raises(ConfigError) as caught:
        Study.load(path)
    assert message in str(caught.value)


def test_a_leaderboard_needs_what_losses_refer_to(tmp_path: Path) -> None:
    own = """
    extends: %s
    replace: [attacks, tables, figures]
    attacks: { Fang: { kind: fang } }
    figures: {}
    tables:
      board: { title: T, kind: leaderboard, datasets: [ml-1m], models: [MF], attacks: [Fang] }
    """
    (tmp_path / "own.yaml").write_text(dedent(own) % PAPER.name)
    shutil.copy(PAPER, tmp_path)
    with pytest.raises(ConfigError, match="losses refer to NoAttack and FedAvg: add them"):
        Study.load(tmp_path / "own.yaml")


def test_sweeps_leave_out_the_same_users_in_every_arm() -> None:
    """And share the runs of a server that believes the truth."""
    study = Study.load(ROOT / "config" / "sweeps.yaml")
    ratios, belief = (study.cells(study.figures[name]) for name in ("ratios", "belief"))
    assert max(cell.ratio for cell in ratios) == study.protocol.pool == 0.1
    assert len(ratios) == 3 * (1 + 7 * 2 * 4)
    assert len(belief) == 3 * (1 + 2 * (1 + 3 * 5))
    assert len({*ratios} & {*belief}) == 3 * (1 + 2 * 3)
    left_in = set()
    for cell in {*ratios, *belief}:
        assert study.cell_config(cell).protocol.pool_drawn == "once"
        drawn = Population.draw(6040, study.cell_config(cell).protocol.pool, cell.ratio, Streams(0))
        left_in.add(tuple(drawn.evaluated))
        assert len(drawn.malicious) == int(6040 * cell.ratio)
    assert [len(users) for users in left_in] == [6040 - 604]


@pytest.mark.parametrize(("model", "bound"), [("MF", 0.1), ("SASRec", 1.5), ("NCF", 1.5)])
def test_the_arena_clips_each_model_to_its_own_bound(model: str, bound: float) -> None:
    study = Study.load(ROOT / "config" / "arena.yaml")
    fields = {"NormBound": "bound", "NormBound+UNION": "bound", "DP-FedAvg": "bound"}
    for defense, field in {**fields, "CentredClipping": "radius"}.items():
        named = Cell(
            dataset="ml-1m", model=model, attack="NoAttack", defense=defense, ratio=0.0, seed=0
        )
        parts = study.cell_config(named).values["defense"]
        assert [part[field] for part in parts if field in part] == [bound]


def test_a_field_of_the_method_comes_before_one_of_the_protocol() -> None:
    study = Study.load(PAPER)
    config = study.cell_config(cell(study, defense="UNION@negatives=3")).values
    assert config["defense"][0]["negatives"] == 3
    assert config["protocol"]["negatives"] == "fixed"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ClusterAttack@clustres=1", "has no field 'clustres'; did you mean `clusters`"),
        ("ClusterAttak@clusters=1", "'ClusterAttak' is not among `attacks`; did you mean"),
        ("ClusterAttack@clusters=many", "attacks.ClusterAttack: clusters: Input should be"),
        ("ClusterAttack@clusters=99", "attacks.ClusterAttack: clusters must lie in"),
    ],
)
def test_a_wrong_variant_is_an_error(tmp_path: Path, wrong: str, message: str) -> None:
    path = edited(tmp_path, "      - ClusterAttack@clusters=4\n", f"      - {wrong}\n")
    with pytest.raises(ConfigError) as caught:
        Study.load(path)
    assert message in str(caught.value) and "study.yaml:" in str(caught.value)


def test_every_switch_is_listed_with_what_is_used() -> None:
    switches = {(s.kind, s.field): s for s in Study.load(PAPER).switches()}
    assert switches["union", "distance"].ours == "unsquared"
    assert switches["union", "distance"].other == "squared"
    assert switches["protocol", "filters"].other == "in_turn"
    assert all(s.ours == s.code for s in switches.values())
    text = Study.parse(yaml.safe_load(PAPER.read_text()) | {"preset": "paper"})
    assert all(s.ours == s.paper and s.other == s.code for s in text.switches())


def test_deviations_take_the_cells_of_every_switch() -> None:
    study = Study.load(PAPER)
    cells = study.cells(study.tables["deviations"])
    names = {(c.model, c.attack, c.defense) for c in cells}
    assert ("MF@l2_half=false", "NoAttack", "FedAvg") in names
    assert ("MF", "ClusterAttack@trigger=exceeded", "MultiKrum+UNION") in names
    assert ("MF", "ClusterAttack", "MultiKrum+UNION@filters=in_turn") in names
    assert not any("@" in d for m, a, d in names if a == "NoAttack") and len(cells) == 3 * 21


def dataset(**values: object) -> Dataset:
    return Dataset.model_validate_json(json.dumps(values))


def test_a_file_is_a_download_or_a_local_one() -> None:
    local, columns = {"path": "mine.csv"}, {"user": 0, "item": 1, "time": 2}
    assert dataset(source=local, format=columns).raw == (LocalFile("mine.csv"),)
    both = {"path": "mine.csv", "url": "https://example.org/mine.csv"}
    for bad in (both, {"file": "mine.csv"}, "mine.csv", {"path": ""}, {"path": "a{b}.csv"}):
        with pytest.raises(ValidationError):
            dataset(source=bad, format=columns)


def test_a_file_is_read_in_one_format() -> None:
    columns = {"user": 0, "item": 1, "time": 2}
    with pytest.raises(ValidationError, match="one of `format`, `item_lists` and `reader`"):
        dataset(source={"path": "x"}, format=columns, item_lists={})
    with pytest.raises(ValidationError, match="needs `source`, and"):
        dataset(source={"path": "x"})


TWICE = "seeds: [0]\nmodels:\n  A: &a { kind: mf }\n  B: { <<: *a, kind: mf }\n  A: { kind: mf }\n"


@pytest.mark.parametrize("read", [Study.load, lambda path: Study.parse({}, [path])])
def test_a_key_that_stands_twice_is_named_with_both_lines(
    tmp_path: Path, read: Callable[[Path], Study]
) -> None:
    """Whoever read the file: Snakemake reads it by itself."""
    (tmp_path / "study.yaml").write_text(TWICE)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "study.yaml")
    message = "the key `A` is already on line 3: keep one of the two"
    assert str(caught.value) == f"{tmp_path / 'study.yaml'}:5: {message}"


def test_a_key_over_a_merged_one_stands_once(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TWICE.replace("  A: { kind: mf }\n", ""))
    assert read_yaml(tmp_path / "study.yaml")["models"]["B"] == {"kind": "mf"}


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "[{b: 1, c: {a: 1, a: 2}}]"])
def test_keys_are_looked_for_at_any_depth(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"study\.yaml:1: the key `a`"):
        read_yaml(tmp_path / "study.yaml")


SMALL = "extends: {}\nreplace: [tables, figures]\nclaims: null\nfigures: {{}}\n"
TABLE = (
    "tables: { t: { title: T, kind: attacks, datasets: [ml-1m], models: [MF], attacks: [LIE] } }"
)


def test_a_study_extends_the_papers(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(SMALL.format(PAPER) + TABLE)
    study = Study.load(path)
    assert list(study.blocks()) == ["t"] and study.claims is None
    assert study.models == Study.load(PAPER).models
    assert Study.parse(yaml.safe_load(path.read_text()), [path]) == study


def test_a_mistake_is_looked_for_in_every_file_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(SMALL.format(PAPER) + TABLE + "\nprotocol: { rounds: 0 }\n")
    with pytest.raises(ConfigError, match=r"own\.yaml:6: protocol\.rounds"):
        Study.load(path)


def test_the_schema_lets_a_file_that_extends_leave_things_out(tmp_path: Path) -> None:
    import jsonschema

    schema = json.loads((ROOT / "config" / "schema.json").read_text())
    own = yaml.safe_load(SMALL.format("paper.yaml") + TABLE)
    jsonschema.validate(own, schema)
    partial = own | {"attacks": {"ClusterAttack": {"clusters": 4}}, "models": {"MF": {"dim": 8}}}
    jsonschema.validate(partial, schema)
    alone = yaml.safe_load(PAPER.read_text())
    jsonschema.validate(alone, schema)
    for wrong in (
        {key: own[key] for key in own if key != "extends"},
        partial | {"attacks": {"ClusterAttack": {"clustres": 4}}},
        own | {"defenses": {"Mine": [{"bound": 0.1}]}},
        alone | {"models": {"MF": {"dim": 8}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
