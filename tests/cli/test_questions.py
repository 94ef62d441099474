"""One command for a question: run, explain, new, list, status, claim, compare."""

from pathlib import Path

import pytest
import yaml

from fedrec.cli.main import EPILOG, main, parser
from fedrec.config.study import Study
from fedrec.plan.cells import cell_path
from fedrec.records import pack, read_record, write_record
from tests.builders import make_record, tiny_split

ROOT = Path(__file__).parents[2]
STUDY = f"""
results: results/tiny
seeds: [0, 1]
protocol: {{ rounds: 4, clients_per_round: 20, evaluate_every: 2, pool: 0.2 }}
datasets:
  synthetic: {{ synthetic: {{ users: 60, items: 50, mean_length: 10 }} }}
models:
  MF: {{ kind: mf, dim: 4 }}
attacks:
  NoAttack: {{ kind: no_attack }}
  LIE: {{ kind: lie }}
  ClusterAttack: {{ kind: cluster_attack, clusters: 2 }}
defenses:
  FedAvg: [{{ kind: mean }}]
claims: {{ file: {ROOT / "config" / "claims.yaml"}, datasets: {{ ml-1m: synthetic }} }}
tables:
  table-1:
    title: T
    kind: attacks
    datasets: [synthetic]
    models: [MF]
    attacks: [NoAttack, ClusterAttack]
    ratios: [0.1]
"""
ATTACKED = "synthetic/MF/ClusterAttack/FedAvg/m0.1/seed0.json"
PLAIN = "synthetic/MF/NoAttack/FedAvg/m0/seed0.json"


