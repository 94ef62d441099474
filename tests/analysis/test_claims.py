"""Verdicts follow from records, and the claims file fits the study."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fedrec.analysis.claims import Claim, Claims
from fedrec.analysis.evidence import Evidence
from fedrec.analysis.measure import Measure, measures
from fedrec.analysis.scorecard import Look, judged, looks, plan, scorecard
from fedrec.analysis.tables.claims import scorecard_table, secondary_table
from fedrec.analysis.verdict import Finding
from fedrec.config.study import Study
from fedrec.errors import ConfigError
from fedrec.plan.blocks import Scorecard
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.variants import Variant
from fedrec.records import Record, Uploads
from tests.analysis.test_evidence import arms, evidence
from tests.builders import make_record

ROOT = Path(__file__).parents[2]
CLAIMS = Claims.load(ROOT / "config" / "claims.yaml")
REGIONS = {"substantial": (10.0, np.inf), "better": (-np.inf, 0.0), "apart": (0.95, np.inf)}


def claim(needs: str = "all", **test: Any) -> Claim:
    test = {"kind": "loss", "of": {"attack": "Fang"}, "against": {}, "within": "better"} | test
    return Claim.model_validate(
        {"id": "c", "place": "p", "says": "s", "needs": needs, "test": test}, strict=False
    )


def found(one: Claim, shown: Evidence) -> list[Finding]:
    return list(one.test.findings(shown, REGIONS))


def test_lists_are_paired_each_with_each_or_in_turn() -> None:
    lists = {"of": {"attack": ["A", "B"]}, "against": {"attack": ["B", "C"]}}
    assert [f.what for f in found(claim(**lists), evidence([]))] == [
        "A against B, % lost",
        "A against C, % lost",
        "B against C, % lost",  # B with itself says nothing
    ]
    turns = found(claim(**lists, pairing="in_turn"), evidence([]))
    assert [f.what for f in turns] == ["A against B, % lost", "B against C, % lost"]


def test_its_own_is_the_same_defence_without_attack() -> None:
    """Not the undefended run, from which a costly defence would be far without any attack."""
    records = arms(NoAttack=[0.2, 0.21], Fang=[0.2, 0.21])
    for attack in ("NoAttack", "Fang"):
        records += [make_record(attack, s, [0.1 + s / 100], defense="Krum") for s in (0, 1)]
    of = {"attack": "Fang", "defense": "Krum"}
    (own,) = found(claim(of=of, against="own"), evidence(records))
    (plain,) = found(claim(of=of), evidence(records))
    assert own.estimate == pytest.approx(0) and plain.estimate == pytest.approx(100 * 20 / 41)
    assert own.what == "Krum, Fang against NoAttack, % lost"
    compares = claim(of=of, against="own").test.compares()
    assert compares.startswith("against the same defence without attack")
    assert claim(of=of).test.compares() == "against no attack and no defence"


def test_another_dataset_may_take_the_place_of_the_claims() -> None:
    records = [make_record(name, 0, [0.1], dataset="made-up") for name in ("NoAttack", "Fang")]
    (one,) = found(claim(), evidence(records, datasets={"ml-1m": "made-up"}))
    assert one.estimate == 0
    assert one.records == (
        "made-up/MF/Fang/FedAvg/m0.01/seed0.json",
        "made-up/MF/NoAttack/FedAvg/m0/seed0.json",
    )
    (absent,) = found(claim(), evidence(records))
    assert absent.estimate is None


@pytest.mark.parametrize(
    ("needs", "numbers", "needed"),
    [
        ("all", 4, 4),
        ("most", 4, 3),
        ("most", 5, 3),
        ("usually", 6, 4),
        ("any", 4, 1),
        ("any", 1, 1),
    ],
)
def test_words_are_shares_of_numbers(needs: str, numbers: int, needed: int) -> None:
    assert CLAIMS.needed(claim(needs), numbers) == needed


def verdict_of(*numbers: Finding, needs: str = "all", **settings: Any) -> tuple[str, str]:
    return judged(CLAIMS.model_copy(update=settings), claim(needs), numbers)


def loss(estimate: float | None, error: float = 4.0, **more: Any) -> Finding:
    return Finding("x", (0.0, np.inf), estimate, error, 100.0, seeds=1, **more)


def test_what_is_open_says_how_many_seeds_would_decide_it() -> None:
    verdict, why = verdict_of(loss(4.5))
    # At one of two looks: 4 × 2.28 / 4.5 is 2.0 of the root of seeds
    assert (verdict, why) == (
        "inconclusive",
        "5 seeds would decide it if the estimates stayed the same",
    )
    assert verdict_of(loss(-3.3, 2.8), affordable=2) == (
        "too close to call",
        "-3.3 ± 5.6, border 0: 2 seeds would not decide it",
    )


def test_why_nothing_can_be_said() -> None:
    assert verdict_of(loss(None), loss(9.0)) == ("not run", "1 of 2 numbers lack records")
    assert verdict_of(loss(9.0, float("nan"))) == (
        "inconclusive",
        "a single run gives no interval",
    )
    lent = loss(90.0, note="noise borrowed from ml-1m, MF")
    assert verdict_of(lent) == ("reproduced", "noise borrowed from ml-1m, MF")
    _, why = verdict_of(loss(-9.5), *[loss(9.0)] * 4)
    assert why.startswith("one of 5 may differ by chance")


def test_each_of_two_looks_is_judged_more_strictly_than_one() -> None:
    assert CLAIMS.looks == (5, 10) and CLAIMS.level == pytest.approx(0.0125)
    assert verdict_of(loss(8.3), looks=(5,))[0] == "reproduced"  # 2.1 standard errors
    assert verdict_of(loss(8.3))[0] == "inconclusive"
    assert verdict_of(loss(9.2))[0] == "reproduced"  # 2.3


def losing(percent: float, seeds: int, spread: float = 4.0) -> list[Record]:
    """A baseline and an attack that loses so much on average, of losses that alternate by seed."""
    up = [(-1) ** seed * spread / 200 for seed in range(seeds)]
    lost = [percent / 100 + u - float(np.mean(up)) for u in up]
    plain = arms(NoAttack=[0.2] * seeds)
    return [*plain, *arms(Fang=[0.2 * (1 - x) for x in lost])]


def looked(records: list[Record]) -> Look:
    claims = CLAIMS.model_copy(update={"claims": (claim(within="substantial"),)})
    (look,) = looks(claims, Evidence(records, {}, Scorecard(), Measure()))
    return look


def test_five_more_seeds_judge_what_five_left_undecided() -> None:
    five = looked(losing(12.5, 5))
    assert five.undecided and five.number == 1 and five.seeds == [5] and five.next_seeds == 10
    ten = looked(losing(12.5, 10))
    assert ten.number == 2 and ten.seeds == [10] and ten.next_seeds is None
    (number,) = ten.findings
    beyond = (number.estimate or 0) - 10
    p = stats.t.sf(beyond / number.error, number.df)
    assert (ten.verdict[0] == "reproduced") == (p <= 0.025 / 2)
    assert number.error < five.findings[0].error


def test_what_five_seeds_decided_ten_do_not_judge_again() -> None:
    ten = looked(losing(40.0, 10))
    assert ten.verdict[0] == "reproduced" and ten.number == 1 and ten.seeds == [5]
    assert ten.findings == looked(losing(40.0, 10)[:5] + losing(40.0, 10)[10:15]).findings


def test_nobody_looks_before_all_seeds_of_a_look_are_there() -> None:
    whole = losing(12.5, 10)
    seven = looked([record for record in whole if record.cell.seed < 7])
    assert seven.number == 1 and seven.seeds == [5] and seven.next_seeds == 10
    three = looked([record for record in whole if record.cell.seed < 3])
    assert three.seeds == [3] and three.next_seeds == 5  # what there is, for the time being


def test_two_looks_err_no_more_often_than_one() -> None:
    """Losses on the border: wrong in 2.5 % on either side, together with the second look."""
    rng, told = np.random.default_rng(0), []
    for _ in range(400):
        made = {"NoAttack": [0.2] * 10, "Fang": [0.18] * 10, "A": [0.2] * 10, "B": [0.2] * 10}
        noisy = {
            name: (v * np.exp(0.04 * rng.normal(size=10))).tolist() for name, v in made.items()
        }
        told.append(looked(arms(**noisy)).verdict[0])
    assert told.count("reproduced") <= 20 and told.count("not reproduced") <= 20  # of 10


def test_runs_of_the_first_look_are_counted_beside_a_verdict() -> None:
    records = losing(40.0, 4)
    records[0] = records[0].model_copy(update={"diverged_at": 7})
    records[-1] = records[-1].model_copy(update={"config": {"protocol": {"rounds": 6000}}})
    claims = CLAIMS.model_copy(update={"claims": (claim(within="substantial"),)})
    card = scorecard(looks(claims, Evidence(records, {}, Scorecard(), Measure())))
    row = card.iloc[0]
    assert (row.runs, row.missing, row.diverged, row.stopped) == (10, 2, 1, 1)
    assert scorecard_table(card).shown.Runs[0] == "10 (2 missing, 1 diverged, 1 stopped)"


def card_of(records: list[Record], **counts: Any) -> Mapping[str, str]:
    shown = Evidence(records, counts, Scorecard(), Measure())
    card = scorecard(looks(CLAIMS, shown))
    return dict(zip(card.id, card.verdict, strict=True))


def test_the_scorecard_has_a_row_a_claim_and_counts_verdicts() -> None:
    card = scorecard(looks(CLAIMS, Evidence([], {}, Scorecard(), Measure())))
    assert len(card) == len(CLAIMS.claims) >= 25 and set(card.verdict) == {"not run"}
    assert card.why.iloc[0] == "3 of 3 numbers lack records"
    table = scorecard_table(card, ["A note."])
    assert table.shown.Verdict.iloc[0] == "not run (3 of 3 numbers lack records)"
    first, *_, last = table.notes
    assert (first, last) == (f"{len(card)} claims: {len(card)} not run.", "A note.")


def test_a_plan_reckons_with_what_more_seeds_would_decide() -> None:
    records = arms(NoAttack=[0.2, 0.21, 0.19], ClusterAttack=[0.178, 0.165, 0.17])
    records += arms(Krum=[0.2, 0.19, 0.21], LIE=[0.2, 0.21, 0.2])
    (first, *_) = plan(CLAIMS, Evidence(records, {}, Scorecard(), Measure()), records)
    assert first.claim == "attack-mf" and first.seeds > 3
    assert {cell.attack for cell in first.cells} == {"NoAttack", "ClusterAttack"}
    assert min(cell.seed for cell in first.cells) == 3


def test_other_measures_stand_beside_and_differences_are_told() -> None:
    records = [
        make_record(attack, seed, [hr + seed * rise, *[0.3] * 5], validation=[1, 0, 0, 0, 0, 0])
        for attack, hr, rise in (("NoAttack", 0.3, 0.001), ("ClusterAttack", 0.2, 0.002))
        for seed in range(3)
    ]
    cards = {
        str(m): scorecard(looks(CLAIMS, Evidence(records, {}, Scorecard(), m)))
        for m in measures("best_val")
    }
    table = secondary_table(cards)
    row = table.values.set_index("id").loc["attack-mf"]
    settled = "HR@5, mean of the last 5 evaluations"
    assert (row["HR@5"], row[settled]) == ("reproduced", "not reproduced")
    says = f"substantially. By HR@5 reproduced, by {settled} not reproduced."
    assert any(note.endswith(says) for note in table.notes)
    assert "counts-ml-1m" not in set(table.values.id)


# --- Nothing holds or fails by construction


World = Callable[[Cell], float]  # what is left of the performance
WEAK = ("LabelFlip", "Gaussian")
COSTLY = {"TrimmedMean": 0.6, "Krum": 0.6, "FL-WBC": 0.8}  # what a defence leaves without attack


def base_of(cell: Cell) -> tuple[str, str]:
    return Variant.parse(cell.attack).base, cell.defense


def nothing(cell: Cell) -> float:
    """No attack does anything, but some defences cost by themselves."""
    return COSTLY.get(cell.defense, 1.0)


def destroys(cell: Cell) -> float:
    """Every attack leaves next to nothing, whatever the defence."""
    return nothing(cell) * (1.0 if cell.attack == BASELINE else 0.03)


def as_claimed(cell: Cell) -> float:
    """What the paper says, and clearly."""
    attack, defense = base_of(cell)
    if attack == BASELINE:
        return COSTLY.get(defense, 1.0)
    changes = Variant.parse(cell.attack).changes
    if "UNION" in defense:
        return 1.0 if attack == "ClusterAttack" else 1.4
    if attack in WEAK:
        return 1.2
    if attack != "ClusterAttack":
        earlier = {"FedAttack": 0.93, "LIE": 0.75, "Fang": 0.6}[attack]
        mended = defense in ("MultiKrum", "NormBound") or cell.ratio == 0.005
        return COSTLY.get(defense, 1.0) * (1.0 if mended else earlier)
    if changes.get("adaptive") is False:
        return {1: 0.6, 2: 0.3, 4: 0.7, 8: 0.5}.get(changes["clusters"], 0.4)
    strength = {0.005: 0.4, 0.01: 0.2, 0.05: 0.1}[cell.ratio]
    return COSTLY.get(defense, 1.0) * strength


def opposite(cell: Cell) -> float:
    """Its reverse: weak attacks are strong, costly defences cheap, and UNION does harm."""
    attack, defense = base_of(cell)
    changes = Variant.parse(cell.attack).changes
    clusters = changes.get("clusters", 2)
    cost = 0.5 if defense in ("MultiKrum", "NormBound") else 1.3 if defense in COSTLY else 1.0
    if attack == BASELINE:
        return cost
    if "UNION" in defense:
        return {"ClusterAttack": 0.15, "ClusterAttack+CL": 0.08}.get(attack, 0.1)
    if attack in ("LabelFlip", "Gaussian", "FedAttack"):
        return cost * 0.3
    if attack in ("LIE", "Fang"):
        return cost * (0.5 if attack == "LIE" else 0.7)
    if changes.get("adaptive") is False:
        return 0.7 * 1.017 ** float(np.log2(clusters))
    stronger = {0.005: 0.92, 0.01: 0.96, 0.05: 1.0}[cell.ratio]
    return cost * (stronger if clusters == 2 else 0.7 + 0.1 * clusters**0.5)


def lived(world: World, separate: float, hidden: bool) -> list[Record]:
    """Records of five seeds of every cell that a claim needs."""
    rng = np.random.default_rng(0)
    cells = dict.fromkeys(c for one in CLAIMS.claims for c in one.test.cells())
    records = []
    for cell in cells:
        base = {"MF": 0.034}.get(cell.model, 0.1)
        for seed in range(5):
            value = base * world(cell) * float(np.exp(0.005 * rng.normal()))
            record = make_record(hr=[value]).model_copy(
                update={"cell": cell.model_copy(update={"seed": seed})}
            )
            if "observe" in cell.defense:
                task = "noCL" not in cell.defense
                record = observed(record, rng, separate if task else 5 - separate, hidden)
            records.append(record)
    return records


def observed(record: Record, rng: np.random.Generator, apart: float, hidden: bool) -> Record:
    """The record of a run with uploads: malicious ones so many deviations less uniform."""
    malicious = np.arange(240) % 8 == 0
    uploads = Uploads(
        round=[1 + i // 24 for i in range(240)],
        malicious=malicious.tolist(),
        component_1=(rng.normal(size=240) + (0.0 if hidden else 9.0) * malicious).tolist(),
        component_2=[0.0] * 240,
        uniformity=(rng.normal(size=240) - apart * malicious).tolist(),
    )
    config = {"protocol": {"window": 10, "rounds": 50}}
    return record.model_copy(update={"uploads": uploads, "config": config})


COUNTS = {c.test.dataset: c.test.counts for c in CLAIMS.claims if c.test.kind == "counts"}
WRONG = {name: {key: count + 1 for key, count in counts.items()} for name, counts in COUNTS.items()}


@pytest.fixture(scope="module")
def worlds() -> Mapping[str, Mapping[str, str]]:
    """The verdict on each claim, by world."""
    made = {
        "nothing": card_of(lived(nothing, 5.0, True), **COUNTS),
        "destroys": card_of(lived(destroys, 5.0, False), **COUNTS),
        "as claimed": card_of(lived(as_claimed, 5.0, True), **COUNTS),
        "opposite": card_of(lived(opposite, 0.0, False), **WRONG),
    }
    return made


DATA = {"counts-ml-1m", "counts-gowalla"}
DEFENCES = {"trimmed-mean-costs", "krum-costs", "fl-wbc-costs"}
HARMLESS = {"multi-krum-harmless", "norm-bound-harmless"}
UPLOADS = {"hidden-among-benign", "alike-without-task", "apart-with-task"}
# An attack that does nothing costs nothing: what says that one costs is refuted, what says that one
# does not is confirmed.
SAVED = {
    "weak-attacks", "weak-attacks-sasrec", "others-mitigated", "union-saves",
    "few-malicious-others", "many-malicious-multi-krum", "many-malicious-norm-bound",
}  # fmt: skip
COSTS = {
    "attack-mf", "attack-sasrec", "attack-gowalla-mf", "attack-gowalla-sasrec",
    "attack-gowalla-unique", "clusterattack-under-defense", "clusterattack-circumvents",
    "few-malicious-cluster", "large-margin", "number-matters", "number-matters-sasrec",
}  # fmt: skip


@pytest.mark.parametrize("one", [c.id for c in CLAIMS.claims])
def test_no_claim_holds_or_fails_by_construction(
    one: str, worlds: Mapping[str, Mapping[str, str]]
) -> None:
    assert worlds["as claimed"][one] == "reproduced"
    assert worlds["opposite"][one] == "not reproduced"


def expected(world: str, one: str) -> set[str]:
    """What a reader expects to be said of a claim."""
    if one in DATA | DEFENCES | HARMLESS:  # no attack is in them
        return {"reproduced"}
    if one in UPLOADS:  # they are made alike, but for where they lie
        visible = (world, one) == ("destroys", "hidden-among-benign")
        return {"not reproduced"} if visible else {"reproduced"}
    if one in SAVED | COSTS:
        costs = world == "destroys"
        if one in ("large-margin", "number-matters", "number-matters-sasrec"):
            # between attacks, which are all alike
            return {"not reproduced", "inconclusive", "too close to call"}
        return {"reproduced"} if (one in COSTS) == costs else {"not reproduced"}
    if world == "destroys" and one == "weak-attacks-help":
        return {"not reproduced"}
    return {"inconclusive", "too close to call"}  # two that are alike


@pytest.mark.parametrize("world", ["nothing", "destroys"])
@pytest.mark.parametrize("one", [c.id for c in CLAIMS.claims])
def test_an_attack_that_does_nothing_or_all_is_judged_as_a_reader_expects(
    world: str, one: str, worlds: Mapping[str, Mapping[str, str]]
) -> None:
    assert worlds[world][one] in expected(world, one)


# --- The claims file


def test_claims_have_names_of_their_own() -> None:
    assert len({c.id for c in CLAIMS.claims}) == len(CLAIMS.claims)


def test_the_study_runs_every_cell_that_a_claim_needs() -> None:
    study = Study.load(ROOT / "config" / "paper.yaml")
    made = {
        cell.model_copy(update={"seed": -1})
        for block in study.blocks().values()
        for cell in study.cells(block)
    }
    tests = [test for c in CLAIMS.claims for test in (c.test, c.beside) if test]
    assert {cell for test in tests for cell in test.cells()} <= made
    assert any(cell.defense != PLAIN for test in tests for cell in test.cells())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("within: substantial", "within: substancial", r": attack-mf: no region .*'substancial'"),
        ("needs: usually", "needs: mostly", r": model-poisoning: no share .*'mostly'"),
        ("place: Table 2", "plaice: Table 2", r":\d+: claims\.0"),
    ],
)
def test_a_malformed_claim_is_located(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / "config" / "claims.yaml").read_text()
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=r"claims\.yaml" + message):
        Claims.load(path)
