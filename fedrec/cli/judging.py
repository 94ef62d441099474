"""The `status`, `claim` and `compare` subcommands, which evaluate records."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import add_config, print_lines, stage_of
from fedrec.cli.kept import Kept
from fedrec.cli.text import columns
from fedrec.errors import ConfigError
from fedrec.plan.blocks import Scorecard
from fedrec.plan.cells import Cell, cell_named, cell_path
from fedrec.plan.metrics import METRICS
from fedrec.plan.plan import Plan
from fedrec.records import Record, read_record
from fedrec.yaml_files import nearest_name

if TYPE_CHECKING:  # importing them takes a while
    from fedrec.analysis.claims import Claim, Claims
    from fedrec.config.study import Study

STATES = ("done", "diverged", "outdated", "failed", "half-way", "missing")
TO_MAKE = ("outdated", "failed", "half-way", "missing")
SHOWN_FAILURES = 5


def add_to(stages: Any) -> None:
    """Add the subcommands to the parser."""
    stage = stage_of(stages)
    add_config(stage("status", status))

    sub = stage("claim", claim)
    sub.add_argument("id", metavar="ID", help="a claim; `fedrec list claims` lists them")
    sub.add_argument(
        "--run", action="store_true", dest="make", help="make the missing records first"
    )
    text = "ignore published records of this claim: with --run, train every run here"
    sub.add_argument("--again", action="store_true", help=text)
    sub.add_argument("--cores", default="all", help="parallel jobs with --run (default: all)")
    add_config(sub)

    sub = stage("compare", compare)
    text = "a record's file, or a cell such as ml-1m/MF/Fang"
    sub.add_argument("records", metavar="RECORD", nargs=2, help=text)
    add_config(sub)


# Status


@dataclass(frozen=True)
class State:
    """The state of a cell."""

    name: str  # one of STATES
    message: str = ""  # the error, if the run failed


def status(args: argparse.Namespace) -> None:
    """Count the finished and missing cells of each table and figure, and estimate the time left.

    `done` counts the study's own and the published records with the config's settings; `diverged`
    runs are done as well. `outdated` records were made with other settings, `half-way` runs left a
    checkpoint, and `failed` runs left a message in their logs. Times are for one CPU thread, as in
    the records. For example:

      fedrec status
      fedrec status --config config/demo.yaml
    """
    from fedrec.config.study import Study

    study = Study.load(*args.config)
    states, records = _states(study), list(Kept.of(study).published().values())
    rows = [["", *STATES, "time left"]]
    for name, block in study.blocks().items():
        rows.append(_status_row(name, study.cells(block), states, records))
    rows.append(_status_row("all together", list(states), states, records))
    print_lines(columns(rows, right=range(1, 9)))
    failed = [(cell, state) for cell, state in states.items() if state.name == "failed"]
    for cell, state in failed[:SHOWN_FAILURES]:
        print(f"failed: {cell_path(cell)}: {state.message}")
    if len(failed) > SHOWN_FAILURES:
        print(f"and {len(failed) - SHOWN_FAILURES} more: {study.results}/logs/runs/")


def _states(study: "Study") -> dict[Cell, State]:
    """Return the state of every cell of a study."""
    kept = Kept.of(study)
    cells = study.distinct(cell for block in study.blocks().values() for cell in study.cells(block))
    found = kept.some(cells)
    return {cell: _state(study, kept, cell, found.get(cell)) for cell in cells}


def _state(study: "Study", kept: Kept, cell: Cell, record: Record | None) -> State:
    if record and record.config_hash == study.cell_config(cell).digest:
        return State("done" if record.diverged_at is None else "diverged")
    if record:
        return State("outdated")
    path = kept.path(cell)
    if path.with_name(f"{path.name}.checkpoint").exists():
        return State("half-way")
    log = kept.results / "logs" / "runs" / f"{cell_path(cell)}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    last = next((line for line in reversed(lines) if line.startswith("fedrec train: ")), "")
    return State("failed", last.removeprefix("fedrec train: ")) if last else State("missing")


def _status_row(
    name: str, cells: Sequence[Cell], states: Mapping[Cell, State], records: Sequence[Record]
) -> list[str]:
    from fedrec.analysis.effort import effort

    counts = Counter(states[cell].name for cell in cells)
    left = effort((cell for cell in cells if states[cell].name in TO_MAKE), records)
    return [name, *(str(counts[state] or "–") for state in STATES), left.time or "–"]


# One claim


def claim(args: argparse.Namespace) -> None:
    """Show one of the paper's claims, its test, its verdict so far, and its records.

    For missing records, the output has the command that makes them, and their time and disk space.
    For example:

      fedrec claim attack-mf
      fedrec claim attack-sasrec --run
      fedrec claim attack-mf --run --again
    """
    from fedrec.config.study import Study

    study = Study.load(*args.config)
    card = study.claims or Scorecard()
    claims, one = _claim(Path(card.file), args.id)
    wanted = _cells_of(study, one, card)

    def judge() -> list[Cell]:
        """Print the verdict, and return the cells without a record."""
        there = Kept.of(study).some(wanted, published=not args.again)
        print_lines(_judged_lines(study, claims, one, card, there))
        return [cell for cell in wanted if cell not in there]

    missing = judge()
    print_lines(_missing_lines(study, wanted, missing, args))
    if args.make and missing:
        _make(study, missing, args)
        judge()


def _claim(file: Path, wanted: str) -> "tuple[Claims, Claim]":
    from fedrec.analysis.claims import Claims

    claims = Claims.load(file)
    known = {claim.id: claim for claim in claims.claims}
    if wanted not in known:
        raise ConfigError(f"no claim {wanted!r} in {file}{nearest_name(wanted, known)}")
    return claims, known[wanted]


def _cells_of(study: "Study", claim: "Claim", card: Scorecard) -> list[Cell]:
    """Return a claim's cells with the study's seeds and the study's names of its datasets."""
    arms = [*claim.test.cells(), *(claim.beside.cells() if claim.beside else ())]
    names = {arm: card.datasets.get(arm.dataset, arm.dataset) for arm in arms}
    return list(
        dict.fromkeys(
            arm.model_copy(update={"seed": seed, "dataset": names[arm]})
            for arm in arms
            for seed in study.seeds
        )
    )


