"""The command line: each stage on a tiny study, and mistakes that end in one clear line."""

import errno
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fedrec.cli.main import main
from fedrec.data.interactions import Counts, Interactions
from fedrec.data.split import Split
from fedrec.files import unsealed
from fedrec.records import pack, read_record, read_records, write_record
from tests.builders import make_record, tiny_split

ROOT = Path(__file__).parents[2]
MINIATURE = str(ROOT / "config" / "miniature.yaml")
DATASET = json.dumps({"synthetic": {"users": 40, "items": 50, "mean_length": 10}})


def test_from_data_to_split(tmp_path: Path) -> None:
    raw, kept = str(tmp_path / "raw.npz"), str(tmp_path / "kept.npz")
    counts, split = tmp_path / "counts.json", tmp_path / "split.npz"
    assert main(["interactions", DATASET, "--output", raw]) == 0
    passes, repeats = tmp_path / "filter.json", tmp_path / "repeats.json"
    dataset = json.dumps(json.loads(DATASET) | {"k_core": {"k": 4}})
    command = ["filter", dataset, "--input", raw, "--output", kept, "--counts", str(counts)]
    assert main([*command, "--passes", str(passes)]) == 0
    assert main(["split", "--input", kept, "--output", str(split), "--repeats", str(repeats)]) == 0
    found = json.loads(counts.read_text())
    assert found["users"] == 40
    told = json.loads(passes.read_text())
    assert told["dropped"][0]["items"] > 0 and not any(told["dropped"][-1].values())
    for key, value in told["before"].items():
        assert value - sum(dropped[key] for dropped in told["dropped"]) == found[key]
    assert unsealed(repeats.read_text()) == {"users": 40, "validation": 0, "test": 0}
    assert len(Split.load(split).train) == found["interactions"] - 2 * 40


def test_data_is_read_filtered_and_split_without_the_training_libraries(tmp_path: Path) -> None:
    raw, kept, split = (str(tmp_path / name) for name in ("raw.npz", "kept.npz", "split.npz"))
    given = json.dumps(json.loads(DATASET) | {"k_core": {"k": 4}})
    commands = [
        ["interactions", given, "--output", raw],
        ["filter", given, "--input", raw, "--output", kept, "--counts", kept + ".json"],
        ["split", "--input", kept, "--output", split],
        ["download", given, "--output", str(tmp_path / "nothing.dat")],
    ]
    code = "import sys; from fedrec.cli.main import main; print([main(c) for c in {!r}]); "
    code += "print(sorted({{'torch', 'numba'}} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code.format(commands)], capture_output=True, text=True, cwd=ROOT
    )
    assert found.stdout.splitlines() == ["[0, 0, 0, 1]", "[]"], found.stderr


def test_no_subcommands_file_imports_the_training_libraries() -> None:
    """Not before it runs: the command line is read by one process for each file of data."""
    code = "import sys, pkgutil, importlib, fedrec.cli as cli; "
    code += "names = [m.name for m in pkgutil.iter_modules(cli.__path__)]; "
    code += "[importlib.import_module(f'fedrec.cli.{name}') for name in names]; "
    code += "print(sorted({'torch', 'numba'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "[]", found.stderr


def test_unexpected_counts_stop_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, out = str(tmp_path / "raw.npz"), str(tmp_path / "out")
    main(["interactions", DATASET, "--output", raw])
    expect = {"users": 41, "items": 50, "interactions": 400}
    wrong = json.dumps(json.loads(DATASET) | {"expect": expect})
    assert main(["filter", wrong, "--input", raw, "--output", out, "--counts", out + ".json"]) == 1
    assert "found 40 users" in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_dataset_of_several_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: f"https://example.org/tiny/{name}" for name in ("train.txt", "test.txt")}
    mirror = tmp_path / "mirror" / "tiny"
    mirror.mkdir(parents=True)
    (mirror / "train.txt").write_text("u 1 2\nv 2\n")
    (mirror / "test.txt").write_text("u 3\nv 3 1\n")
    first, second = (
        {
            "url": url,
            "sha256": hashlib.sha256((mirror / name).read_bytes()).hexdigest(),
            "terms": "none",
            "citation": "none",
        }
        for name, url in files.items()
    )
    dataset = json.dumps({"source": first, "further": [second], "item_lists": {}})
    monkeypatch.setenv("FEDREC_MIRROR", str(tmp_path / "mirror"))
    paths = [str(tmp_path / name) for name in files]
    for path in paths:
        assert main(["download", dataset, "--output", path]) == 0
    assert main(["download", dataset, "--output", str(tmp_path / "other.txt")]) == 1
    assert "its files: train.txt, test.txt" in capsys.readouterr().err
    out = str(tmp_path / "all.npz")
    assert main(["interactions", dataset, "--raw", paths[0], "--output", out]) == 1
    assert "--raw train.txt test.txt" in capsys.readouterr().err
    assert main(["interactions", dataset, "--raw", *paths, "--output", out]) == 0
    assert Interactions.load(Path(out)).counts == Counts(users=2, items=3, interactions=6)


