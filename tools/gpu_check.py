"""All checks that need a GPU, in one script: `python tools/gpu_check.py --help`.

It needs a checkout of the project and the packages for training; the project itself need not be
installed. Each part runs in a process of its own, so a part that fails does not stop the others.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from math import inf, isnan
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from fedrec.bench.cells import SIZES, bench_cell, bench_split  # noqa: E402
from fedrec.config.cell_config import CellConfig  # noqa: E402
from fedrec.data.interactions import Counts  # noqa: E402
from fedrec.federation import Federation, play_round, set_up  # noqa: E402
from fedrec.training.provenance import provenance  # noqa: E402
from fedrec.training.run import choose_device, prepare_torch  # noqa: E402
from fedrec.training.simulation import Simulation  # noqa: E402

ATTACKS = [
    *("NoAttack", "LabelFlip", "FedAttack", "Gaussian", "LIE", "Fang"),
    *("ClusterAttack", "ClusterAttack+CL"),
]
DEFENSES = [
    *("FedAvg", "TrimmedMean", "Krum", "MultiKrum", "NormBound", "FL-WBC"),
    *("UNION", "MultiKrum+UNION", "NormBound+UNION"),
]
# Methods beyond the paper. Per-row defences are left out: they need the CPU.
MORE_ATTACKS = [
    *("IPM", "MinMax", "MinSum", "Mimic", "SignFlip", "Spattack-O", "Spattack-L"),
    *("UA-FedRec", "LIE-search", "IPM-search", "ClusterAttack-matched"),
]
MORE_DEFENSES = [
    *("CoordinateMedian", "GeometricMedian", "Bulyan", "DnC", "FoolsGold", "DP-FedAvg"),
    *("CentredClipping", "NNM+CoordinateMedian", "NNM+MultiKrum", "Bucketing+GeometricMedian"),
]
MORE = [("MF", a, "FedAvg") for a in MORE_ATTACKS]
MORE += [("MF", "ClusterAttack", d) for d in MORE_DEFENSES]
# What is not recorded but played by its code, and the third model.
MORE += [
    ("MF", "FedAttack@hardest=pair", "FedAvg"),
    ("MF", "ClusterAttack", "MultiKrum+UNION@items=per_client"),
    ("MF@negatives=resampled", "ClusterAttack", "FedAvg"),
    ("MF@user_optimizer=lazy", "ClusterAttack", "NormBound+UNION"),
    ("MF", "ClusterAttack", "PIECK@begins=2"),
    ("NCF", "NoAttack", "FedAvg"),
    ("NCF", "ClusterAttack", "NormBound+UNION"),
]
# Of `fedrec bench`.
CELLS = ["--attack", "NoAttack", "ClusterAttack", "--defense", "FedAvg", "NormBound+UNION"]
SMALL = Counts(users=600, items=400, interactions=24_000)
RATIO = 0.05
PROFILED, DEAREST = 20, 14  # rounds profiled, and slowest kernels listed
TINY = 1e-12  # the least loss to divide by: a run that diverges at once has a loss of 0
Found = dict[str, Any]


def small_cell(model: str, attack: str, defense: str, rounds: int) -> CellConfig:
    """Return a cell of the paper's methods, with more malicious clients and fewer rounds."""
    config = bench_cell(attack, defense, model)
    ratio = 0.0 if attack == "NoAttack" else RATIO
    every = max(rounds // 4, 1)
    return replace(
        config,
        cell=config.cell.model_copy(update={"ratio": ratio}),
        protocol=replace(config.protocol, rounds=rounds, evaluate_every=every),
    )


def trained(config: CellConfig, size: Counts, device: str) -> Found:
    """Train a cell; return its losses, HR@5 and seconds, and warnings on unrecorded rounds."""
    prepare_torch()
    start, split = time.perf_counter(), bench_split(size)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run, after = Simulation(config, split, device), []
        while not run.over:
            if run.play():
                after.append(time.perf_counter() - start)
    return {
        "seconds_at_evaluations": after,
        "clusters": [e.attack.get("clusters") for e in run.evaluations],
        "loss": [e.loss for e in run.evaluations],
        "hr@5": [e.test["hr@5"] for e in run.evaluations],
        "items": float(run.items.double().abs().sum()),
        "diverged_at": run.diverged_at,
        "seconds": time.perf_counter() - start,
        "said": by_code(said),
    }


def by_code(said: Sequence[warnings.WarningMessage]) -> list[str]:
    """Return the warnings that say why rounds were not recorded."""
    told = {str(warning.message) for warning in said}
    return sorted(text for text in told if "played by their code" in text)


def same(x: Any, y: Any) -> bool:
    """Whether two results are equal. NaN equals NaN: a diverged run can be repeated as well."""
    return bool(repr(x) == repr(y))


def difference(x: float, y: float) -> float:
    """Return the difference relative to `y`: infinite if only one of them is a number."""
    if isnan(x) or isnan(y):
        return 0.0 if isnan(x) and isnan(y) else inf
    return abs(x - y) / max(abs(y), TINY)


def kernels(args: argparse.Namespace) -> Found:
    """Compare every kernel with its plain twin, by the project's own tests."""
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "tests/kernels/triton"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment())
    return {"passed": done.returncode == 0, "said": done.stdout[-3000:]}


