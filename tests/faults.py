"""Kills the pipeline at random moments and damages its files at random places.

`python -m tests.faults` (`make faults`) says what it did; the same seed does the same. Each case
runs in a copy of a process that has everything imported, which is what makes hundreds of them
affordable. The product has no hook for any of this.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedrec.cli.main import main
from fedrec.config.study import Study
from fedrec.data.split import leave_one_out
from fedrec.kernels.threads import use_threads
from fedrec.plan.cells import cell_path
from fedrec.records import read_records
from tests.builders import tiny_split
from tests.digests import rounds as played
from tests.digests import small_cells
from tests.stirred import Stirred
from tests.workflow.test_pipeline import Project

ROUNDS = 12
RAW = "train.txt"
COUNTS, REPEATS = "tiny/counts.json", "tiny/repeats.json"
STUDY: dict[str, Any] = {
    "results": "results",
    "seeds": [0],
    "protocol": {"rounds": ROUNDS, "clients_per_round": 20, "evaluate_every": 5, "pool": 0.2},
    "datasets": {},
    "models": {"MF": {"kind": "mf", "dim": 8}},
    "attacks": {
        "NoAttack": {"kind": "no_attack"},
        "ClusterAttack": {"kind": "cluster_attack", "threshold": 1},
    },
    "defenses": {"UNION": [{"kind": "union", "sample": 20}, {"kind": "mean"}]},
    "tables": {
        "table-1": {
            "title": "Attacks",
            "kind": "attacks",
            "datasets": ["tiny"],
            "models": ["MF"],
            "attacks": ["NoAttack", "ClusterAttack"],
            "defenses": ["UNION"],
            "ratios": [0.1],
        },
        "table-2": {
            "title": "Datasets",
            "kind": "datasets",
            "datasets": ["tiny"],
        },
    },
}
MANY: dict[str, Any] = {  # a cell whose rounds take milliseconds, and are many
    "results": "results",
    "seeds": [0],
    "protocol": {"rounds": 400, "clients_per_round": 50, "evaluate_every": 100},
    "datasets": {
        "made": {"synthetic": {"users": 1000, "items": 500, "mean_length": 40, "factors": 8}}
    },
    "models": {"MF": {"kind": "mf", "dim": 32}},
    "attacks": {"ClusterAttack": {"kind": "cluster_attack", "clusters": 2, "threshold": 5}},
    "defenses": {
        "NormBound+UNION": [
            {"kind": "union", "sample": 100},
            {"kind": "norm_bound", "bound": 0.1},
            {"kind": "mean"},
        ]
    },
    "tables": {
        "attacks": {
            "title": "One cell",
            "kind": "attacks",
            "datasets": ["made"],
            "models": ["MF"],
            "attacks": ["ClusterAttack"],
            "defenses": ["NormBound+UNION"],
            "ratios": [0.05],
        }
    },
}
BUSY = [sys.executable, "-c", "while True: sum(range(10_000))"]
TABLE = "results/tiny/tables/table-1.csv"  # of the workflow's own tiny study
PAPER = "table,dataset,model,attack,defense,ratio,metric,value\n"


@dataclass(frozen=True)
class Stage:
    """One command of the pipeline: it is done when all that it makes is there."""

    command: tuple[str, ...]
    makes: tuple[str, ...]


def raw_text(users: int = 60, items: int = 50) -> bytes:
    """Users and their items, one user a line."""
    draw = random.Random(0)
    lines = (
        " ".join(map(str, [user, *draw.sample(range(items), draw.randint(8, 14))]))
        for user in range(users)
    )
    return "".join(f"{line}\n" for line in lines).encode()


def study() -> Study:
    """A study whose dataset is read from a raw file."""
    source = {
        "url": f"https://example.org/tiny/{RAW}",
        "sha256": hashlib.sha256(raw_text()).hexdigest(),
        "terms": "none",
        "citation": "none",
    }
    return Study.parse(STUDY | {"datasets": {"tiny": {"source": source, "item_lists": {}}}})


def stages(given: Study) -> list[Stage]:
    """The commands that Snakemake would run, in order, in the current folder."""
    dataset = given.datasets["tiny"].model_dump_json(exclude_none=True)
    block, counts = (given.tables[name].model_dump_json() for name in ("table-1", "table-2"))
    cells = {f"runs/{cell_path(c)}": c for c in given.cells(given.tables["table-1"])}
    paper = ("--paper", "paper.csv", "--output")
    table = tuple(f"tables/table-1.{ext}" for ext in ("csv", "md", "tex", "html"))
    sizes = tuple(f"tables/table-2.{ext}" for ext in ("csv", "md", "tex", "html"))
    found = [
        Stage(("interactions", dataset, "--raw", RAW, "--output", "raw.npz"), ("raw.npz",)),
        Stage(
            ("filter", dataset, "--input", "raw.npz", "--output", "kept.npz", "--counts", COUNTS),
            ("kept.npz", COUNTS),
        ),
        Stage(
            ("split", "--input", "kept.npz", "--output", "split.npz", "--repeats", REPEATS),
            ("split.npz", REPEATS),
        ),
    ]
    for path, cell in cells.items():
        settings = given.cell_config(cell).to_json()
        found.append(
            Stage(
                ("train", settings, "--split", "split.npz", "--output", path, "--save-every", "0"),
                (path,),
            )
        )
    summary = ("summary.csv", "summary.csv.sha256")
    return [
        *found,
        Stage(("summary", "--records", *cells, "--output", summary[0]), summary),
        Stage(("table", block, "--summary", summary[0], *paper, table[0]), table),
        Stage(
            ("dataset-table", counts, "--counts", COUNTS, "--repeats", REPEATS, *paper, sizes[0]),
            sizes,
        ),
        Stage(
            ("publish", *cells, "--counts", COUNTS, "--folder", "published"),
            ("published/records.jsonl.gz", f"published/data/{COUNTS}"),
        ),
    ]


def begin(folder: Path) -> None:
    """Lay out what the pipeline starts from."""
    folder.mkdir(parents=True)
    (folder / RAW).write_bytes(raw_text())
    (folder / "paper.csv").write_text(PAPER)


def run_pipeline(commands: list[Stage]) -> None:
    """Run what is not done yet in the current folder, and end the process where that fails."""
    for stage in commands:
        if not all(Path(path).exists() for path in stage.makes) and main([*stage.command]):
            os._exit(1)


def in_a_copy(work: Callable[[], None], folder: Path) -> int:
    """Start `work` in a copy of this process, in `folder`; returns its process id."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.chdir(folder)
            with open("log", "a") as log:
                os.dup2(log.fileno(), 2)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return process


