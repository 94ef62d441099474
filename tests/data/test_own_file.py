"""A file of one's own becomes an entry, and a split."""

from pathlib import Path

import pytest
import yaml

from fedrec.data.columns import Known
from fedrec.data.dataset import Dataset
from fedrec.data.inspection import entry_of, inspect
from fedrec.data.own_file import parsed_entry, split_of
from fedrec.data.sources import Source
from fedrec.data.synthetic import Synthetic
from fedrec.errors import DataError


def test_a_file_becomes_a_split(tmp_path: Path) -> None:
    rows = [f"u{u},t{(u + k) % 9},2023-01-{k + 1:02d}" for u in range(20) for k in range(6)]
    (tmp_path / "plays.csv").write_text("\n".join(["listener,track,played_at", *rows, ""]))
    name, entry = entry_of(tmp_path / "plays.csv", Known())
    shown = inspect(tmp_path / "plays.csv", Known()).partition("in the config:\n")[2]
    assert yaml.safe_load(shown) == {name: entry}
    assert name == "plays" and split_of(parsed_entry(entry)).n_users == 20


def test_made_up_data_become_a_split_and_downloads_do_not() -> None:
    made_up = Dataset(synthetic=Synthetic(users=30, items=40, mean_length=8))
    assert split_of(made_up).n_users == 30
    source = Source("https://example.org/a.txt", "0" * 64, "none", "none")
    far = Dataset.model_construct(source=source, further=(), synthetic=None, id_lists=None)
    with pytest.raises(DataError, match="made from downloads"):
        split_of(far)