def same_as_the_cpu(args: argparse.Namespace) -> Found:
    """Run each attack and each defence on the CPU, and twice on the GPU."""
    jobs = compared_cells(args.models, args.few)
    read = reference(args.reference) if args.reference else on_the_cpu(args)
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        turns = [
            [pool.submit(attempt, *job, args.rounds, args.device) for job in jobs] for _ in range(2)
        ]
        rows = zip(["/".join(job) for job in jobs], *turns, strict=True)
        return {name: compared(read[name], *(run.result() for run in runs)) for name, *runs in rows}


def reference(report: Path) -> Found:
    """Return the runs of an earlier report of `on_the_cpu`."""
    found: Found = json.loads(report.read_text())["parts"]["on_the_cpu"]["found"]
    return found


def compared_cells(models: Sequence[str], few: bool) -> list[tuple[str, str, str]]:
    """Return model, attack and defence of each cell: of the paper's methods, every pair.

    What is beyond the paper comes with MF. With `few`, each method occurs once, against FedAvg or
    ClusterAttack.
    """
    pairs = list(product(ATTACKS, DEFENSES))
    if few:
        pairs = [pair for pair in pairs if pair[0] == "ClusterAttack" or pair[1] == "FedAvg"]
    found = [(model, *pair) for model in models for pair in pairs]
    return found + (MORE if "MF" in models else [])


def on_the_cpu(args: argparse.Namespace) -> Found:
    """Make the same runs on the CPU."""
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        jobs = {
            "/".join(job): pool.submit(attempt, *job, args.rounds, "cpu")
            for job in compared_cells(args.models, args.few)
        }
        for name, job in jobs.items():
            job.result()
            print(name, file=sys.stderr, flush=True)
        return {name: job.result() for name, job in jobs.items()}


def attempt(model: str, attack: str, defense: str, rounds: int, device: str) -> Found:
    """Return a run's results, or its error."""
    try:
        return trained(small_cell(model, attack, defense, rounds), SMALL, device)
    except Exception:
        return {"error": told()}


def told() -> str:
    """Return the end of the traceback, with paths relative to the project."""
    return traceback.format_exc().replace(f"{ROOT}/", "")[-1500:]


def compared(cpu: Found, first: Found, second: Found) -> Found:
    """Compare two runs on a GPU with each other and with the CPU's."""
    failed = [run["error"] for run in (cpu, first, second) if "error" in run]
    if failed:
        return {"error": failed[0]}
    losses = zip(first["loss"], cpu["loss"], strict=True)
    return {
        "same_twice": all(same(first[key], second[key]) for key in ("loss", "hr@5", "items")),
        "loss_from_cpu": max((difference(*pair) for pair in losses), default=0.0),
        "hr_as_cpu": first["hr@5"] == cpu["hr@5"],
        "seconds": [cpu["seconds"], first["seconds"], second["seconds"]],
        "said": first["said"],
    }


def speed(args: argparse.Namespace) -> Found:
    """Measure milliseconds a round at the paper's sizes: all rounds, and attacked ones."""
    cells = [
        *(("MF", "NoAttack", "FedAvg"), ("MF", "ClusterAttack", "FedAvg")),
        *(("MF", "NoAttack", "NormBound+UNION"), ("MF", "ClusterAttack", "NormBound+UNION")),
        *(("MF", "ClusterAttack", "MultiKrum+UNION"), ("MF", "ClusterAttack", "TrimmedMean")),
        *(("MF", "ClusterAttack", "FL-WBC"), ("MF", "ClusterAttack", "Krum")),
        *(("SASRec", "NoAttack", "FedAvg"), ("SASRec", "ClusterAttack", "NormBound+UNION")),
    ]
    found = {}
    chosen = [cell for cell in cells if args.cell in "/".join(cell)]
    for size in args.sizes:
        split = bench_split(SIZES[size])
        for cell in chosen:
            found[f"{size}: {'/'.join(cell)}"] = guarded(timed, cell, split, args)
    return found