def finish(process: int) -> int:
    """Wait for a copy; returns its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


class Blow:
    """Ends the process at its n-th touch of a disk: within a write, or before a sync or a renaming.

    0 never ends it, and only counts.
    """

    def __init__(self, n: int) -> None:
        self._n, self.count = n, 0
        opened = Path.open

        def watched(path: Path, mode: str = "r", *rest: Any, **given: Any) -> Any:
            file = opened(path, mode, *rest, **given)
            return Watched(file, self) if mode == "wb" else file

        Path.open = watched  # type: ignore[method-assign]
        for name in ("fsync", "replace"):
            setattr(os, name, self._before(getattr(os, name)))

    def touch(self, last_words: Callable[[], object] = lambda: None) -> None:
        """One more touch."""
        self.count += 1
        if self.count == self._n:
            last_words()
            os.kill(os.getpid(), signal.SIGKILL)

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def touched(*given: Any, **named: Any) -> Any:
            self.touch()
            return call(*given, **named)

        return touched


class Watched:
    """A file in which a blow leaves half of what was to be written."""

    def __init__(self, file: Any, blow: Blow) -> None:
        self._file, self._blow = file, blow

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(memoryview(data)[: len(data) // 2])
            self._file.flush()

        self._blow.touch(half)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def content(folder: Path) -> dict[str, Any]:
    """What a folder holds that could be taken for a result; of records, what must repeat."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        # A kill between a record and the end of its run leaves the checkpoint, which is no result.
        if path.is_dir() or path.suffix in (".tmp", ".checkpoint") or path.name == "log":
            continue
        if (path.suffix == ".json" and "runs" in path.parts) or path.suffix == ".gz":
            records = read_records([path])
            found[str(path.relative_to(folder))] = sorted(
                (r.science() for r in records), key=lambda science: str(science["cell"])
            )
        else:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@dataclass