def a_cell(capsys: pytest.CaptureFixture[str]) -> dict:
    name = "synthetic/MF/ClusterAttack/FedAvg/m0.01/seed0.json"
    assert main(["cell", name, "--config", MINIATURE]) == 0
    cell = json.loads(capsys.readouterr().out)
    cell["protocol"] |= {"rounds": 5, "evaluate_every": 2, "pool": 0.2}
    cell["cell"]["ratio"] = 0.1
    return cell


def test_training_writes_a_record_and_a_line_an_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, split, output = a_cell(capsys), tmp_path / "split.npz", tmp_path / "record.json"
    tiny_split().save(split)
    command = ["train", json.dumps(cell), "--split", str(split), "--output", str(output)]
    assert main([*command, "--device", "cpu"]) == 0
    record = read_record(output)
    assert record.trajectory.round == [2, 4, 5]
    assert record.config == cell and record.dataset_checksum == tiny_split().checksum
    assert record.provenance.device == "cpu" and record.cost.seconds > 0
    assert record.malicious.users == 6 and record.malicious.rounds > 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("round 5/5") and "HR@5" in lines[-1] and "  K 2" in lines[-1]


def a_train_command(tmp_path: Path, cell: dict, users: int = 60) -> list[str]:
    """Trains a cell on the tiny split."""
    split, output = str(tmp_path / "split.npz"), str(tmp_path / "record.json")
    tiny_split(users).save(Path(split))
    cell = json.dumps(cell)
    return ["train", cell, "--split", split, "--output", output, "--device", "cpu"]


def with_seed(cell: dict, seed: int) -> str:
    return json.dumps(cell | {"cell": cell["cell"] | {"seed": seed}})


