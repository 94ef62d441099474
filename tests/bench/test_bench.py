"""The benchmark: its data, what it reckons, and that it times what it says it does."""

from pathlib import Path

import numpy as np
import pytest

from fedrec.bench.cells import SIZES, Case, bench_split
from fedrec.bench.defense_work import server_work
from fedrec.bench.machine import Machine
from fedrec.bench.measure import Effort, Result, measure_case
from fedrec.bench.report import Benchmark, comparison, lines, table_lines
from fedrec.bench.scaling import draw, growth
from fedrec.bench.tally import Work, tally
from fedrec.bench.traffic import adam_work, round_work
from fedrec.cli.main import main
from fedrec.data.interactions import Counts
from fedrec.errors import ConfigError
from fedrec.federation import set_up

SMALL = Counts(users=100, items=40, interactions=1000)
MACHINE = Machine(device="cpu", threads=1, bandwidth=1e9, arithmetic=2e9)


def small_case(attack: str = "NoAttack", defense: str = "FedAvg", model: str = "MF") -> Case:
    case = Case.of(model, attack, defense, "ml-1m", "cpu", 1)
    return case.model_copy(update={"size": "small", "clients": 20, **vars(SMALL)})


def result(milliseconds: float, case: Case | None = None, reference: float | None = None) -> Result:
    return Result(
        case=case or small_case(),
        milliseconds=milliseconds,
        peak_memory_mb=100.0,
        parts={"server: step": 0.5},
        evaluation=7.0,
        work={"server: step": (1e5, 4e5)},
        reference=reference,
    )


def benchmark(*results: Result) -> Benchmark:
    return Benchmark(machines=[MACHINE], results=list(results))


def test_made_up_data_has_the_size_that_is_asked_for() -> None:
    size = Counts(users=500, items=300, interactions=10_000)
    split = bench_split(size)
    assert (split.n_users, split.n_items) == (500, 300)
    assert len(split.train) + 2 * 500 == pytest.approx(10_000, rel=0.05)
    for user in range(500):
        assert len(np.unique(split.history(user))) == len(split.history(user))


def test_adam_passes_seven_times_over_what_it_steps() -> None:
    """Gradient, parameter and two moments are read, the last three written: 28 bytes each."""
    assert adam_work(10.0) == Work(280.0, 120.0)


def test_work_grows_with_its_cause_alone() -> None:
    case = small_case()
    alone, twice = (_work(one) for one in (case, case.grown("users", 2)))
    assert twice["clients: own step"].bytes == 2 * alone["clients: own step"].bytes
    assert twice["server: step"] == alone["server: step"]
    attacked = _work(small_case("ClusterAttack", "NormBound+UNION"))
    assert attacked["clients: local gradients"] == alone["clients: local gradients"]
    assert attacked["clients: the defence's task"].operations > 0
    assert alone["clients: the defence's task"] == Work()


def _work(case: Case) -> dict[str, Work]:
    config = case.config()
    fed, _ = set_up(config, bench_split(case.counts()), "cpu")
    return round_work(config, tally(fed, config))


def test_a_limit_is_what_takes_longer_traffic_or_arithmetic() -> None:
    assert MACHINE.milliseconds(1e6, 1e6) == 1.0
    assert MACHINE.milliseconds(1e6, 4e6) == 2.0


def saved(case: Case, folder: Path) -> Path:
    bench_split(case.counts()).save(folder / "split.npz")
    return folder / "split.npz"


def test_a_case_is_timed(tmp_path: Path) -> None:
    case, effort = small_case("ClusterAttack", "MultiKrum+UNION"), Effort(rounds=2, reference=1)
    found = measure_case(case, effort, saved(case, tmp_path))
    assert found.milliseconds > 0 and found.evaluation > 0 and found.reference
    assert set(found.work) <= set(found.parts) | {"attack: forge"}
    text = "\n".join(lines(found, MACHINE))
    assert "clients: local gradients" in text and "speed-up" in text


def test_what_has_no_plain_version_is_timed_without(tmp_path: Path) -> None:
    case, effort = small_case(defense="RowMedian"), Effort(rounds=1, reference=1)
    found = measure_case(case, effort, saved(case, tmp_path))
    assert found.milliseconds > 0 and found.reference is None
    sentence = "there is no plain version of PerRow: leave out --reference"
    made = benchmark()
    for shown in (lines(found, MACHINE), table_lines([made.add(found)], made)):
        assert list(shown)[-1].strip().startswith(sentence)


def test_what_has_no_work_estimate_is_timed_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(  # as if Mean were a user's own defence
        "fedrec.bench.defense_work.server_work", server_work.dispatch(object)
    )
    case = small_case()
    found = measure_case(case, Effort(rounds=1), saved(case, tmp_path))
    assert found.milliseconds > 0 and found.work == {}


def test_a_method_beyond_the_paper_has_a_plain_version(tmp_path: Path) -> None:
    case = small_case("IPM", "CoordinateMedian")
    found = measure_case(case, Effort(rounds=1, reference=1), saved(case, tmp_path))
    assert found.reference and not found.no_reference


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = benchmark(result(3.0))
    made.write(tmp_path / "a.json")
    assert Benchmark.read(tmp_path / "a.json") == made
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"b\.json is not a benchmark"):
        Benchmark.read(tmp_path / "b.json")


def test_two_files_are_compared_case_by_case() -> None:
    other = result(9.0, small_case(defense="Krum"))
    text = list(comparison(benchmark(result(3.0)), benchmark(result(1.5), other)))
    assert "3.00" in text[1] and "1.50" in text[1] and "2.00" in text[1]
    assert not any("Krum" in line for line in text)


def test_a_name_that_no_study_has_ends_the_command_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "--attack", "ClusterAtack", "--reference", "1"]) == 1
    assert "did you mean `ClusterAttack`?" in capsys.readouterr().err


def test_the_command_compares_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / name) for name in ("before.json", "after.json")]
    for file, milliseconds in zip(files, (3.0, 1.5), strict=True):
        benchmark(result(milliseconds)).write(Path(file))
    assert main(["bench", "--compare", *files]) == 0
    assert "2.00" in capsys.readouterr().out


def test_a_table_sets_each_time_against_the_plain_cell_the_limit_and_the_plain_version() -> None:
    made = benchmark()
    plain, krum = result(2.0), result(3.0, small_case(defense="Krum"), reference=60.0)
    *_, last = table_lines(map(made.add, (plain, krum)), made)
    # 1.5 times FedAvg, 15 times its limit of 0.2 ms, 20 times as fast as the plain version
    assert last.split()[-4:] == ["1.50", "15.00", "20.00", "100"]


def test_growth_is_drawn_against_linear_cost() -> None:
    cases = growth(small_case())
    assert len(cases) == 12
    assert [case.items for case in cases[:4]] == [40, 80, 160, 320]
    made = benchmark(*(result(1.0 + i, case) for i, case in enumerate(cases)))
    figure = draw(made)
    first, linear = figure.axes[0].lines
    assert list(first.get_ydata()) == [1.0, 2.0, 3.0, 4.0]
    assert list(linear.get_ydata()) == [1, 2, 4, 8]


def test_the_sizes_are_the_papers() -> None:
    assert SIZES["ml-1m"] == Counts(users=6040, items=3706, interactions=1_000_209)
