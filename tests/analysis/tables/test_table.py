"""Tables: the paper's values stand beside ours, in every format."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from fedrec.analysis.summary import summarise
from fedrec.analysis.tables.attacks import attack_table, constants, formatted
from fedrec.analysis.tables.datasets import dataset_table, formatted_datasets
from fedrec.analysis.tables.notes import of_picture, of_records, of_summary
from fedrec.analysis.tables.table import Table, page
from tests.builders import make_record

PAPER = pd.read_csv(Path(__file__).parents[3] / "config" / "paper-values.csv")
METRICS = ("hr@5", "ndcg@5")


def table(dataset: str = "ml-1m") -> pd.DataFrame:
    arms = (("NoAttack", 0.036), ("ClusterAttack", 0.027))
    records = [
        make_record(attack, seed, [hr], dataset=dataset) for attack, hr in arms for seed in (0, 1)
    ]
    return attack_table(summarise(records, "best_val"), PAPER, METRICS)


def test_the_papers_degradation_follows_from_its_values() -> None:
    """Table 1 prints 30.94 % and 30.59 %."""
    rows = table().set_index(["attack", "metric"])
    assert rows.loc[("ClusterAttack", "hr@5")].paper == 0.02451
    assert rows.loc[("ClusterAttack", "hr@5")].paper_degradation == pytest.approx(30.94, abs=5e-3)
    assert rows.loc[("ClusterAttack", "ndcg@5")].paper_degradation == pytest.approx(30.59, abs=5e-3)


def test_the_shown_table_has_a_row_an_arm() -> None:
    shown = formatted(table()).set_index("Attack")
    assert list(shown.index) == ["NoAttack", "ClusterAttack"]
    row = shown.loc["ClusterAttack"]
    assert "Malicious" not in row and constants(table()) == "ml-1m, MF, FedAvg, 1 % malicious"
    assert row["Seeds"] == "2"
    assert row["HR@5 paper"] == "0.02451" and row["HR@5 paper: lost"] == "30.94 %"
    assert row["HR@5 ours"] == "0.02700 ± 0.00000" and row["HR@5 ours: lost"] == "25.00 % ± 0.00"
    assert shown.loc["NoAttack", "HR@5 ours: lost"] == "–"


def test_without_the_papers_values_its_columns_are_left_out() -> None:
    assert not [name for name in formatted(table("synthetic")) if "paper" in name]


def test_all_of_the_papers_values_are_there() -> None:
    counts = PAPER.groupby("table").size()
    # 14 rows × 4 columns; 2 datasets × 3 counts; 4; 2 × 5 with one baseline for both; 3 × 4
    assert counts.to_dict() == {
        "table-1": 56, "table-2": 6, "table-3": 4, "table-4": 9, "table-5": 12
    }  # fmt: skip


def test_datasets_in_the_papers_form() -> None:
    """Table 2's own row of ML-1M."""
    counts = {"ml-1m": {"users": 6040, "items": 3706, "interactions": 1000209}}
    repeats = {"ml-1m": {"users": 6040, "validation": 0, "test": 1200}}
    (row,) = formatted_datasets(dataset_table(counts, repeats, PAPER)).to_numpy().tolist()
    assert row == ["ml-1m", "6,040", "3,706", "1,000,209", "165.6", "4.47 %", "1,200", "yes"]


@pytest.mark.parametrize(("name", "verdict"), [("ml-1m", "no"), ("mine", "–")])
def test_other_counts_are_told(name: str, verdict: str) -> None:
    counts = {name: {"users": 10, "items": 3706, "interactions": 100}}
    repeats = {name: {"users": 10, "validation": 0, "test": 0}}
    shown = formatted_datasets(dataset_table(counts, repeats, PAPER))
    assert shown["As in the paper"].tolist() == [verdict]


def test_four_files_are_written(tmp_path: Path) -> None:
    values = table()
    made = Table("Attacks & defences", values, formatted(values), ["Beware of 5 % & more."])
    made.write(tmp_path / "table-1.csv")
    again = pd.read_csv(tmp_path / "table-1.csv")
    assert again["mean"].tolist() == values["mean"].tolist()
    markdown = (tmp_path / "table-1.md").read_text().splitlines()
    assert markdown[0] == "# Attacks & defences" and markdown[-1] == "Beware of 5 % & more."
    assert len({line.count("|") for line in markdown[2:6]}) == 1
    latex = (tmp_path / "table-1.tex").read_text()
    assert r"30.94 \%" in latex and r"\toprule" in latex and r"Attacks \& defences" in latex
    assert r"$\pm$" in latex and r"5 \% \& more" in latex
    page = (tmp_path / "table-1.html").read_text()
    assert "<title>Attacks &amp; defences</title>" in page and page.count("<tr") == 3