def _judged_lines(
    study: "Study",
    claims: "Claims",
    claim: "Claim",
    card: Scorecard,
    there: Mapping[Cell, Record],
) -> Iterator[str]:
    """Yield a claim, its test, and the verdict of its records."""
    from fedrec.analysis.claims import criterion
    from fedrec.analysis.evidence import Evidence
    from fedrec.analysis.measure import Measure
    from fedrec.analysis.scorecard import judged
    from fedrec.analysis.summary import devices
    from fedrec.analysis.tables.notes import made_on

    listed = (cell for block in study.blocks().values() for cell in study.cells(block))
    # The noise of a result is estimated from all arms together, so other arms' records count too.
    own = set(_cells_of(study, claim, card))
    others = Kept.of(study).some(dict.fromkeys(cell for cell in listed if cell not in own))
    records = [*others.values(), *there.values()]
    evidence = Evidence(records, _counts(study), card, Measure(report=study.report))
    findings = list(claim.test.findings(evidence, claims.regions))
    verdict, why = judged(claims, claim, findings)
    yield f"{claim.id} ({claim.place}): {claim.says}"
    yield f"  decided by: {criterion(claims, claim, len(findings))}"
    yield f"  so far: {verdict}" + (f" ({why})" if why else "")
    yield from (f"    {finding}" for finding in findings)
    if told := made_on(devices(list(there.values()))):
        yield f"  {told}"


def _counts(study: "Study") -> Mapping[str, Mapping[str, int]]:
    """Return the counts of the study's datasets that exist so far."""
    from fedrec.data.interactions import Counts
    from fedrec.data.statistics import load_statistics

    results, found = Path(study.results), {}
    for home in (results / "published", results):
        for path in (home / "data").glob("*/counts.json"):
            found[path.parent.name] = vars(load_statistics(Counts, path))
    return found


def _missing_lines(
    study: "Study", wanted: Sequence[Cell], missing: Sequence[Cell], args: argparse.Namespace
) -> Iterator[str]:
    """Yield how many records exist, and how to make the rest."""
    from fedrec.analysis.effort import effort
    from fedrec.cli.workflow import command

    yield f"  records: {len(wanted) - len(missing)} of {len(wanted)} exist"
    if missing:
        takes = effort(missing, list(Kept.of(study).published().values()))
        needs = f"they take {takes.time}, and {takes.disk} of disk"
        yield f"  missing: {len(missing)}; {needs}; to make them:"
    listed, others = _by_maker(study, missing)
    if listed:
        yield f"    {command(_targets(study, listed), args.config)}"
    for cell in others:
        yield f"    fedrec run {cell_path(cell)}"


