"""Uploads by window: where they lie, and how uniform they leave the items."""

import numpy as np
import pytest

from fedrec.analysis.figures.uploads import draw
from fedrec.errors import RecordError
from fedrec.plan.blocks import UploadFigure
from fedrec.records import Record, Uploads
from tests.builders import make_record

DEFENSES = ("UNION@observe=5", "UNION-noCL@observe=5")
BLOCK = UploadFigure(
    title="T", kind="uploads", datasets=("ml-1m",), models=("MF",), attacks=("ClusterAttack",),
    defenses=DEFENSES,
)  # fmt: skip


def observed(defense: str, seed: int = 0) -> Record:
    """Five rounds of six uploads in windows of two rounds; the last upload is malicious."""
    rng = np.random.default_rng(seed)
    uploads = Uploads(
        round=np.repeat(np.arange(1, 6), 6).tolist(),
        malicious=[False, False, False, False, False, True] * 5,
        component_1=rng.normal(size=30).tolist(),
        component_2=rng.normal(size=30).tolist(),
        uniformity=(rng.normal(size=30) + DEFENSES.index(defense)).tolist(),
    )
    record = make_record("ClusterAttack", seed, defense=defense)
    return record.model_copy(update={"uploads": uploads, "config": {"protocol": {"window": 2}}})


RECORDS = [observed(defense, seed) for defense in DEFENSES for seed in (0, 1)]


def test_a_column_a_window_and_a_row_a_defence_from_last_to_first() -> None:
    axes = np.reshape(draw(RECORDS, BLOCK, "last").axes, (3, 3))
    assert [a.get_title() for a in axes[0]] == ["rounds 1–2", "rounds 3–4", "round 5"]
    assert [a.get_ylabel() for a in axes[:, 0]] == [
        "components", "UNION-noCL\ndensity", "UNION\ndensity"
    ]  # fmt: skip


def test_components_and_densities_are_of_one_seed() -> None:
    axes = np.reshape(draw(RECORDS, BLOCK, "last").axes, (3, 3))
    benign, malicious = axes[0, 0].get_lines()
    uploads = observed(DEFENSES[1]).uploads
    assert uploads and np.allclose(malicious.get_xdata(), np.array(uploads.component_1)[[5, 11]])
    assert len(benign.get_xdata()) == 10
    rugs = [line for line in axes[1, 0].get_lines() if line.get_marker() == "|"]
    assert [len(rug.get_xdata()) for rug in rugs] == [10, 2]


def test_too_few_uploads_have_no_density() -> None:
    axes = np.reshape(draw([RECORDS[0]], BLOCK, "last").axes, (2, 3))
    curves = [line for line in axes[1, 2].get_lines() if line.get_marker() != "|"]
    assert len(curves) == 1  # of the benign side; one malicious upload has none


def test_a_record_without_uploads_is_named() -> None:
    with pytest.raises(RecordError, match=r"UNION@observe=5/m0\.01/seed0\.json: .*observe"):
        draw([make_record("ClusterAttack", defense=DEFENSES[0])], BLOCK, "last")