@pytest.mark.parametrize(
    ("hr", "agreement"),
    # 0.02451 in the paper: where five other seeds might lie by the noise of these, or not
    [((0.0240, 0.0252, 0.0246), "yes"), ((0.03, 0.0301, 0.0302), "no"), ((0.0245,), "–")],
)
def test_agreement_with_the_paper(hr: tuple[float, ...], agreement: str) -> None:
    records = [make_record("ClusterAttack", seed, [value]) for seed, value in enumerate(hr)]
    found = attack_table(summarise(records, "best_val"), PAPER, ("hr@5",))
    assert found.agreement.tolist() == [agreement]


def test_missing_seeds_are_shown() -> None:
    wanted = [make_record("Fang", seed).cell for seed in range(5)]
    summary = summarise([make_record("Fang", 0)], "best_val", wanted)
    (row,) = formatted(attack_table(summary, PAPER, METRICS)).to_dict("records")
    assert row["Seeds"] == "1 of 5"


def test_diverged_runs_are_shown() -> None:
    lost = make_record("Fang", 0).model_copy(update={"diverged_at": 7})
    summary = summarise([lost, make_record("Fang", 1)], "best_val")
    (row,) = formatted(attack_table(summary, PAPER, METRICS)).to_dict("records")
    assert row["Seeds"] == "2 (1 diverged)"


def test_stopped_runs_and_sums_are_shown() -> None:
    short = make_record("Fang", 0).model_copy(update={"config": {"protocol": {"rounds": 6000}}})
    wanted = [make_record("Fang", seed).cell for seed in range(5)]
    table = attack_table(
        summarise([short, make_record("Fang", 1)], "best_val", wanted), PAPER, METRICS
    )
    assert formatted(table).Seeds.tolist() == ["2 of 5 (1 stopped)"]
    counts = "Runs: 2 of 5, 3 missing; 0 diverged, 1 stopped before the last round."
    assert counts in of_summary(table, "")
    assert "Runs: 1; 0 diverged, 1 stopped before the last round." in of_records([short], "")


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        (["cpu", "cpu"], []),
        (["A card", "A card"], ["Made on A card."]),
        (["A card", "cpu"], ["Mixes records of 2 devices: A card, cpu."]),
        (["A card", "B card"], ["Mixes records of 2 devices: A card, B card."]),
    ],
)
def test_tables_and_pictures_say_which_devices_made_their_records(
    devices: list[str], told: list[str], tmp_path: Path
) -> None:
    """From records, and from a summary that was a file in between."""
    records = [make_record("Fang", seed, device=name) for seed, name in enumerate(devices)]
    wanted = [make_record("LIE").cell]  # an arm without record is of no device
    summarise(records, "best_val", wanted).to_csv(tmp_path / "summary.csv", index=False)
    table = attack_table(pd.read_csv(tmp_path / "summary.csv"), PAPER, METRICS)
    for notes in (of_summary(table, ""), of_records(records, "")):
        assert [note for note in notes if "on A" in note or "devices" in note] == told
    assert of_picture(records, "One seed.") == " ".join(["One seed.", *told])


def test_a_page_shows_markup_as_text() -> None:
    assert "<b>" not in page("<b>", "<b>", "<b>")


ENGINE = shutil.which("pdflatex")
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
\input{%s}
\end{document}
"""


@pytest.mark.skipif(ENGINE is None, reason="pdflatex is not installed")
def test_tables_compile(tmp_path: Path) -> None:
    values = table()
    hard = "100 % of α & β_1 #1 $x$ ≤ 3 – ± {a} ~ ^ \\ L̂ λ‖Θ‖² ⌈n·m%⌉ η ½"
    made = Table(hard, values, formatted(values).assign(Attack=hard), [hard])
    made.write(tmp_path / "table-1.csv")
    (tmp_path / "all.tex").write_text(DOCUMENT % "table-1.tex")
    command = [str(ENGINE), "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
