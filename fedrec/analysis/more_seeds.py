"""How many seeds would decide an open claim, and which runs the next look needs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

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
    """Return the numbers that keep a claim open: undecided at the Bonferroni-corrected level."""
    return [finding for finding in findings if finding.open(level / len(findings))]


def seeds_to_decide(
    findings: Sequence[Finding], needed: int, level: float, affordable: int
) -> int | None:
    """Return the fewest seeds that would decide a claim if estimates stayed the same.

    None if more than `affordable` would be needed. Decided numbers keep their seeds.
    """
    growing = open_ones(findings, level)
    first = min((finding.seeds for finding in growing), default=0)
    for seeds in range(first + 1, affordable + 1):
        grown = [_grown(f, seeds) if f in growing else f for f in findings]
        if decide(grown, needed, level) != "inconclusive":
            return seeds
    return None


def _grown(finding: Finding, seeds: int) -> Finding:
    """Return a finding as it would be with more seeds."""
    if finding.seeds >= seeds:
        return finding
    error = finding.error * np.sqrt(finding.seeds / seeds)
    return replace(finding, error=float(error), df=finding.df + seeds - finding.seeds)


def step(
    claim: str, findings: Sequence[Finding], seeds: int, level: float, records: Sequence[Record]
) -> Step:
    """Return the runs that give each open number `seeds` seeds."""
    arms = dict.fromkeys(arm for finding in open_ones(findings, level) for arm in finding.arms)
    there = {record.cell for record in records}
    wanted = [arm.model_copy(update={"seed": seed}) for arm in arms for seed in range(seeds)]
    cells = tuple(cell for cell in wanted if cell not in there)
    hours = sum(seconds_of(cell, records) or 0.0 for cell in cells) / 3600
    return Step(claim, seeds, cells, hours)


def cheapest_first(steps: Iterable[Step]) -> list[Step]:
    """Order steps by the time each still takes after the steps before it."""
    left, ordered, done = list(steps), list[Step](), set[Cell]()
    while left:
        rest = [_without(step, done) for step in left]
        cheapest = min(rest, key=lambda step: step.hours)
        del left[rest.index(cheapest)]
        ordered.append(cheapest)
        done |= set(cheapest.cells)
    return ordered


def lines(steps: Sequence[Step], looks: Sequence[int]) -> Iterable[str]:
    """Yield a plan as text."""
    seeds, each = ", then ".join(map(str, looks)), f"each at 5 % / {len(looks)} (Bonferroni)"
    yield f"# Looks at {seeds} seeds, {each}; what one decides stays."
    for one in steps:
        yield f"# {one.claim}: {one.seeds} seeds, {len(one.cells)} runs, {one.hours:.1f} hours"
        yield from map(cell_path, one.cells)


def _without(step: Step, done: set[Cell]) -> Step:
    """Return a step without the runs that are already planned."""
    cells = tuple(cell for cell in step.cells if cell not in done)
    share = len(cells) / len(step.cells) if step.cells else 0.0
    return replace(step, cells=cells, hours=step.hours * share)


def seconds_of(cell: Cell, records: Sequence[Record]) -> float | None:
    """Estimate a run's seconds as the median of similar runs, or return None.

    Similar runs are those of its arm, else of its dataset, model and defence, else of its dataset
    and model. None if there are none.
    """
    alike: Sequence[Sequence[str]] = (
        [name for name in Cell.model_fields if name != "seed"],
        ["dataset", "model", "defense"],
        ["dataset", "model"],
    )
    for names in alike:
        of = attrgetter(*names)
        found = [record.cost.seconds for record in records if of(record.cell) == of(cell)]
        if found:
            return float(np.median(found))
    return None