class Session:
    """Commands on a tiny study, in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.runs, self._capsys = folder / "results" / "tiny" / "runs", capsys

    def __call__(self, *command: str, code: int = 0) -> str:
        """What a command prints on either stream, if it ends with a code."""
        found = main([*command, "--config", "tiny.yaml"])
        told = self._capsys.readouterr()
        assert found == code, told.err
        return told.out if code == 0 else told.err


@pytest.fixture
def tiny(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Session:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    split = tmp_path / "results" / "tiny" / "data" / "synthetic" / "split.npz"
    split.parent.mkdir(parents=True)
    tiny_split().save(split)
    monkeypatch.chdir(tmp_path)
    return Session(tmp_path, capsys)


# run


def test_a_cell_is_run_and_shown_beside_the_unattacked_one(tiny: Session) -> None:
    told = tiny("run", "synthetic/MF/ClusterAttack/FedAvg/m0.1")
    assert f"no run without attack to compare with; make it: fedrec run {PLAIN}" in told
    assert read_record(tiny.runs / ATTACKED).trajectory.round == [2, 4]
    assert "no attack" not in tiny("run", "synthetic/MF")
    told = tiny("run", ATTACKED)
    assert told.splitlines()[0].split() == ["this", "run", "no", "attack", "change"]
    assert told.splitlines()[1].startswith("HR@5") and "%" in told
    assert told.splitlines()[-1].endswith(ATTACKED)


def on_a_card(path: Path) -> None:
    """A record that is there, as a GPU had made it."""
    record = read_record(path)
    made_by = record.provenance.model_copy(update={"device": "A card"})
    write_record(record.model_copy(update={"provenance": made_by}), path)


def test_runs_of_two_devices_are_set_side_by_side_with_a_word(tiny: Session) -> None:
    for cell in (PLAIN, ATTACKED):
        tiny("run", cell, "--device", "cpu")
    assert "made on" not in tiny("run", ATTACKED)
    on_a_card(tiny.runs / PLAIN)
    told = tiny("run", ATTACKED)
    assert "this run was made on cpu, the one without attack on A card" in told


def test_a_changed_value_never_takes_the_studys_record(tiny: Session) -> None:
    tiny("run", ATTACKED)
    tiny("run", ATTACKED, "--set", "clusters=4")
    other = tiny.runs / ATTACKED.replace("ClusterAttack", "ClusterAttack@clusters=4")
    assert read_record(other).cell.attack == "ClusterAttack@clusters=4"
    assert read_record(other).config["attack"]["clusters"] == 4
    assert read_record(tiny.runs / ATTACKED).config["attack"]["clusters"] == 2


def test_a_finished_cell_is_kept_until_its_settings_change(tiny: Session) -> None:
    path = tiny.runs / PLAIN
    tiny("run", PLAIN)
    first = path.stat().st_mtime_ns
    tiny("run", PLAIN)
    assert path.stat().st_mtime_ns == first
    tiny("run", PLAIN, "--again")
    again = path.stat().st_mtime_ns
    assert again > first
    Path("tiny.yaml").write_text(STUDY.replace("dim: 4", "dim: 5"))
    tiny("run", PLAIN)
    assert path.stat().st_mtime_ns > again


def test_a_run_that_diverges_ends_with_its_code(tiny: Session) -> None:
    told = tiny("run", PLAIN, "--set", "learning_rate=1.0e+30", code=3)
    assert "diverged in round 2" in told


@pytest.mark.parametrize("command", ["run", "explain", "cell"])
def test_a_miss_ends_in_one_line(tiny: Session, command: str) -> None:
    told = tiny(command, "synthetic/MF/ClustrAttack", code=1)
    expected = "'ClustrAttack' is not among `attacks`; did you mean `ClusterAttack`?\n"
    assert told == f"fedrec {command}: {expected}"


def test_data_that_no_workflow_can_make_are_told(tiny: Session) -> None:
    Path("results/tiny/data/synthetic/split.npz").unlink()
    assert "there is no Snakefile in" in tiny("run", PLAIN, code=1)


# explain


def test_each_setting_has_its_source(tiny: Session) -> None:
    told = tiny("explain", "synthetic/MF@l2=0.5/ClusterAttack/FedAvg/m0.1", "--set", "decay=0.5")
    rows = {tuple(line.split(None, 2)[:2]): line.split(None, 2)[2:] for line in told.splitlines()}
    assert rows["dim", "4"] == ["tiny.yaml:8"]
    assert rows["rounds", "4"] == ["tiny.yaml:4"]
    assert rows["l2", "0.5"] == ["the cell's name"]
    assert rows["decay", "0.5"] == ["--set"]
    assert rows["spread", "3.0"] == ["default"]


def test_a_preset_and_a_file_that_is_extended_are_sources(tiny: Session) -> None:
    Path("own.yaml").write_text("extends: tiny.yaml\npreset: paper\nmodels: { MF: { l2: 0.25 } }\n")
    assert main(["explain", ATTACKED, "--config", "own.yaml"]) == 0
    told = tiny._capsys.readouterr().out
    assert "preset paper, own.yaml:2" in told
    assert any(row.split() == ["l2", "0.25", "own.yaml:3"] for row in told.splitlines())
    assert any(row.split() == ["dim", "4", "tiny.yaml:8"] for row in told.splitlines())


# list


def test_lists_have_one_line_each(tiny: Session) -> None:
    lines = tiny("list", "attacks").splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["NoAttack", "LIE", "ClusterAttack"]
    assert "fang" in [line.split()[0] for line in lines]
    assert "no entry in the config" in next(line for line in lines if line.startswith("fang"))
    assert tiny("list", "datasets").split() == ["synthetic", "synthetic"]
    assert tiny("list", "claims").startswith("counts-ml-1m")
    models = tiny("list", "models").splitlines()
    assert [line.split()[0] for line in models] == ["MF", "ncf", "sas_rec"]


def test_a_name_has_its_fields_with_defaults_and_sources(tiny: Session) -> None:
    told = tiny("list", "attacks", "ClusterAttack")
    assert "clusters = 2 (default 2)" in told and "K_max of Algorithm 1." in told
    assert "bound = 0.1" in tiny("list", "defenses", "--fields")
    assert "users: 60" in tiny("list", "datasets", "synthetic")
    assert "did you mean `LIE`?" in tiny("list", "attacks", "LIEE", code=1)


# status


def test_what_is_done_half_way_failed_outdated_and_missing(tiny: Session) -> None:
    *_, last = tiny("status").splitlines()
    assert last.split()[:8] == ["all", "together", *5 * "–", "4"]
    tiny("run", ATTACKED)
    write_record(make_record("NoAttack", dataset="synthetic"), tiny.runs / PLAIN)
    half = tiny.runs / PLAIN.replace("seed0", "seed1")
    half.parent.mkdir(parents=True, exist_ok=True)
    half.with_name("seed1.json.checkpoint").touch()
    log = Path("results/tiny/logs/runs") / ATTACKED.replace("seed0", "seed1")
    log.parent.mkdir(parents=True)
    log.with_name("seed1.json.log").write_text("round 2/4\nfedrec train: out of memory\n")
    lines = tiny("status").splitlines()
    assert lines[0].split() == [
        "done",
        "diverged",
        "outdated",
        "failed",
        "half-way",
        "missing",
        "time",
        "left",
    ]
    assert lines[1].split()[:7] == ["table-1", "1", "–", "1", "1", "1", "–"]
    assert lines[-1].startswith("failed: ") and lines[-1].endswith("seed1.json: out of memory")


def test_the_time_that_is_left_is_told_by_published_records(tiny: Session) -> None:
    record = make_record("ClusterAttack", 7, dataset="synthetic")
    record = record.model_copy(
        update={
            "cell": record.cell.model_copy(update={"ratio": 0.1}),
            "cost": record.cost.model_copy(update={"seconds": 3600.0}),
        }
    )
    pack([record], Path("results/tiny/published/records.jsonl.gz"))
    assert tiny("status").splitlines()[1].endswith("4.0 h on a CPU thread")


# claim


def test_a_claim_says_what_decides_it_and_what_makes_its_records(tiny: Session) -> None:
    told = tiny("claim", "attack-mf")
    assert "decided by: above 10 (substantial) against no attack and no defence" in told
    assert "so far: not run" in told and "records: 0 of 4 exist" in told
    # At 1 % the cells are in no table: not the workflow but `fedrec run` makes them.
    assert "fedrec run synthetic/MF/ClusterAttack/FedAvg/m0.01/seed0.json" in told
    arm = "results/tiny/runs/synthetic/MF/NoAttack/FedAvg/m0/seed{0,1}.json"
    assert f"snakemake --cores all {arm} --configfile tiny.yaml" in told


def test_a_claims_records_are_made_and_judged(tiny: Session) -> None:
    Path("tiny.yaml").write_text(STUDY.replace("tables:", "other:").partition("other:")[0])
    told = tiny("claim", "attack-mf", "--run", code=1)
    assert "users would be malicious" in told  # 1 % of 60 users is nobody
    Path("tiny.yaml").write_text(STUDY.partition("tables:")[0].replace("users: 60", "users: 120"))
    tiny_split(120).save(Path("results/tiny/data/synthetic/split.npz"))
    assert "so far: not run" not in tiny("claim", "attack-mf", "--run").rpartition("so far")[2]
    assert "records: 4 of 4 exist" in tiny("claim", "attack-mf")


def test_a_claim_tells_that_its_records_are_of_two_devices(tiny: Session) -> None:
    for attack, device in (("NoAttack", "A card"), ("ClusterAttack", "cpu")):
        record = make_record(attack, dataset="synthetic", device=device)
        write_record(record, tiny.runs / cell_path(record.cell))
    assert "Mixes records of 2 devices: A card, cpu." in tiny("claim", "attack-mf")


def test_a_claim_is_checked_again_without_its_published_records(tiny: Session) -> None:
    records = [
        make_record(a, s, dataset="synthetic")
        for a in ("NoAttack", "ClusterAttack")
        for s in (0, 1)
    ]
    pack(records, Path("results/tiny/published/records.jsonl.gz"))
    assert "records: 4 of 4 exist" in tiny("claim", "attack-mf")
    told = tiny("claim", "attack-mf", "--again")
    assert "so far: not run" in told and "missing: 4; they take 4 s on a CPU thread" in told


def test_an_unknown_claim_is_met_with_the_nearest(tiny: Session) -> None:
    told = tiny("claim", "atack-mf", code=1)
    assert told.endswith("claims.yaml; did you mean `attack-mf`?\n") and told.count("\n") == 1


# compare


def test_two_records_side_by_side(tiny: Session) -> None:
    tiny("run", ATTACKED)
    tiny("run", ATTACKED, "--set", "clusters=4")
    told = tiny("compare", ATTACKED, ATTACKED.replace("ClusterAttack", "ClusterAttack@clusters=4"))
    assert "attack.clusters  2" in told and "HR@5" in told
    assert "the trajectories first differ in round 2, attack.attack_loss: " in told
    same = tiny("compare", ATTACKED, str(tiny.runs / ATTACKED))
    assert "the same settings, data and versions" in same and "bit-identical" in same


def test_a_cell_without_record_is_met_with_the_nearest(tiny: Session) -> None:
    tiny("run", PLAIN)
    told = tiny("compare", PLAIN, "synthetic/MF/NoAtack", code=1)
    assert told.count("\n") == 1 and f"nearest: {PLAIN}" in told


# new


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "paper.yaml").write_text((ROOT / "config" / "paper.yaml").read_text())
    rows = [
        f"u{user},t{(user + k) % 30},2023-01-{k + 1:02d}" for user in range(100) for k in range(9)
    ]
    (tmp_path / "plays.csv").write_text("\n".join(["listener,track,played_at", *rows, ""]))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config"


def test_a_study_of_ones_own_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "mine", "--data", "plays.csv", "--ratios", "0.02", "--seeds", "2"]) == 0
    told = capsys.readouterr().out
    assert (
        "8 training jobs" in told and "snakemake --cores all --configfile config/mine.yaml" in told
    )
    study = Study.load(project / "mine.yaml")
    assert study.results == "results/mine" and study.seeds == (0, 1) and study.claims is None
    assert list(study.blocks()) == ["attacks", "training-curves"]
    assert study.datasets["plays"].raw[0].name == "plays.csv"
    assert len((project / "mine.yaml").read_text().splitlines()) <= 12


def test_a_file_that_leaves_questions_is_answered_by_options(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("plays.csv").read_text().replace("listener,track", "a,b")
    Path("plays.csv").write_text(text)
    command = ["new", "mine", "--data", "plays.csv", "--ratios", "0.02"]
    assert main(command) == 1
    assert not (project / "mine.yaml").exists()
    assert main([*command, "--user", "a", "--item", "b", "--time", "played_at"]) == 0
    assert Study.load(project / "mine.yaml").datasets["plays"].raw[0].name == "plays.csv"


def test_a_study_of_a_known_dataset(project: Path) -> None:
    command = ["new", "mild", "--dataset", "ml-1m", "--attacks", "NoAttack", "LIE@z=1.5"]
    assert main([*command, "--defenses", "FedAvg", "Krum", "--rounds", "100"]) == 0
    study = Study.load(project / "mild.yaml")
    assert study.protocol.rounds == 100 and study.protocol.evaluate_every == 5
    assert study.tables["attacks"].attacks == ("NoAttack", "LIE@z=1.5")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["mine", "--dataset", "ml-2m"], "did you mean `ml-1m`?"),
        (["mine", "--dataset", "ml-1m", "--attacks", "LIEE"], "did you mean `LIE`?"),
        (["mine", "--data", "plays.csv", "--ratios", "0.001"], "none of the 100 users would be"),
        (["../mine", "--dataset", "ml-1m"], "give a plain name"),
        (["paper", "--dataset", "ml-1m"], "config/paper.yaml: already exists"),
    ],
)
def test_a_study_that_cannot_be_is_not_written(
    project: Path, capsys: pytest.CaptureFixture[str], command: list[str], message: str
) -> None:
    assert main(["new", *command]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in project.iterdir()] == ["paper.yaml"]


# The command line itself


def test_every_command_has_help_and_every_question_examples() -> None:
    commands = parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for name in (
        "run",
        "explain",
        "new",
        "list",
        "status",
        "claim",
        "compare",
        "tune",
        "completion",
    ):
        assert "For example" in commands[name].description
    for code in ("0 ", "1 ", "2 ", "3 ", "75 "):
        assert f"\n  {code}" in EPILOG


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["statsu"], "invalid choice: 'statsu'; did you mean `status`? (see fedrec --help)"),
        (["list", "attack"], "did you mean `attacks`? (see fedrec list --help)"),
        (["run"], "the following arguments are required: CELL"),
    ],
)
def test_a_mistyped_command_ends_in_one_line(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(command)
    told = capsys.readouterr().err
    assert caught.value.code == 2 and message in told and told.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "explain" in script and "defenses" in script


def test_examples_in_the_help_can_be_parsed() -> None:
    commands = parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for name in ("run", "explain", "new", "list", "status", "claim", "compare", "tune"):
        lines = commands[name].description.partition("For example:")[2].strip().splitlines()
        assert lines
        for line in lines:
            assert parser().parse_args(line.split()[1:]).command == name


def test_yaml_reads_what_new_writes_in_one_line() -> None:
    from fedrec.cli.studies import _flow

    values = {"a": [1, "x: y"], "b": {"c": "::"}, "d": "é"}
    assert yaml.safe_load(_flow(values)) == values and "\n" not in _flow(values)
