"""The artifact appendix has what an evaluator needs of each claim."""

from pathlib import Path

from fedrec.analysis.claims import Claims
from fedrec.analysis.evidence import Evidence
from fedrec.analysis.measure import Measure
from fedrec.analysis.scorecard import looks
from fedrec.analysis.tables.appendix import appendix_table
from fedrec.plan.blocks import Scorecard
from tests.builders import make_record

CLAIMS = Claims.load(Path(__file__).parents[3] / "config" / "claims.yaml")


def test_each_claim_has_its_command_its_runs_and_what_to_expect() -> None:
    hits = {"NoAttack": 0.30, "ClusterAttack": 0.21}
    records = [
        make_record(attack, seed, [hr + 0.001 * seed])
        for attack, hr in hits.items()
        for seed in range(3)
    ]
    found = looks(CLAIMS, Evidence(records, {}, Scorecard(), Measure()))
    rows = appendix_table(found, records, " --config a.yaml").values.set_index("id")
    assert list(rows.index) == [claim.id for claim in CLAIMS.claims]
    row = rows.loc["attack-mf"]
    assert row.command == "fedrec claim attack-mf --run --again --config a.yaml"
    assert (row.runs, row.time) == (10, "10 s on a CPU thread")
    assert row.expect.startswith("ClusterAttack against NoAttack, % lost: 29.9 ± ")
    assert rows.loc["counts-ml-1m"].runs == 0
    assert rows.loc["attack-gowalla-mf"].expect == "not run here"
