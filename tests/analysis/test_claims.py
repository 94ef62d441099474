"""Verdicts follow from records, and the claims file fits the study."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.analysis.claims import Arm, Claim, Claims, judge, scorecard, scorecard_table
from fedrec.analysis.evidence import Evidence, Finding
from fedrec.config import Study
from fedrec.config_errors import ConfigError
from fedrec.outline import Scorecard
from fedrec.records import Cell, Record
from tests.analysis.test_evidence import CONFIG, finding, uploads
from tests.builders import make_record

ROOT = Path(__file__).parents[2]
REGIONS = {"substantial": (10.0, np.inf), "better": (-np.inf, 0.0), "apart": (0.95, 1.0)}


HOLDS, FAILS, OPEN, ABSENT = (
    finding(1, 2), finding(20, 30), finding(-1, 1), finding(None, None, None)
)  # fmt: skip


@pytest.mark.parametrize(
    ("needs", "findings", "verdict"),
    [
        ("all", [HOLDS, HOLDS], "reproduced"),
        ("all", [HOLDS, OPEN], "inconclusive"),
        ("all", [HOLDS, ABSENT], "not run"),
        ("all", [HOLDS, OPEN, ABSENT, FAILS], "not reproduced"),  # one is enough
        ("any", [FAILS, OPEN, ABSENT, HOLDS], "reproduced"),  # one is enough
        ("any", [FAILS, ABSENT], "not run"),
        ("any", [FAILS, OPEN], "inconclusive"),
        ("any", [FAILS, FAILS], "not reproduced"),
    ],
)
def test_findings_make_a_verdict(needs: str, findings: list[Finding], verdict: str) -> None:
    assert judge(claim(needs=needs), findings) == verdict


def claim(needs: str = "all", **test: Any) -> Claim:
    test = {"kind": "loss", "of": {"attack": "Fang"}, "against": {}, "within": "better"} | test
    return Claim.model_validate(
        {"id": "c", "place": "p", "says": "s", "needs": needs, "test": test}, strict=False
    )


def evidence(records: list[Record], **card: Any) -> Evidence:
    counts = {"made-up": {"users": 10, "items": 5}}
    return Evidence(records, counts, Scorecard(**card), REGIONS, "last")


def arms(**values: list[float]) -> list[Record]:
    return [
        make_record(name, seed, [value])
        for name, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]


def test_a_loss_with_its_interval_over_seeds() -> None:
    shown = evidence(arms(NoAttack=[0.2, 0.3, 0.4], Fang=[0.1, 0.15, 0.2]))
    (found,) = claim(within="substantial").test.findings(shown)
    assert found.estimate == pytest.approx(50) and found.verdict == "reproduced"
    assert str(found).startswith("Fang against NoAttack, % lost: 50")


def test_lists_are_paired_each_with_each_or_in_turn() -> None:
    lists = {"of": {"attack": ["A", "B"]}, "against": {"attack": ["B", "C"]}}
    assert [f.what for f in claim(**lists).test.findings(evidence([]))] == [
        "A against B, % lost",
        "A against C, % lost",
        "B against C, % lost",  # B with itself says nothing
    ]
    turns = claim(**lists, pairing="in_turn").test.findings(evidence([]))
    assert [f.what for f in turns] == ["A against B, % lost", "B against C, % lost"]


def test_what_two_arms_share_is_said_first() -> None:
    of = {"attack": "Fang", "defense": "Krum+UNION"}
    against = {"attack": "Fang", "defense": "Krum"}
    (found,) = claim(of=of, against=against).test.findings(evidence([]))
    assert found.what == "Fang, Krum+UNION against Krum, % lost"


def test_another_dataset_may_take_the_place_of_the_claims() -> None:
    records = [make_record(name, 0, [0.1], dataset="made-up") for name in ("NoAttack", "Fang")]
    (found,) = claim().test.findings(evidence(records, datasets={"ml-1m": "made-up"}))
    assert found.estimate == 0
    assert found.records == (
        "made-up/MF/Fang/FedAvg/m0.01/seed0.json",
        "made-up/MF/NoAttack/FedAvg/m0/seed0.json",
    )
    (absent,) = claim().test.findings(evidence(records))
    assert absent.verdict == "not run"


def test_counts_are_exact() -> None:
    test = {"kind": "counts", "dataset": "ml-1m", "counts": {"users": 10, "items": 6, "x": 1}}
    card = {"datasets": {"ml-1m": "made-up"}}
    counted = Claim.model_validate({"id": "c", "place": "p", "says": "s", "test": test}).test
    found = [f.verdict for f in counted.findings(evidence([], **card))]
    assert found == ["reproduced", "not reproduced", "not run"]


def test_spreads_are_compared_seed_by_seed() -> None:
    near, far = {"attack": ["A", "B"]}, {"attack": ["C", "D"]}
    test = {"kind": "spread", "of": near, "than": far}
    spread = Claim.model_validate(
        {"id": "c", "place": "p", "says": "s", "test": test}, strict=False
    ).test
    records = arms(A=[0.2, 0.2], B=[0.2, 0.2], C=[0.1, 0.1], D=[0.3, 0.3])
    (found,) = spread.findings(evidence(records))
    # 0.1 and 0.3 spread by 0.1 √2 about 0.2; the others by nothing.
    assert found.estimate == pytest.approx(-100 * 0.5**0.5) and found.verdict == "reproduced"
    (gap,) = spread.findings(evidence(records[:2]))
    assert gap.verdict == "not run"


def test_uploads_are_judged_by_their_rounds() -> None:
    test = {"kind": "uploads", "measure": "separation", "within": "apart"}
    of = {"attack": "ClusterAttack", "defense": "UNION"}
    judged = Claim.model_validate(
        {"id": "c", "place": "p", "says": "s", "test": {**test, "of": of}}, strict=False
    ).test
    seen = uploads([True, False], [1.0, 2.0], [0.0, 0.0])
    record = make_record("ClusterAttack", defense="UNION").model_copy(
        update={"uploads": seen, "config": CONFIG}
    )
    (found,) = judged.findings(evidence([record]))
    assert (found.estimate, found.verdict) == (1.0, "reproduced")
    (gap,) = judged.findings(evidence([]))
    assert gap.verdict == "not run"


def test_the_scorecard_has_a_row_a_claim_and_counts_verdicts() -> None:
    claims = Claims.load(ROOT / "config" / "claims.yaml")
    card = scorecard(claims, Evidence([], {}, Scorecard(), claims.regions, "best_val"))
    assert len(card) == len(claims.claims) >= 25 and set(card.verdict) == {"not run"}
    assert card.why.iloc[0] == "3 of 3 numbers lack records"
    table = scorecard_table(card, ["A note."])
    assert table.shown.Verdict.iloc[0] == "not run (3 of 3 numbers lack records)"
    first, *_, last = table.notes
    assert (first, last) == (f"{len(card)} claims: {len(card)} not run.", "A note.")


def test_claims_have_names_of_their_own() -> None:
    claims = Claims.load(ROOT / "config" / "claims.yaml").claims
    assert len({c.id for c in claims}) == len(claims)


def test_the_study_runs_every_cell_that_a_claim_needs() -> None:
    claims = Claims.load(ROOT / "config" / "claims.yaml")
    study = Study.load(ROOT / "config" / "paper.yaml")
    made = {
        cell.model_copy(update={"seed": -1})
        for block in study.blocks().values()
        for cell in study.cells(block)
    }
    assert needed(claims) <= made


def needed(claims: Claims) -> set[Cell]:
    """The cells, of whatever seed, that claims name."""
    tests = [c.test for c in claims.claims]
    sides = [getattr(test, side, None) for test in tests for side in ("of", "against", "than")]
    return {cell for arm in sides if isinstance(arm, Arm) for cell in arm.cells()}


def test_an_unknown_region_is_an_error(tmp_path: Path) -> None:
    text = (ROOT / "config" / "claims.yaml").read_text()
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace("within: substantial", "within: substancial", 1))
    with pytest.raises(ConfigError, match=r"claims\.yaml: attack-mf: .*'substancial'"):
        Claims.load(path)


def test_a_malformed_claim_is_located(tmp_path: Path) -> None:
    text = (ROOT / "config" / "claims.yaml").read_text()
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace("place: Table 2", "plaice: Table 2", 1))
    with pytest.raises(ConfigError, match=r"claims\.yaml:\d+: claims\.0"):
        Claims.load(path)
