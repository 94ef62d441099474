"""Records: what counts, what survives a file, and what is refused."""

import gzip
import json
from pathlib import Path

import pytest

from fedrec.errors import RecordError
from fedrec.files import sealed
from fedrec.plan.cells import cell_path
from fedrec.records import (
    Malicious,
    Record,
    Trajectory,
    add_to_pack,
    pack,
    read_record,
    read_records,
    write_record,
)
from tests.builders import make_record


def test_the_reported_round_is_the_best_by_validation() -> None:
    record = make_record(hr=[0.3, 0.2, 0.1], validation=[0.1, 0.5, 0.5])
    assert record.reported("hr@5", "best_val") == 0.2
    assert record.reported("hr@5", "last") == 0.1


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record = make_record(clusters=[2, 8])
    write_record(record, tmp_path / "runs" / "a.json")
    assert read_record(tmp_path / "runs" / "a.json") == record


def test_what_only_a_gpu_has_is_in_no_other_record(tmp_path: Path) -> None:
    """So a CPU's records are, to the byte, what they were before there were GPUs."""
    path, record = tmp_path / "a.json", make_record(device="A card")
    made = record.provenance.model_copy(update={"driver": "570.86.15", "cuda": "12.8"})
    write_record(record.model_copy(update={"provenance": made}), path)
    assert read_record(path).provenance == made
    write_record(make_record(), path)
    assert set(json.loads(path.read_text())["provenance"]) == {
        "fedrec", "git", "python", "torch", "numpy", "device", "processor", "system"
    }  # fmt: skip


def test_packed_and_single_records_read_alike(tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in range(3)]
    pack(records, tmp_path / "all.jsonl.gz")
    write_record(make_record(seed=3), tmp_path / "one.json")
    read = read_records([tmp_path / "all.jsonl.gz", tmp_path / "one.json"])
    assert [r.cell.seed for r in read] == [0, 1, 2, 3]


def test_packing_is_deterministic_whatever_the_order(tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in range(3)]
    pack(records, tmp_path / "a.gz")
    pack(records[::-1], tmp_path / "b.gz")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_what_a_pack_holds_stays_or_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl.gz"
    add_to_pack([make_record(seed=0), make_record(seed=1, hr=[0.1])], path)
    add_to_pack([make_record(seed=1, hr=[0.9]), make_record(seed=2)], path)
    expected = [make_record(seed=0), make_record(seed=1, hr=[0.9]), make_record(seed=2)]
    assert sorted(read_records([path]), key=lambda record: record.cell.seed) == expected
    pack(expected[::-1], tmp_path / "at-once.gz")
    assert path.read_bytes() == (tmp_path / "at-once.gz").read_bytes()


