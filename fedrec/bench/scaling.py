"""Cost by size: rounds with more items, users or clients than the case has."""

import re

from matplotlib.figure import Figure

from fedrec.bench.cells import Case
from fedrec.bench.report import Benchmark

GROWN, FACTORS = ("items", "users", "clients"), (1, 2, 4, 8)


def growth(case: Case) -> list[Case]:
    """Return the case with its items, users and clients multiplied, one at a time."""
    return [case.grown(what, factor) for what in GROWN for factor in FACTORS]


def draw(benchmark: Benchmark) -> Figure:
    """Plot the time of a round by size, both as multiples; a line of slope 1 is linear cost."""
    figure = Figure(figsize=(9, 3.2), layout="constrained", dpi=150)
    for axes, what in zip(figure.subplots(1, len(GROWN), sharey=True), GROWN, strict=True):
        for name, times in _curves(benchmark, what).items():
            axes.plot(list(times), [t / times[1] for t in times.values()], "o-", label=name)
        axes.plot(FACTORS, FACTORS, ":", color="grey", label="linear")
        axes.set(xscale="log", yscale="log", xticks=FACTORS, yticks=FACTORS, title=what)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(FACTORS, [f"{factor} ×" for factor in FACTORS])
            axis.minorticks_off()
    axes.legend(fontsize="small")
    figure.supylabel("time of a round")
    return figure


def _curves(benchmark: Benchmark, what: str) -> dict[str, dict[int, float]]:
    """Return milliseconds by factor, for each cell with this quantity multiplied."""
    curves: dict[str, dict[int, float]] = {}
    for result in benchmark.results:
        found = re.search(rf", {what} x (\d+)$", result.case.size)
        if found:
            name = f"{result.case.model}, {result.case.defense}, {result.case.attack}"
            curves.setdefault(name, {})[int(found[1])] = result.milliseconds
    return curves