class Tally:
    """What came of all cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, kind: str, outcome: str, failed: str = "") -> None:
        self.outcomes[f"{kind}: {outcome}"] += 1
        if failed:
            self.failures.append(f"{kind}: {failed}")


@dataclass(frozen=True)
class Reference:
    """The undisturbed pipeline."""

    folder: Path
    commands: list[Stage]
    content: Mapping[str, Any]
    seconds: float
    touches: int  # of a disk


def undisturbed(folder: Path) -> Reference:
    """Run the pipeline once, and count where it could be hit."""
    commands = stages(study())
    begin(folder.parent / "warm-up")
    # In this process, so that its copies have all that is compiled or imported on first use.
    with contextlib.chdir(folder.parent / "warm-up"), contextlib.redirect_stderr(io.StringIO()):
        run_pipeline(commands)
    begin(folder)

    def counted() -> None:
        blow = Blow(0)
        run_pipeline(commands)
        Path("touches.tmp").write_text(str(blow.count))

    start = time.perf_counter()
    code = finish(in_a_copy(counted, folder))
    assert code == 0, (folder / "log").read_text()
    seconds = time.perf_counter() - start
    touches = int((folder / "touches.tmp").read_text())
    return Reference(folder, commands, content(folder), seconds, touches)


def kill_runs(reference: Reference, count: int, draw: random.Random, tally: Tally) -> None:
    """Kill the pipeline `count` times, every other time inside a write, and let it finish."""
    for case in range(count):
        folder = reference.folder.parent / f"kill-{case}"
        begin(folder)
        inside = case % 2 == 0
        kind = "killed inside a write" if inside else "killed at a random moment"
        if inside:
            n = draw.randint(1, reference.touches)
            ended = finish(in_a_copy(lambda n=n: hit(reference.commands, n), folder))
        else:
            process = in_a_copy(lambda: run_pipeline(reference.commands), folder)
            time.sleep(draw.uniform(0, reference.seconds))
            os.kill(process, signal.SIGKILL)
            ended = finish(process)
        again = finish(in_a_copy(lambda: run_pipeline(reference.commands), folder))
        same = again == 0 and content(folder) == reference.content
        resumed = "resuming after round" in (folder / "log").read_text()
        outcome = "in time" if ended == -signal.SIGKILL else "had ended"
        tally.add(kind, f"{outcome}, {'went on from a checkpoint' if resumed else 'began anew'}")
        if not same:
            tally.failures.append(f"{kind}, case {case}: {(folder / 'log').read_text()[-800:]}")
        shutil.rmtree(folder)


def hit(commands: list[Stage], n: int) -> None:
    """Run the pipeline until its n-th touch of a disk."""
    Blow(n)
    run_pipeline(commands)


@dataclass(frozen=True)
class Target:
    """A kind of file, and the command that reads it."""

    path: str
    command: tuple[str, ...]
    makes: tuple[str, ...]


def targets(reference: Reference) -> dict[str, Target]:
    """Every kind of file that a stage reads."""
    by_name: dict[str, list[Stage]] = {}
    for stage in reference.commands:
        by_name.setdefault(stage.command[0], []).append(stage)
    (interactions,), (filter_,), (split,) = (
        by_name[name] for name in ("interactions", "filter", "split")
    )
    train, (summary,), (table,) = by_name["train"][-1], by_name["summary"], by_name["table"]
    (sizes,) = by_name["dataset-table"]
    record = train.makes[0]
    packed = [*summary.command]
    first = packed.index("--records") + 1
    packed[first : packed.index("--output")] = ["published/records.jsonl.gz"]

    def read(path: str, stage: Stage) -> Target:
        return Target(path, stage.command, stage.makes)

    return {
        "raw file": read(RAW, interactions),
        "interactions": read("raw.npz", filter_),
        "filtered": read("kept.npz", split),
        "split": read("split.npz", train),
        "checkpoint": read(f"{record}.checkpoint", train),
        "record": read(record, summary),
        "packed records": Target("published/records.jsonl.gz", tuple(packed), summary.makes),
        "counts": read(COUNTS, sizes),
        "repeats": read(REPEATS, sizes),
        "summary": read("summary.csv", table),
        "sum of a summary": read("summary.csv.sha256", table),
    }


def damaged(whole: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One byte changed, a few changed, the end lost, or a part of it overwritten with zeros."""
    place = draw.randrange(len(whole))
    how = draw.choice(["bit", "byte", "cut", "zeros"])
    if how == "cut":
        return how, whole[:place]
    end = min(place + draw.choice([1, 8, 512]), len(whole)) if how == "zeros" else place + 1
    new = {
        "bit": bytes([whole[place] ^ (1 << draw.randrange(8))]),
        "byte": bytes([draw.randrange(256)]),
        "zeros": bytes(end - place),
    }[how]
    changed = whole[:place] + new + whole[end:]
    return (how, changed) if changed != whole else damaged(whole, draw)


