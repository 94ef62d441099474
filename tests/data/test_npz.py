import numpy as np
import pytest

from fedrec.data.npz import checksum_arrays, load_arrays, save_arrays
from fedrec.errors import DataError

ARRAYS = {"a": np.arange(3), "b": np.array(["x", "yz"])}


def test_arrays_survive_a_round_trip_and_leave_no_other_file(tmp_path):
    save_arrays(tmp_path / "new" / "x.npz", ARRAYS)
    loaded = load_arrays(tmp_path / "new" / "x.npz", ["a", "b"])
    assert loaded["a"].tolist() == [0, 1, 2]
    assert loaded["b"].tolist() == ["x", "yz"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.npz"]


def test_file_bytes_depend_neither_on_the_clock_nor_on_the_name(tmp_path, monkeypatch):
    save_arrays(tmp_path / "x.npz", ARRAYS)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    save_arrays(tmp_path / "y.npz", ARRAYS)
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    save_arrays(tmp_path / "x.npz", ARRAYS)
    before = (tmp_path / "x.npz").read_bytes()
    with pytest.raises(ValueError):
        save_arrays(tmp_path / "x.npz", {"a": np.array([object()])})
    assert (tmp_path / "x.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz.*make it again"):
        load_arrays(tmp_path / "x.npz", ["a"])


def test_a_bare_array_a_missing_file_and_a_missing_name_are_refused(tmp_path):
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, np.arange(3))
    save_arrays(tmp_path / "y.npz", {"a": np.arange(3)})
    for name in ("x.npz", "y.npz", "missing.npz"):
        with pytest.raises(DataError, match=f"{name}.*arrays b "):
            load_arrays(tmp_path / name, ["b"])


def test_checksum_tells_values_types_shapes_and_names_apart():
    variants = [
        {"a": np.array([1, 2])},
        {"a": np.array([2, 1])},
        {"a": np.array([[1, 2]])},
        {"a": np.array([1, 2], dtype=np.int32)},
        {"b": np.array([1, 2])},
    ]
    assert len({checksum_arrays(variant) for variant in variants}) == len(variants)
    assert checksum_arrays(variants[0]) == checksum_arrays({"a": np.arange(4)[1:3]})