def _targets(study: "Study", cells: Iterable[Cell]) -> list[str]:
    """Return the cells' files for a shell, with one arm's seeds together: `seed{0,1}.json`."""
    seeds: dict[str, list[str]] = {}
    for cell in cells:
        seeds.setdefault(cell_path(cell).rpartition("/")[0], []).append(str(cell.seed))
    found = (
        (arm, f"{{{','.join(some)}}}" if len(some) > 1 else some[0]) for arm, some in seeds.items()
    )
    return [f"{study.results}/runs/{arm}/seed{some}.json" for arm, some in found]


def _by_maker(study: "Study", cells: Iterable[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Return the cells that the workflow makes, and the others."""
    listed = {cell for block in study.blocks().values() for cell in study.cells(block)}
    some = list(cells)
    return [c for c in some if c in listed], [c for c in some if c not in listed]


def _make(study: "Study", cells: Sequence[Cell], args: argparse.Namespace) -> None:
    """Make records, with the workflow and in parallel if it lists their cells."""
    from fedrec.cli.running import simulated
    from fedrec.cli.workflow import made

    listed, others = _by_maker(study, cells)
    for cell in others:
        study.check_cell(cell)
    if listed:
        targets = [f"{study.results}/runs/{cell_path(cell)}" for cell in listed]
        made(targets, args.config, args.cores, quiet="rules")
    run = argparse.Namespace(
        config=args.config, again=False, save_every=120.0, device="auto", threads=1
    )
    for cell in others:
        simulated(study, cell, run)


# Two records


def compare(args: argparse.Namespace) -> None:
    """Compare two records: metrics, settings that differ, and the first round that differs.

    For example:

      fedrec compare ml-1m/MF/ClusterAttack ml-1m/MF/ClusterAttack/FedAvg/m0.01/seed1
      fedrec compare record.json results/runs/ml-1m/MF/Fang/FedAvg/m0.01/seed0.json
    """
    a, b = (_record(text, args.config) for text in args.records)
    report = _plan(args.config).report if all(path.exists() for path in args.config) else "best_val"
    values = [[r.reported(metric, report) for r in (a, b)] for metric in METRICS]
    rows = [
        [metric.upper(), f"{x:.4f}", f"{y:.4f}", f"{100 * (y / x - 1):+.1f} %" if x else "–"]
        for metric, (x, y) in zip(METRICS, values, strict=True)
    ]
    print(f"A: {cell_path(a.cell)}\nB: {cell_path(b.cell)}")
    print_lines(columns([["", "A", "B", "change"], *rows], right=(1, 2, 3)))
    print_lines(_difference_lines(a, b))


def _difference_lines(a: Record, b: Record) -> Iterator[str]:
    """Yield the settings that differ, and the first difference of the trajectories."""
    from fedrec.training.verification import first_parting

    here, there = (
        dict(_flat({**r.config, "data": r.dataset_checksum[:12], **_made_by(r)})) for r in (a, b)
    )
    names = [n for n in dict.fromkeys([*here, *there]) if here.get(n, "–") != there.get(n, "–")]
    rows = [[name, str(here.get(name, "–")), str(there.get(name, "–"))] for name in names]
    yield "settings that differ:" if rows else "the same settings, data and versions"
    yield from columns(rows, indent="  ") if rows else ()
    parted = first_parting(a, b)
    if parted:
        number, name, x, y = parted
        yield f"the trajectories first differ in round {number}, {name}: {x} and {y}"
    else:
        yield "the trajectories are bit-identical"


def _made_by(record: Record) -> dict[str, Any]:
    return {"made by": record.provenance.model_dump()}


def _flat(values: Mapping[str, Any] | Sequence[Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its path, such as `attack.clusters`."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in items:
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping | list):
            yield from _flat(value, name)
        else:
            yield name, value


def _record(text: str, configs: Sequence[Path]) -> Record:
    """Return the record in a file, or that of a cell."""
    path = Path(text)
    return read_record(path) if path.is_file() else Kept.of(_plan(configs)).one(cell_named(text))


def _plan(configs: Sequence[Path]) -> Plan:
    from fedrec.extending import read

    full = read(*configs)
    return Plan.read(full.values)