def damage_files(reference: Reference, count: int, draw: random.Random, tally: Tally) -> None:
    """Damage one file at a time, `count` times, and run the stage that reads it."""
    checkpoint = make_checkpoint(reference)
    kinds = targets(reference)
    shutil.copytree(reference.folder, reference.folder.parent / "damage")
    with contextlib.chdir(reference.folder.parent / "damage"):
        Path(kinds["checkpoint"].path).write_bytes(checkpoint)
        whole = {kind: Path(target.path).read_bytes() for kind, target in kinds.items()}
        Path(kinds["checkpoint"].path).unlink()
        for case in range(count):
            kind = list(kinds)[case % len(kinds)]
            how, content_ = damaged(whole[kind], draw)
            outcome = read_damaged(kinds[kind], content_, whole[kind], reference)
            wrong = outcome if outcome not in ("detected", "harmless", "set aside") else ""
            tally.add(kind, outcome if not wrong else "WRONG", wrong and f"{how}: {wrong}")


def read_damaged(target: Target, content_: bytes, whole: bytes, reference: Reference) -> str:
    """Detected (the message names the file), set aside, harmless (the same result), or what not."""
    path, kept = Path(target.path), {name: Path(name).read_bytes() for name in target.makes}
    path.write_bytes(content_)
    for name in target.makes:
        if name != target.path:
            Path(name).unlink()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            code = main([*target.command])
        if code:
            outcome = "detected" if path.name in said.getvalue() else f"unnamed: {said.getvalue()}"
            if any(Path(name).exists() for name in target.makes if name != target.path):
                outcome = "something was written all the same"
        elif any(same_as(reference, name) is False for name in target.makes):
            outcome = f"another result: {said.getvalue()[-300:]}"
        else:
            outcome = "set aside" if "is not used" in said.getvalue() else "harmless"
    except Exception:
        outcome = f"not caught: {traceback.format_exc()[-600:]}"
    for name, before in kept.items():
        Path(name).write_bytes(before)
    for left in (path, *path.parent.glob("*.corrupt-*")):
        left.unlink(missing_ok=True)
    if not target.path.endswith(".checkpoint"):
        path.write_bytes(whole)
    return outcome


def same_as(reference: Reference, name: str) -> bool:
    """Whether a file here holds what it holds undisturbed."""
    if name.startswith("runs/"):
        return [r.science() for r in read_records([Path(name)])] == reference.content[name]
    return Path(name).read_bytes() == reference.content[name]


def make_checkpoint(reference: Reference) -> bytes:
    """The checkpoint of a run that was killed before its last save."""
    folder = reference.folder.parent / "half"
    shutil.copytree(reference.folder, folder)
    target = targets(reference)["checkpoint"]
    (folder / target.makes[0]).unlink()

    def half() -> None:
        Blow(5 * 6 + 1)  # five touches a save: header, archive, two syncs, a renaming
        main([*target.command])

    assert finish(in_a_copy(half, folder)) == -signal.SIGKILL
    return (folder / target.path).read_bytes()


def kill_workflows(count: int, draw: random.Random, tally: Tally, folder: Path) -> None:
    """Kill Snakemake with all its jobs at random moments, unlock, and start it again."""
    whole = Project(folder / "whole")
    start = time.perf_counter()
    whole.snakemake(TABLE)
    seconds = time.perf_counter() - start
    command = ("snakemake", "--cores", "2", TABLE, "--configfile")
    for case in range(count):
        project = Project(folder / f"workflow-{case}")
        process = project.start(*command, str(project.study), log=folder / "log")
        time.sleep(draw.uniform(0, seconds))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = project.science()
        project.snakemake("--unlock")
        project.snakemake(TABLE)
        same = project.science() == whole.science()
        wrong = "" if same else f"case {case}: other records"
        tally.add("workflow killed", f"{len(done)} of {len(whole.science())} records done", wrong)


def many_processes(count: int, draw: random.Random, tally: Tally, folder: Path) -> None:
    """A cell in many processes, every other one killed once, on a machine with other work.

    What a run holds must be the same after each round, and so must the record.
    """
    folder.mkdir()
    split = folder / "split.npz"
    given = Study.parse(MANY)
    synthetic = given.datasets["made"].synthetic
    assert synthetic
    leave_one_out(synthetic.generate()).save(split)
    cell = given.cell_config(next(iter(given.cells(given.tables["attacks"])))).to_json()
    start = time.perf_counter()
    expected = traced_run(folder / "alone", cell, split, [])
    seconds = time.perf_counter() - start
    work = [subprocess.Popen(BUSY) for _ in range(os.cpu_count() or 1)]

    def one(case: int, kill_after: float | None) -> tuple[int, str]:
        threads = "2" if case % 4 == 3 else "1"
        found = traced_run(folder / f"{case}", cell, split, ["--threads", threads], kill_after)
        return case, difference(expected, found)

    moments = [draw.uniform(0, 2 * seconds) if case % 2 else None for case in range(count)]
    try:
        with ThreadPoolExecutor(2) as pool:
            for case, wrong in pool.map(one, range(count), moments):
                kind = "a process killed and resumed" if case % 2 else "a process left alone"
                tally.add(kind, wrong or "the same after every round", wrong)
    finally:
        for process in work:
            process.kill()
            process.wait()