@pytest.mark.parametrize(("old", "new"), [("cpu", "A card"), ("A card", "cpu")])
def test_a_pack_replaces_no_record_by_that_of_another_device(
    tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "all.jsonl.gz"
    add_to_pack([make_record(seed=0, device=old), make_record(seed=1, device=old)], path)
    before = path.read_bytes()
    with pytest.raises(
        RecordError, match=rf"seed1\.json was made on {old} and cannot be .* {new};"
    ):
        add_to_pack([make_record(seed=2, device=new), make_record(seed=1, device=new)], path)
    assert path.read_bytes() == before
    add_to_pack([make_record(seed=2, device=new)], path)  # other cells go beside them, and say so
    assert [record.provenance.device for record in read_records([path])] == [old, old, new]


def test_a_damaged_pack_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl.gz"
    path.write_bytes(WHOLE[:40])
    with pytest.raises(RecordError, match="restore it, or delete it"):
        add_to_pack([make_record()], path)
    assert path.read_bytes() == WHOLE[:40]


def test_science_leaves_out_times_and_versions() -> None:
    record = make_record()
    slower = record.model_copy(update={"cost": record.cost.model_copy(update={"seconds": 9.0})})
    assert record != slower and record.science() == slower.science()
    assert "trajectory" in record.science() and "provenance" not in record.science()


def test_columns_must_be_as_long_as_the_rounds() -> None:
    with pytest.raises(ValueError, match=r"hr@5 has 1 values for 2 rounds"):
        Trajectory(
            round=[1, 2], validation={"hr@5": [0.1]}, test={}, loss=[0, 0], attack={}, defense={}
        )


def test_a_cell_names_its_file() -> None:
    assert cell_path(make_record("ClusterAttack", seed=4).cell) == (
        "ml-1m/MF/ClusterAttack/FedAvg/m0.01/seed4.json"
    )


@pytest.mark.parametrize("content", [None, b"{}", b"not json", b"\xff\xfe"])
def test_an_unusable_file_is_named_with_a_remedy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "seed0.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match=r"seed0\.json.*run its cell"):
        read_record(path)


def test_a_record_of_before_is_refused_with_its_version(tmp_path: Path) -> None:
    old = make_record().model_dump() | {"schema_version": 1}
    del old["malicious"]
    one, many = tmp_path / "seed0.json", tmp_path / "records.jsonl.gz"
    one.write_text(json.dumps(sealed(old)))
    many.write_bytes(gzip.compress(f"{json.dumps(old)}\n".encode()))
    for path in (one, many):
        with pytest.raises(RecordError, match=r"is a record of version 1, not 2; .*run its cell"):
            read_records([path])


def test_malicious_uploads_are_counted_by_round_and_in_all() -> None:
    found = Malicious(users=3)
    for uploads in (0, 2, 0, 3, 1):
        found = found.after_round(uploads)
    assert found == Malicious(users=3, uploads=6, rounds=3)


WHOLE = gzip.compress(bytes(range(256)), mtime=0)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", WHOLE[:40], WHOLE[:10] + b"\xff" * 30, gzip.compress(b"\xff\n")],
    ids=["other", "cut", "corrupt", "no-text"],
)
def test_a_damaged_pack_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "records.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"records\.jsonl\.gz"):
        read_records([path])


def test_a_cell_given_twice_is_refused(tmp_path: Path) -> None:
    """Its seed would count twice, and intervals would shrink."""
    pack([make_record(seed=4)], tmp_path / "all.jsonl.gz")
    write_record(make_record(seed=4), tmp_path / "one.json")
    with pytest.raises(
        RecordError, match=r"one\.json: .*seed4\.json is already in .*all\.jsonl\.gz"
    ):
        read_records([tmp_path / "all.jsonl.gz", tmp_path / "one.json"])


def with_draws(seed: int, draws: str | None) -> Record:
    """A record that names some version of the draws, or none."""
    record = make_record(seed=seed)
    config = {k: v for k, v in record.config.items() if k != "draws"}
    return record.model_copy(update={"config": config | ({"draws": draws} if draws else {})})


@pytest.mark.parametrize("other", [None, "philox4x32-10/0"])
def test_records_of_other_draws_are_not_mixed_with_new_ones(
    tmp_path: Path, other: str | None
) -> None:
    """Runs of one seed would look paired, and share nothing."""
    path, old, new = tmp_path / "all.jsonl.gz", with_draws(3, other), make_record(seed=4)
    pack([old], path)
    write_record(new, tmp_path / "new.json")
    named = other or "unnamed"
    message = rf"all\.jsonl\.gz: .*seed3\.json was made with other draws \({named}\).*cell again"
    with pytest.raises(RecordError, match=message):
        read_records([path, tmp_path / "new.json"])
    with pytest.raises(RecordError, match=message):
        add_to_pack([new], path)
    assert read_records([path]) == [old]  # by themselves they can be read
    replaced = make_record(seed=3)
    add_to_pack([new, replaced], path)
    assert {r.cell.seed: r for r in read_records([path])} == {3: replaced, 4: new}


def test_a_metric_that_was_not_measured_is_named() -> None:
    record = make_record(seed=4)
    measured = record.trajectory.model_copy(update={"test": {"mrr": [0.1, 0.2]}})
    bare = record.model_copy(update={"trajectory": measured})
    with pytest.raises(RecordError, match=r"seed4\.json: has no hr@5, only mrr"):
        bare.reported("hr@5", "last")