def test_seeds_trained_in_one_process_are_what_each_is_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several cells, or one that goes on with its siblings, which then wait for their commands."""
    split, cell = str(tmp_path / "split.npz"), a_cell(capsys)
    tiny_split().save(Path(split))

    def train(folder: str, seeds: list[int], *more: str) -> list[str]:
        outputs = [str(tmp_path / folder / f"seed{seed}.json") for seed in seeds]
        cells = [with_seed(cell, seed) for seed in seeds]
        assert main(["train", *cells, "--split", split, "--output", *outputs, *more]) == 0
        return capsys.readouterr().err.splitlines()

    for seed in (0, 1):
        assert len(train("alone", [seed])) == 3
    assert len(train("several", [0, 1])) == 6
    assert len(train("together", [0], "--siblings", "1", "--together", "1")) == 6
    assert len(train("together", [1], "--siblings", "0", "--together", "1")) == 0
    for seed in (0, 1):
        alone, *others = (
            read_record(tmp_path / folder / f"seed{seed}.json").science()
            for folder in ("alone", "several", "together")
        )
        assert alone == others[0] == others[1]


def test_each_cell_needs_an_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "{}", "{}", "--split", "x", "--output", "y"]) == 1
    assert "2 cells need as many outputs, not 1" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_that_the_same_command_goes_on_with(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = a_cell(capsys)
    cell["protocol"] |= {"rounds": 300, "evaluate_every": 20}
    command, record = a_train_command(tmp_path, cell), tmp_path / "record.json"
    program = [sys.executable, "-m", "fedrec.cli.main", *command]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr and process.stderr.readline().startswith("round 20/300")
        process.send_signal(number)
        message = process.stderr.read()
    assert process.returncode == 75 and not record.exists()
    assert "the same command resumes from" in message and "Traceback" not in message
    again = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "resuming after round" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.json", "split.npz"]
    assert read_record(record).trajectory.round == list(range(20, 301, 20))


def test_an_attack_by_nobody_ends_in_one_line_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = a_cell(capsys)
    cell["cell"]["ratio"] = 0.05
    command = a_train_command(tmp_path, cell, users=10)
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedrec train: synthetic/MF/ClusterAttack/FedAvg/m0.05/seed0.json: none")
    assert line.endswith("of its 10 users would be malicious: give a ratio of at least 0.1")
    assert [path.name for path in tmp_path.iterdir()] == ["split.npz"]


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "record.json")


def test_a_full_disk_leaves_no_half_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = a_train_command(tmp_path, a_cell(capsys))
    monkeypatch.setattr("fedrec.files.os.fsync", full)
    assert main(command) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "fedrec train: [Errno 28] No space left on device: 'record.json'"
    assert [path.name for path in tmp_path.iterdir()] == ["split.npz"]


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = a_train_command(tmp_path, a_cell(capsys))
    command[command.index("--output") + 1] = "/proc/fedrec/record.json"  # not even root can
    assert main(command) == 1
    assert "'/proc/fedrec'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 18 TiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 18 TB\nat x\ny"),
    ],
)
def test_too_little_memory_is_said_in_one_line(
    error: Exception,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = said_of(error, tmp_path, capsys, monkeypatch)
    assert line.startswith("fedrec train: out of memory (") and "mem_mb" in line


def said_of(
    error: Exception,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The one line that training ends with if its run fails."""

    def fail(*_: Any) -> None:
        raise error

    command = a_train_command(tmp_path, a_cell(capsys))
    monkeypatch.setattr("fedrec.training.run.running", fail)
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return str(line)


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
                "79.10 GiB of which 1.20 GiB is free.\nProcess 7 has 9.00 GiB memory in use."
            ),
            "out of memory on the GPU (PyTorch tried to allocate 2.00 GiB): ",
        ),
        (RuntimeError("CUDA error: out of memory\nCompile with"), "out of memory on the GPU: "),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            "out of memory on the GPU: ",
        ),
    ],
)
def test_a_full_card_is_said_in_one_sentence_with_what_to_do(
    error: Exception,
    begins: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = said_of(error, tmp_path, capsys, monkeypatch)
    assert line.startswith(f"fedrec train: {begins}have fewer jobs share a card")
    assert "`--resources gpu=N`" in line and "`--device cpu`" in line and "mem_mb" not in line


def test_a_diverged_run_is_recorded_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = a_cell(capsys)
    cell["model"]["learning_rate"] = 1e30
    command = a_train_command(tmp_path, cell)
    assert main(command) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("fedrec train: ") and "record.json: diverged in round 2" in last
    assert read_record(tmp_path / "record.json").diverged_at == 2
    assert main([*command, "--accept-divergence"]) == 0
    assert "record.json: diverged in round 2" in capsys.readouterr().err.splitlines()[-1]


def test_an_unknown_cell_is_no_listing_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cell", "nothing", "--config", MINIATURE]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedrec cell: 'nothing' is not a cell; expected dataset/model/attack")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["check", "--config", "absent.yaml"], "absent.yaml: cannot be read"),
        (["split", "--input", "absent.npz", "--output", "x.npz"], "absent.npz"),
        (["train", "{", "--split", "x", "--output", "y"], "not JSON"),
        (["interactions", "{}", "--output", "x"], "synthetic"),
    ],
)
def test_a_mistake_ends_in_one_clear_message(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fedrec {command[0]}: ") and message in error
    assert "Traceback" not in error


def test_check_counts_the_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", MINIATURE]) == 0
    assert capsys.readouterr().out == f"{MINIATURE}: 138 training jobs\n"


def test_check_looks_for_local_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = (
        Path(MINIATURE)
        .read_text()
        .replace(
            "datasets:\n", "datasets:\n  mine: { source: { path: mine.txt }, item_lists: {} }\n", 1
        )
    )
    (tmp_path / "study.yaml").write_text(study)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--config", "study.yaml"]) == 1
    assert "mine.txt: there is no such file" in capsys.readouterr().err
    (tmp_path / "mine.txt").touch()
    assert main(["check", "--config", "study.yaml"]) == 0


def test_publishing_keeps_what_was_published_before(tmp_path: Path) -> None:
    kept = tmp_path / "published"
    for dataset, attack in (("ml-1m", "NoAttack"), ("gowalla", "ClusterAttack")):
        record, counts = tmp_path / f"{attack}.json", tmp_path / dataset / "counts.json"
        write_record(make_record(attack, dataset=dataset), record)
        counts.parent.mkdir()
        counts.write_text(dataset)
        command = ["publish", str(record), "--counts", str(counts), "--folder", str(kept)]
        assert main(command) == 0
    found = read_records([kept / "records.jsonl.gz"])
    assert {record.cell.attack for record in found} == {"NoAttack", "ClusterAttack"}
    for dataset in ("ml-1m", "gowalla"):
        assert (kept / "data" / dataset / "counts.json").read_text() == dataset


def test_publishing_replaces_no_cpus_record_by_a_gpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, kept = tmp_path / "record.json", tmp_path / "published"
    command = ["publish", str(record), "--folder", str(kept)]
    write_record(make_record(), record)
    assert main(command) == 0
    write_record(make_record(device="A card"), record)
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "was made on cpu and cannot be replaced by a record from A card; give each device its"
        in line
    )
    assert read_records([kept / "records.jsonl.gz"]) == [make_record()]


