"""A short soak, and that growth would be noticed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.soak import Use, miniature_cells, soak, verdict

FLAT = [Use(memory_mb=100, open_files=9, threads=2, disk_bytes=10, files=12)] * 60


@pytest.mark.parametrize(
    "grown", [{"memory_mb": 110.0}, {"open_files": 10}, {"threads": 3}, {"files": 13}]
)
def test_growth_is_noticed(grown: dict[str, Any]) -> None:
    assert verdict(FLAT, warm_up=20)[1]
    message, steady = verdict([*FLAT, replace(FLAT[0], **grown)], warm_up=20)
    assert not steady and "GROWN" in message


def test_cells_leave_their_records_and_nothing_else(tmp_path: Path) -> None:
    cells, split = miniature_cells(rounds=2)
    uses = soak(cells[:2], split, count=3, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "1.json"]
    assert [use.files for use in uses] == [1, 2, 2]
