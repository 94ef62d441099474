"""The `bench` subcommand: measure speed."""

import argparse
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import DEVICES, print_lines, stage_of
from fedrec.errors import ConfigError

PRETEND = "pretend"

if TYPE_CHECKING:  # importing it takes PyTorch
    from fedrec.bench.cells import Case


def add_to(stages: Any) -> None:
    """Add the subcommand to the parser."""
    sub = stage_of(stages)("bench", bench)
    sub.add_argument("--grid", action="store_true", help="every defence, with and without attack")
    for name, default in (("model", "MF"), ("attack", "NoAttack"), ("defense", "FedAvg")):
        text = f"names in config/arena.yaml (default: {default})"
        sub.add_argument(f"--{name}", nargs="+", default=[default], help=text)
    sizes = ["ml-1m", "gowalla", "million"]
    sub.add_argument("--size", nargs="+", choices=sizes, default=["ml-1m"])
    sub.add_argument("--rounds", type=int, default=200, help="rounds to time (default: 200)")
    text = (
        "also time this many rounds of the plain client-by-client version, if the methods have "
        "one (default: none)"
    )
    sub.add_argument("--reference", type=int, default=0, metavar="ROUNDS", help=text)
    sub.add_argument("--output", type=Path, help="write the results to this file (.json)")
    text = "also time each case with 2, 4 and 8 times the items, users and clients; plot the times"
    sub.add_argument("--plot", type=Path, metavar="PNG", help=text)
    text = "show two files of results side by side, without timing anything"
    sub.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help=text)
    text = "pretend: count the work of a GPU without timing it; needs no GPU"
    sub.add_argument(
        "--device", nargs="+", choices=[*DEVICES, PRETEND], default=["auto"], help=text
    )
    sub.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


def bench(args: argparse.Namespace) -> None:
    """Time rounds and their parts on synthetic data, and compare with the machine's limits."""
    from fedrec.bench.machine import measure_machine
    from fedrec.bench.measure import Effort, apart, measure
    from fedrec.bench.report import Benchmark, comparison, describe, lines, table_lines

    if args.compare:
        return print_lines(comparison(*map(Benchmark.read, args.compare)))
    if PRETEND in args.device:
        return _count(args)
    cases, effort = _bench_cases(args), Effort(rounds=args.rounds, reference=args.reference)
    machines = [apart(measure_machine, device, args.threads) for device in _devices(args)]
    print_lines(map(describe, machines))
    made = Benchmark(machines=machines, results=[])
    results = map(made.add, measure(cases, effort))
    print_lines(table_lines(results, made) if len(cases) > 1 else lines(next(results), machines[0]))
    if args.output:
        made.write(args.output)
    if args.plot:
        from fedrec.bench.scaling import draw

        draw(made).savefig(args.plot)


def _count(args: argparse.Namespace) -> None:
    """Count the work of a GPU, without timing it.

    Raises:
        ConfigError: the arguments also ask for a timing.
    """
    from fedrec.bench.counted import count_case, counted_lines
    from fedrec.bench.report import Benchmark

    if args.device != [PRETEND] or args.plot:
        raise ConfigError("--device pretend times nothing: leave out other devices and --plot")
    made = Benchmark(machines=[], results=[])
    print_lines(counted_lines(map(made.count, map(count_case, _bench_cases(args)))))
    if args.output:
        made.write(args.output)


def _bench_cases(args: argparse.Namespace) -> "list[Case]":
    """Return every combination of the devices, sizes, models, defences and attacks given."""
    from fedrec.bench.cells import Case
    from fedrec.bench.scaling import growth
    from fedrec.config.study import Study

    defenses, attacks = args.defense, args.attack
    if args.grid:
        defenses = list(Study.load("config/paper.yaml").defenses)
        attacks = ["NoAttack", "ClusterAttack"]
    wanted = product(_devices(args), args.size, args.model, defenses, attacks)
    cases = [
        Case.of(model, attack, defense, size, device, args.threads)
        for device, size, model, defense, attack in wanted
    ]
    for case in cases:
        case.config()  # so that a wrong name ends the command before anything is timed
    return [grown for case in cases for grown in growth(case)] if args.plot else cases


def _devices(args: argparse.Namespace) -> list[str]:
    from fedrec.training.run import choose_device

    return [device if device == PRETEND else choose_device(device) for device in args.device]