BLOCK = {
    "title": "T",
    "datasets": ["ml-1m"],
    "models": ["MF"],
    "attacks": ["NoAttack", "Fang"],
    "defenses": ["FedAvg", "Krum+UNION"],
}


def test_a_grid_is_drawn_from_what_records_there_are(tmp_path: Path) -> None:
    record, pdf = tmp_path / "record.json", tmp_path / "figure.pdf"
    write_record(make_record(), record)
    block = json.dumps(BLOCK | {"kind": "attack_grid"})
    command = ["figure", block, "--records", str(record), "--output", str(pdf)]
    subprocess.run([Path(sys.executable).with_name("fedrec"), *command], check=True)
    assert pdf.exists() and pdf.with_suffix(".png").exists()


def test_a_figure_of_two_devices_says_so(tmp_path: Path) -> None:
    records, pdf = [tmp_path / "0.json", tmp_path / "1.json"], tmp_path / "figure.pdf"
    for seed, (path, device) in enumerate(zip(records, ("cpu", "A card"), strict=True)):
        write_record(make_record(seed=seed, device=device), path)
    block = json.dumps(BLOCK | {"kind": "training_curves"})
    command = ["figure", block, "--records", *map(str, records), "--output", str(pdf)]
    assert main(command) == 0
    assert "Mixes records of 2 devices: A card, cpu." in pdf.with_suffix(".svg").read_text()


def test_a_table_is_no_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = json.dumps(BLOCK | {"kind": "attacks"})
    assert main(["figure", block, "--records", "x", "--output", str(tmp_path / "f.pdf")]) == 1
    assert "known: `adaptive_clustering`, `attack_grid`" in capsys.readouterr().err


def test_tables_of_runs_and_of_claims(tmp_path: Path) -> None:
    record, counts = tmp_path / "record.json", tmp_path / "ml-1m" / "counts.json"
    write_record(make_record(), record)
    counts.parent.mkdir()
    counts.write_text('{"users": 6040, "items": 3706, "interactions": 1000209}')
    csv, pdf = tmp_path / "claims.csv", tmp_path / "claims.pdf"
    command = ["claims", "--claims", str(ROOT / "config" / "claims.yaml"), "--records", str(record)]
    made = ["--output", str(csv), "--picture", str(pdf), "--note", "A note."]
    made += ["--secondary", str(tmp_path / "secondary.csv")]
    made += ["--appendix", str(tmp_path / "appendix.csv"), "--config", "own study.yaml"]
    assert main([*command, "--counts", str(counts), *made]) == 0
    first, *_ = csv.read_text().splitlines()[1:]
    assert first.startswith("counts-ml-1m,Table 2,") and ",reproduced," in first
    assert "A note." in csv.with_suffix(".md").read_text() and pdf.exists()
    command_of = "fedrec claim attack-mf --run --again --config 'own study.yaml'"
    assert command_of in (tmp_path / "appendix.md").read_text()
    assert main(["runs", "--records", str(record), "--output", str(tmp_path / "runs.csv")]) == 0
    shown = (tmp_path / "runs.md").read_text()
    assert "ml-1m/MF/NoAttack/FedAvg/m0/seed0.json" in shown and "Malicious users" in shown


def test_the_papers_numbers_are_compared_with_what_there_is(tmp_path: Path) -> None:
    record, csv, pdf = (tmp_path / name for name in ("record.json", "n.csv", "n.pdf"))
    write_record(make_record("Fang"), record)
    command = ["numbers", "--records", str(record), "--output", str(csv), "--picture", str(pdf)]
    assert main([*command, "--paper", str(ROOT / "config" / "paper-values.csv")]) == 0
    shown = csv.with_suffix(".md").read_text()
    assert "0 of 0 numbers agree" in shown and "| 0.03038 | 0.20000 |" in shown and pdf.exists()


def test_a_plan_of_nothing_says_how_the_next_look_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.json"
    write_record(make_record(), record)
    command = ["plan", "--claims", str(ROOT / "config" / "claims.yaml"), "--records", str(record)]
    assert main(command) == 0
    assert "Bonferroni" in capsys.readouterr().out


