"""Counts of a GPU's work in a round, measured on a simulated GPU (`bench.pretend`)."""

from collections.abc import Iterable, Iterator
from itertools import islice

from fedrec.bench.cells import Case, bench_split
from fedrec.bench.pretend import Counts, pretending
from fedrec.federation import Federation, play_round, set_up
from fedrec.kernels.threads import prepare
from fedrec.plan.cells import BASELINE
from fedrec.settings import RecordPart

WARM_UP = 2  # rounds that also do work that is needed only once
ENOUGH, AT_MOST = 5, 100  # rounds counted, rounds run at most: costs differ little


class Counted(RecordPart):
    """The average cost of a round of a case."""

    case: Case
    rounds: int  # number of rounds averaged
    operations: float
    synchronisations: float
    copies: float
    megabytes: float  # copied


def count_case(case: Case) -> Counted:
    """Count some rounds of a case; if it has an attack, only those with a malicious client."""
    prepare(1)
    split = bench_split(case.counts())
    with pretending() as counts:
        fed, _ = set_up(case.config(), split, "cuda")
        rounds = list(islice(_rounds(fed, counts, case.attack != BASELINE), ENOUGH))
    return average(case, rounds)


def average(case: Case, rounds: list[Counts]) -> Counted:
    """Return the means over some rounds; zeros if there are none."""
    n = max(len(rounds), 1)
    return Counted(
        case=case,
        rounds=len(rounds),
        operations=sum(one.operations for one in rounds) / n,
        synchronisations=sum(one.synchronisations for one in rounds) / n,
        copies=sum(one.copies for one in rounds) / n,
        megabytes=sum(one.copied_bytes for one in rounds) / n / 1e6,
    )


def _rounds(fed: Federation, counts: Counts, attacked: bool) -> Iterator[Counts]:
    """Yield the counts of each round that qualifies."""
    for number in range(1, AT_MOST + 1):
        before = counts.snapshot()
        played = play_round(fed, number)
        found = counts - before
        if number > WARM_UP and bool(played.malicious.any()) >= attacked:
            yield found


def counted_lines(results: Iterable[Counted]) -> Iterator[str]:
    """Yield a line for each case, as soon as it is counted."""
    yield (
        f"{'a round':60s}{'operations':>12s}{'synchronisations':>18s}{'copies':>8s}"
        f"{'MB copied':>11s}{'rounds':>8s}"
    )
    for result in results:
        yield (
            f"{result.case.name:60s}{result.operations:12.1f}{result.synchronisations:18.1f}"
            f"{result.copies:8.1f}{result.megabytes:11.3f}{result.rounds:8d}"
        )