def traced_run(
    folder: Path, cell: str, split: Path, options: list[str], kill_after: float | None = None
) -> tuple[dict[int, Any], Any]:
    """What `fedrec train` holds after each round, by its number, and its record."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.traced", str(folder / "trace"), "train", cell]
    command += ["--split", str(split), "--output", str(folder / "r.json"), *options]
    command += ["--device", "cpu", "--save-every", "0.2"]
    with (folder / "log").open("w") as log:
        if kill_after is not None:
            process = subprocess.Popen(command, stderr=log)
            time.sleep(kill_after)
            process.kill()
            process.wait()
        subprocess.run(command, stderr=log, check=True)
    rounds: dict[int, Any] = {}
    for line in (folder / "trace").read_text().splitlines():
        number, _, found = line.partition(" ")
        rounds.setdefault(int(number), []).append(found)
    record = [r.science() for r in read_records([folder / "r.json"])]
    return rounds, record


def difference(expected: tuple[dict[int, Any], Any], found: tuple[dict[int, Any], Any]) -> str:
    """The first round, and the arrays in it, that came out otherwise; or that the record did."""
    for number, digests in sorted(expected[0].items()):
        mine = json.loads(digests[0])
        for line in found[0].get(number, ["{}"]):
            yours = json.loads(line)
            differ = sorted(name for name in mine if mine[name] != yours.get(name))
            if differ:
                return f"round {number}: {', '.join(differ)}"
    return "" if expected[1] == found[1] else "another record"


def stir_loops(repetitions: int, tally: Tally) -> None:
    """Make calls of every compiled loop again with their memory elsewhere, so many times each."""
    stirred, split = Stirred(repeats=1), tiny_split(200, 150)
    for model, length in (("mf", 6), ("sas_rec", 2), ("ncf", 2)):
        for config in small_cells(model, length, dim=20).values():
            with stirred.watching():
                for _ in played(config, split):
                    pass
    for name, calls in sorted(stirred.calls.items()):
        for i in range(repetitions - stirred.again[name]):
            stirred.repeat(name, calls[i % len(calls)])
        again, differed = stirred.again[name], stirred.differed[name]
        wrong = f"{name}: {differed} of {again} came out otherwise" if differed else ""
        tally.add("loop", f"{name}, {again} times again", wrong)


def run_faults(
    kills: int,
    damages: int,
    workflows: int,
    processes: int,
    repetitions: int,
    seed: int,
    folder: Path,
) -> int:
    """All cases of a seed, with a report of each kind; returns the number of failures."""
    use_threads(1)
    reference = undisturbed(folder / "undisturbed")
    parts: list[Callable[[random.Random, Tally], None]] = [
        lambda draw, tally: kill_runs(reference, kills, draw, tally),
        lambda draw, tally: damage_files(reference, damages, draw, tally),
    ]
    if workflows:
        parts.append(lambda draw, tally: kill_workflows(workflows, draw, tally, folder))
    if processes:
        parts.append(lambda draw, tally: many_processes(processes, draw, tally, folder / "many"))
    if repetitions:
        parts.append(lambda draw, tally: stir_loops(repetitions, tally))
    failures = 0
    for part in parts:
        tally = Tally()
        part(random.Random(seed), tally)
        print(report(tally), flush=True)
        failures += len(tally.failures)
    return failures


def report(tally: Tally) -> str:
    """What happened how often, and every failure."""
    lines = [f"{count:5d}  {what}" for what, count in sorted(tally.outcomes.items())]
    total = f"{tally.outcomes.total()} cases, {len(tally.failures)} failures"
    return "\n".join([*lines, total, *tally.failures])


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=120)
    options.add_argument("--damages", type=int, default=600)
    options.add_argument("--workflows", type=int, default=5)
    options.add_argument("--processes", type=int, default=100)
    options.add_argument("--repetitions", type=int, default=100_000, help="of each compiled loop")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    with TemporaryDirectory() as place:
        failed = run_faults(**vars(given), folder=Path(place))
    raise SystemExit(bool(failed))
