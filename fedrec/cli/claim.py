"""The `claim` subcommand: one claim, its verdict, and the records that decide it."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import add_config, print_lines, stage_of
from fedrec.cli.kept import Kept
from fedrec.errors import ConfigError
from fedrec.plan.blocks import Scorecard
from fedrec.plan.cells import Cell, cell_path
from fedrec.records import Record
from fedrec.yaml_files import nearest_name

if TYPE_CHECKING:  # importing them takes a while
    from fedrec.analysis.claims import Claim, Claims
    from fedrec.config.study import Study


def add_to(stages: Any) -> None:
    """Add the subcommand to a parser's."""
    stage = stage_of(stages)
    sub = stage("claim", claim)
    sub.add_argument("id", metavar="ID", help="a claim; `fedrec list claims` lists them")
    sub.add_argument(
        "--run", action="store_true", dest="make", help="make the missing records first"
    )
    text = "ignore published records of this claim: with --run, train every run here"
    sub.add_argument("--again", action="store_true", help=text)
    sub.add_argument("--cores", default="all", help="parallel jobs with --run (default: all)")
    add_config(sub)


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
        made(targets, args.config, args.cores)
    run = argparse.Namespace(
        config=args.config, again=False, save_every=120.0, device="auto", threads=1
    )
    for cell in others:
        simulated(study, cell, run)
