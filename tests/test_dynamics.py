"""The first rounds on ML-1M, beside what the authors' own code does in them.

Needs ML-1M: FEDREC_MIRROR names a folder that holds ml-1m.zip.
"""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from fedrec.config.study import Study
from fedrec.data.split import Split, leave_one_out
from fedrec.defenses.base import Judgement, ServerView
from fedrec.federation import Federation, play_round, set_up
from fedrec.plan.cells import Cell
from fedrec.reference.rules import krum_scores
from fedrec.updates import Updates
from tests.oracles.defenses import whole_uploads

ARCHIVE = Path(os.environ.get("FEDREC_MIRROR", "")) / "ml-1m.zip"
STUDY = Study.load(Path(__file__).parents[1] / "config" / "paper.yaml")

pytestmark = pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="needs ML-1M: FEDREC_MIRROR names no folder with ml-1m.zip"
)


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(STUDY.datasets["ml-1m"].read([ARCHIVE]))


def federation(split: Split, attack: str, defense: str, ratio: float) -> Federation:
    names = {"dataset": "ml-1m", "model": "MF", "attack": attack, "defense": defense}
    cell = Cell(**names, ratio=ratio, seed=0)
    return set_up(STUDY.cell_config(cell), split, "cpu")[0]


def test_embeddings_grow_as_in_the_authors_code(split: Split) -> None:
    """Their code's mean norms of item rows and of user rows, after so many rounds."""
    expected = {
        10: (0.179, 0.1449), 50: (0.175, 0.1530), 100: (0.238, 0.1769), 200: (0.711, 0.2706)
    }  # fmt: skip
    fed = federation(split, "NoAttack", "FedAvg", 0.0)
    for number in range(1, 201):
        play_round(fed, number)
        if number in expected:
            items, users = expected[number]
            assert fed.server.shared.items.norm(dim=1).mean() == pytest.approx(items, rel=0.05)
            assert fed.devices.local.norm(dim=1).mean() == pytest.approx(users, rel=0.02)


def test_union_catches_nine_in_ten_malicious_uploads(split: Split) -> None:
    """Five in a hundred users are malicious, over fifty rounds."""
    fed = federation(split, "ClusterAttack", "NormBound+UNION", 0.05)
    caught = came = 0
    for number in range(1, 51):
        played = play_round(fed, number)
        caught += int((played.malicious & ~played.decision.kept).sum())
        came += int(played.malicious.sum())
    assert came > 50 and caught >= 0.9 * came


def test_krum_picks_the_upload_that_its_definition_picks(split: Split) -> None:
    """Differences of whole uploads squared and added up, pair by pair, without attack (f = 0)."""
    fed = federation(split, "NoAttack", "Krum", 0.0)
    seen: list[Updates] = []
    real = fed.defense.filters[0]

    class Spy:
        def judge(self, received: Updates, among: Tensor, view: ServerView) -> Judgement:
            seen.append(received)
            return real.judge(received, among, view)

    fed.defense = dataclasses.replace(fed.defense, filters=[Spy()])
    for number in range(1, 61):
        (kept,) = play_round(fed, number).decision.kept.nonzero()
        if number % 10 == 0:
            scores = krum_scores(whole_uploads(seen[-1]), neighbours=48, squared=True)
            assert int(kept) == int(np.argmin(scores))
