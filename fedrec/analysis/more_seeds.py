"""How many seeds would decide what is open, and which runs the next look takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedrec.analysis.verdict import Finding, decide
from fedrec.plan.cells import Cell, cell_path
from fedrec.records import Record


@dataclass(frozen=True)
class Step:
    """The runs of a claim's next look."""

    claim: str
    seeds: int  # of each arm whose number is open
    cells: tuple[Cell, ...]
    hours: float


def open_ones(findings: Sequence[Finding], level: float) -> list[Finding]:
    """The numbers that keep a claim open: not decided at a level that many looks would need."""
    return [finding for finding in findings if finding.open(level / len(findings))]


def seeds_to_decide(
    findings: Sequence[Finding], needed: int, level: float, affordable: int
) -> int | None:
    """The fewest seeds at which a claim is decided, if estimates stayed; None beyond what is left.

    Numbers that are decided keep their seeds.
    """
    growing = open_ones(findings, level)
    first = min((finding.seeds for finding in growing), default=0)
    for seeds in range(first + 1, affordable + 1):
        grown = [_grown(f, seeds) if f in growing else f for f in findings]
        if decide(grown, needed, level) != "inconclusive":
            return seeds
    return None


def _grown(finding: Finding, seeds: int) -> Finding:
    """A number as it would be with more seeds."""
    if finding.seeds >= seeds:
        return finding
    error = finding.error * np.sqrt(finding.seeds / seeds)
    return replace(finding, error=float(error), df=finding.df + seeds - finding.seeds)


def step(
    claim: str, findings: Sequence[Finding], seeds: int, level: float, records: Sequence[Record]
) -> Step:
    """The runs that give each open number so many seeds."""
    arms = dict.fromkeys(arm for finding in open_ones(findings, level) for arm in finding.arms)
    there = {record.cell for record in records}
    wanted = [arm.model_copy(update={"seed": seed}) for arm in arms for seed in range(seeds)]
    cells = tuple(cell for cell in wanted if cell not in there)
    hours = sum(seconds_of(cell, records) or 0.0 for cell in cells) / 3600
    return Step(claim, seeds, cells, hours)


def cheapest_first(steps: Iterable[Step]) -> list[Step]:
    """Steps in order of what each still takes, given those before it."""
    left, ordered, done = list(steps), list[Step](), set[Cell]()
    while left:
        rest = [_without(step, done) for step in left]
        cheapest = min(rest, key=lambda step: step.hours)
        del left[rest.index(cheapest)]
        ordered.append(cheapest)
        done |= set(cheapest.cells)
    return ordered


def lines(steps: Sequence[Step], looks: Sequence[int]) -> Iterable[str]:
    """A plan to be read."""
    seeds, each = ", then ".join(map(str, looks)), f"each at 5 % / {len(looks)} (Bonferroni)"
    yield f"# Looks at {seeds} seeds, {each}; what one decides stays."
    for one in steps:
        yield f"# {one.claim}: {one.seeds} seeds, {len(one.cells)} runs, {one.hours:.1f} hours"
        yield from map(cell_path, one.cells)


def _without(step: Step, done: set[Cell]) -> Step:
    """A step without the runs that are planned already."""
    cells = tuple(cell for cell in step.cells if cell not in done)
    share = len(cells) / len(step.cells) if step.cells else 0.0
    return replace(step, cells=cells, hours=step.hours * share)


def seconds_of(cell: Cell, records: Sequence[Record]) -> float | None:
    """What a run may take: as others of its arm did, or of its dataset, model and defence.

    None where there is no record of its dataset and model.
    """
    alike: Sequence[Mapping[str, object]] = (
        cell.model_dump(exclude={"seed"}),
        cell.model_dump(include={"dataset", "model", "defense"}),
        cell.model_dump(include={"dataset", "model"}),
    )
    for names in alike:
        found = [r.cost.seconds for r in records if names.items() <= r.cell.model_dump().items()]
        if found:
            return float(np.median(found))
    return None