def test_a_table_shows_what_was_wanted_in_vain(tmp_path: Path) -> None:
    record, summary = tmp_path / "record.json", tmp_path / "summary.csv"
    write_record(make_record("Fang"), record)
    name = "ml-1m/MF/Fang/FedAvg/m0.01/seed{}.json"
    command = ["summary", "--records", str(record), "--output", str(summary)]
    assert main([*command, "--cells", name.format(0), name.format(1)]) == 0
    block = json.dumps(BLOCK | {"kind": "attacks"})
    paper = ["--paper", str(ROOT / "config" / "paper-values.csv")]
    table = tmp_path / "table.csv"
    assert main(["table", block, "--summary", str(summary), *paper, "--output", str(table)]) == 0
    shown = table.with_suffix(".md").read_text()
    assert "| Fang | 1 of 2 | 0.03038 | 0.20000 |" in shown
    assert "Runs: 1 of 2, 1 missing; 0 diverged" in shown


def test_a_wrong_cell_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "record.json"
    write_record(make_record(), record)
    command = ["summary", "--records", str(record), "--output", str(tmp_path / "s.csv")]
    assert main([*command, "--cells", "ml-1m/MF"]) == 1
    assert "'ml-1m/MF' is not a cell; expected dataset/model/attack" in capsys.readouterr().err


def test_a_configuration_is_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["configuration", '{"seeds": [0], "a": "<b>"}', "--output", str(page)]) == 0
    assert "seeds:" in page.read_text() and "<b>" not in page.read_text()


def test_a_kept_record_is_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell, path = a_cell(capsys), tmp_path / "record.json"
    cell["protocol"] |= {"rounds": 4, "evaluate_every": 2, "clients_per_round": 20, "pool": 0.2}
    cell["cell"]["ratio"] = 0.1
    split = tmp_path / "data" / "synthetic" / "split.npz"
    split.parent.mkdir(parents=True)
    tiny_split().save(split)
    command = ["train", json.dumps(cell), "--split", str(split), "--output", str(path)]
    assert main([*command, "--accept-divergence"]) == 0
    kept = ["verify", "--records", str(path), "--data", str(tmp_path / "data")]
    capsys.readouterr()
    assert main(kept) == 0
    assert "synthetic/MF/ClusterAttack/FedAvg/m0.1/seed0.json: bit-identical (" in (
        capsys.readouterr().out
    )
    record = read_record(path)
    record.trajectory.test["mrr"][1] += 1e-12
    record.trajectory.loss[0] += 1e-12
    write_record(record, path)
    assert main(kept) == 1
    told = capsys.readouterr()
    assert "differs in round 2, loss: " in told.out and "1 of 1 records" in told.err
    split.unlink()
    assert main(kept) == 1
    assert f"snakemake --cores 1 {split}" in capsys.readouterr().err


def test_what_a_table_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl.gz"
    command = ["missing", "table-4", "--config", MINIATURE, "--records", str(path)]
    assert main(command) == 1
    assert f"{path}: cannot be read" in capsys.readouterr().err
    pack([], path)
    assert main(command) == 0
    everything = capsys.readouterr().out.splitlines()
    assert "results/miniature/runs/synthetic/MF/Fang/FedAvg/m0.005/seed0.json" in everything
    pack([make_record("Fang", 0, [0.1], dataset="synthetic")], path)
    assert main([*command, "--model", "MF"]) == 0
    gone = set(everything) - set(capsys.readouterr().out.splitlines())
    assert gone == {"results/miniature/runs/synthetic/MF/Fang/FedAvg/m0.01/seed0.json"}
    assert main([*command, "--model", "SASRec"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["missing", "tabel-4", "--config", MINIATURE]) == 1
    assert "no table or figure 'tabel-4'; did you mean `table-4`" in capsys.readouterr().err


def test_a_study_lacks_what_its_own_folder_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what the paper's study lacks."""
    config = tmp_path / "study.yaml"
    config.write_text(f"extends: {Path(MINIATURE).resolve()}\nresults: {tmp_path / 'mine'}\n")
    command = ["missing", "table-4", "--config", str(config)]
    assert main(command) == 0
    everything = capsys.readouterr().out.splitlines()
    record = make_record("Fang", 0, [0.1], dataset="synthetic")
    pack([record], tmp_path / "mine" / "published" / "records.jsonl.gz")
    assert main(command) == 0
    gone = set(everything) - set(capsys.readouterr().out.splitlines())
    assert gone == {f"{tmp_path}/mine/runs/synthetic/MF/Fang/FedAvg/m0.01/seed0.json"}


def test_only_records_of_this_kind_of_device_are_chosen_to_be_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    write_record(make_record(device="A card"), path)
    assert main(["verify", "--records", str(path), "--device", "cpu"]) == 1
    assert "contains no record of the cells to verify" in capsys.readouterr().err
