"""Every run is listed once, with how it ended and how it is made."""

from pathlib import Path

from fedrec.analysis.explorer.runs import Places, runs_of, tally
from fedrec.analysis.measure import Measure, seedless
from fedrec.plan.cells import cell_path
from tests.builders import make_record


def test_made_diverged_failed_and_missing_runs_are_told_apart(tmp_path: Path) -> None:
    made = make_record(seed=0, hr=[0.1, 0.3])
    diverged = make_record(seed=1, hr=[0.1, 0.0]).model_copy(update={"diverged_at": 250})
    failed, missing = (make_record(seed=seed).cell for seed in (2, 3))
    logs = {failed: "Training …\nfedrec train: no room left\n", missing: "0 of 400 rounds\n"}
    for cell, text in logs.items():
        log = tmp_path / f"{cell_path(cell)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
    wanted = [made.cell, diverged.cell, failed, missing]
    runs = runs_of([made, diverged], wanted, Measure(), Places(logs=tmp_path))
    expected = {"finished": 1, "diverged": 1, "stopped": 0, "failed": 1, "missing": 1}
    assert tally(runs) == expected
    (found,) = runs.values()
    assert [run.note for run in found] == ["", "in round 250", "no room left", ""]
    assert [(run.value, run.round) for run in found[:2]] == [(0.3, 400), (0.1, 200)]


def test_a_run_that_was_stopped_early_says_where() -> None:
    stopped = make_record(hr=[0.1, 0.3]).model_copy(
        update={"config": {"protocol": {"rounds": 600}}}
    )
    runs = runs_of([stopped], [stopped.cell], Measure(), Places())
    ((run,),) = runs.values()
    assert (run.state, run.note, tally(runs)["stopped"]) == ("stopped", "in round 400", 1)


def test_what_nobody_asked_for_is_listed_after_what_is_wanted() -> None:
    extra, wanted = make_record(attack="Fang"), make_record(seed=4).cell
    runs = runs_of([extra], [wanted], Measure(), Places())
    assert list(runs) == [seedless(wanted), seedless(extra.cell)]


def test_commands_are_quoted_and_links_lead_from_the_page_to_the_record() -> None:
    cell = make_record(attack="Gaussian & Co").cell
    path = cell_path(cell)
    fresh, packed = Places("r/runs", "snakemake", "../runs"), Places(record="records.jsonl.gz")
    assert fresh.made_by(cell) == f"snakemake 'r/runs/{path}'"
    assert (fresh.link(cell), packed.link(cell)) == (f"../runs/{path}", "records.jsonl.gz")