def guarded(work: Callable[..., Found], *given: Any) -> Found:
    """Return the result of `work` with its warnings on unrecorded rounds, or its error."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = work(*given)
        return found | {"said": by_code(said)}
    except Exception:
        return {"error": told()}


def timed(cell: tuple[str, str, str], split: Any, args: argparse.Namespace) -> Found:
    """Time one cell's rounds, plain and attacked, and an evaluation; measure its card memory."""
    model, attack, defense = cell
    prepare_torch()
    config = bench_cell(attack, defense, model)
    reset_memory(args.device)
    run = Simulation(config, split, args.device)
    fed = run._fed
    groups: dict[int, list[float]] = {}
    with fed.tapes.on_stream():
        for number in range(1, args.timed_rounds + 1):
            attackers = len(fed.attackers(fed.streams.at(number)))
            wait(args.device)
            start = time.perf_counter()
            play_round(fed, number)
            wait(args.device)
            groups.setdefault(attackers, []).append((time.perf_counter() - start) * 1e3)
        wait(args.device)
        start = time.perf_counter()
        for number in range(args.timed_rounds + 1, 2 * args.timed_rounds + 1):
            play_round(fed, number)
        wait(args.device)
        in_a_row = (time.perf_counter() - start) * 1e3 / args.timed_rounds
        busy = busy_times(fed, 2 * args.timed_rounds + 1, args.device)
    run.round = config.protocol.evaluate_every - 1
    start = time.perf_counter()
    run.play()
    return {
        "milliseconds_a_round": in_a_row,
        "median_by_attackers": {m: sorted(x)[len(x) // 2] for m, x in sorted(groups.items())},
        "rounds_by_attackers": {m: len(x) for m, x in sorted(groups.items())},
        "evaluation_and_round_ms": (time.perf_counter() - start) * 1e3,
        "peak_memory_mb": memory(args.device),
        "busy": busy,
    }


def busy_times(fed: Federation, first: int, device: str) -> Found:
    """Return how many microseconds a round keeps the card busy, in all and by slowest kernel."""
    if device != "cuda":
        return {}
    rounds = range(first, first + PROFILED)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for number in rounds:
            play_round(fed, number)
        wait(device)
    found = [(e.key, e.device_time_total / PROFILED, e.count) for e in profiler.key_averages()]
    dearest = sorted(found, key=lambda kernel: -kernel[1])[:DEAREST]
    return {
        "all": sum(time for _, time, _ in found),
        "kernels": sum(count for *_, count in found) / PROFILED,
        "dearest": {name[:60]: round(time, 1) for name, time, _ in dearest},
    }


def roofline(args: argparse.Namespace) -> Found:
    """Time a round's parts against the limits of the card, by `fedrec bench`."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "bench.json"
        command = [sys.executable, "-m", "fedrec.cli.main", "bench", *CELLS]
        command += ["--device", args.device, "--rounds", str(args.timed_rounds)]
        done = subprocess.run(
            [*command, "--output", str(output)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        if done.returncode:
            return {"error": done.stderr[-2000:]}
        return {"said": done.stdout.splitlines(), "measured": json.loads(output.read_text())}


def together(args: argparse.Namespace) -> Found:
    """Time five seeds of a cell in one process, in turn on a stream each, against one alone."""
    found, split = {}, bench_split(SIZES["ml-1m"])
    for cell in (
        ("MF", "NoAttack", "FedAvg"),
        ("MF", "ClusterAttack", "NormBound+UNION"),
        ("SASRec", "NoAttack", "FedAvg"),
    ):
        found["/".join(cell)] = guarded(side_by_side, cell, split, args)
    return found


def side_by_side(cell: tuple[str, str, str], split: Any, args: argparse.Namespace) -> Found:
    """Return milliseconds for a round of one seed, and of five."""
    model, attack, defense = cell
    prepare_torch()
    config = bench_cell(attack, defense, model)
    configs = [
        replace(config, cell=config.cell.model_copy(update={"seed": seed})) for seed in range(5)
    ]
    runs = [set_up(each, split, args.device)[0] for each in configs]
    found = {}
    for count in (5, 1):
        for first in (1, args.timed_rounds + 1):  # the first pass is a warm-up
            wait(args.device)
            start = time.perf_counter()
            for number in range(first, first + args.timed_rounds):
                for fed in runs[:count]:
                    with fed.tapes.on_stream():
                        play_round(fed, number)
            wait(args.device)
        found[str(count)] = (time.perf_counter() - start) * 1e3 / args.timed_rounds
    return {"milliseconds": found, "five_over_one": found["5"] / found["1"]}


def long_cell(args: argparse.Namespace) -> Found:
    """Train a whole cell at ML-1M's size: ClusterAttack against NormBound+UNION."""
    config = bench_cell("ClusterAttack", "NormBound+UNION")
    config = replace(config, protocol=replace(config.protocol, rounds=args.long_rounds))
    return trained(config, SIZES["ml-1m"], args.device) | {"rounds": args.long_rounds}


PARTS = {
    part.__name__: part
    for part in (kernels, speed, roofline, together, long_cell, same_as_the_cpu, on_the_cpu)
}


def wait(device: str) -> None:
    """Wait until the GPU has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def reset_memory(device: str) -> None:
    """Reset the peak of memory use."""
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory(device: str) -> float | None:
    """Return the peak memory held on the card, in MiB; None without a card."""
    return torch.cuda.max_memory_reserved() / 2**20 if device == "cuda" else None


def environment() -> dict[str, str]:
    """Return the environment for child processes, in which they find the project."""
    return os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


def apart(part: str, given: Sequence[str], limit: float) -> Found:
    """Run a part in a process of its own, for at most `limit` seconds."""
    command = [sys.executable, __file__, *given, "--part", part]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=environment()
        )
    except subprocess.TimeoutExpired as late:
        return {"error": f"longer than {limit:.0f} s", "said": str(late.stdout)[-1500:]}
    lines = done.stdout.strip().splitlines()
    found = {"error": done.stderr[-2000:]} if done.returncode else json.loads(lines[-1])
    return {"seconds": time.perf_counter() - start, "found": found}


def page(report: Found) -> Iterator[str]:
    """Yield the report as Markdown."""
    yield "# What a GPU showed\n"
    yield "\n".join(f"- {name}: {value}" for name, value in report["machine"].items() if value)
    for name, part in report["parts"].items():
        yield f"\n## {name.replace('_', ' ')}\n\n{(PARTS[name].__doc__ or '').strip()}\n"
        yield f"```json\n{json.dumps(part, indent=1)}\n```"


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Parts: " + ", ".join(PARTS))
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to test the script")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the report")
    parser.add_argument("--parts", nargs="*", default=list(PARTS)[:-1], help="parts, in order")
    parser.add_argument("--seconds", type=float, default=560, help="limit for all parts")
    parser.add_argument("--rounds", type=int, default=200, help="of each compared cell")
    parser.add_argument("--timed-rounds", type=int, default=150)
    parser.add_argument("--long-rounds", type=int, default=6000)
    parser.add_argument("--sizes", nargs="*", default=["ml-1m", "gowalla"])
    parser.add_argument("--models", nargs="*", default=["MF", "SASRec"])
    parser.add_argument("--processes", type=int, default=8, help="processes that share the card")
    parser.add_argument("--few", action="store_true", help="compare each method in one cell alone")
    parser.add_argument("--reference", type=Path, help="report of --parts on_the_cpu")
    parser.add_argument("--cell", default="", help="time only cells whose names contain this")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser


def main(given: Sequence[str]) -> None:
    """Run the requested parts, and write the report."""
    args = arguments().parse_args(given)
    args.device = choose_device(args.device)
    if args.part:
        print(json.dumps(PARTS[args.part](args)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + args.seconds
    report: Found = {"machine": provenance(args.device).model_dump(), "parts": {}}
    for part in args.parts:
        report["parts"][part] = apart(part, given, max(end - time.monotonic(), 1))
        print(part, json.dumps(report["parts"][part])[:6000], flush=True)
        (args.out / "gpu-check.json").write_text(json.dumps(report, indent=1))
    (args.out / "gpu-check.md").write_text("\n".join(page(report)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
