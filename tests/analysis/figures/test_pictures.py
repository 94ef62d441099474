"""Figures compared with committed pictures: an unintended change fails.

After an intended one: `python -m tests.analysis.figures.test_pictures`, and look at what it drew.
"""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

from fedrec.analysis.figures import (
    adaptive_clustering,
    loss_map,
    numbers,
    scorecard,
    sweep,
    training_curves,
    uploads,
    victims,
)
from fedrec.analysis.figures.style import FORMATS, save_figure
from tests.analysis.figures import test_adaptive_clustering as clusters
from tests.analysis.figures import test_attack_grid as grid
from tests.analysis.figures import test_loss_map as mapped
from tests.analysis.figures import test_numbers as stated
from tests.analysis.figures import test_scorecard as card
from tests.analysis.figures import test_sweep as swept
from tests.analysis.figures import test_training_curves as curves
from tests.analysis.figures import test_uploads as seen
from tests.analysis.figures import test_victims as losers

REFERENCES = Path(__file__).parent / "references"
TOLERANCE = 2.0  # root mean square of pixels: other builds of libraries may draw a hair otherwise
NOTE = "A note below."


def pictures() -> dict[str, Figure]:
    return {
        "training-curves": training_curves.draw(curves.RECORDS, curves.BLOCK, "best_val", NOTE),
        "attack-grid": grid.grid(grid.cells()),
        "adaptive-clustering": adaptive_clustering.draw(clusters.RECORDS, clusters.BLOCK, "last"),
        "loss-map": loss_map.draw(mapped.RECORDS, mapped.BLOCK, "best_val", NOTE),
        "uploads": uploads.draw(seen.RECORDS, seen.BLOCK, "last", NOTE),
        "numbers": numbers.draw(stated.FOUND, "Numbers", NOTE),
        "sweep": sweep.draw(swept.RECORDS, swept.BLOCK, "best_val", NOTE),
        "scorecard": scorecard.draw(pd.DataFrame(card.CARD), "Claims", NOTE),
        "victims": victims.draw(losers.study(), losers.BLOCK, "last", NOTE, losers.GROUPS),
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in REFERENCES.glob("*.png")))
def test_a_picture_is_as_it_was(name: str, tmp_path: Path) -> None:
    save_figure(pictures()[name], tmp_path / f"{name}.pdf")
    drawn, reference = tmp_path / f"{name}.png", REFERENCES / f"{name}.png"
    assert compare_images(str(reference), str(drawn), tol=TOLERANCE) is None


def test_every_figure_has_a_reference() -> None:
    assert {path.stem for path in REFERENCES.glob("*.png")} == set(pictures())


def test_equal_records_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_figure(pictures()["training-curves"], tmp_path / f"{name}.pdf")
    for kind in FORMATS:
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


if __name__ == "__main__":
    for name, figure in pictures().items():
        save_figure(figure, REFERENCES / f"{name}.pdf")
        for kind in ("pdf", "svg"):
            (REFERENCES / f"{name}.{kind}").unlink()
