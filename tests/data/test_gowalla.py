"""The paper's Gowalla, on a made-up file with as many check-ins as SNAP's has of NGCF's lists."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fedrec.cli.main import main
from fedrec.config.study import Study

PAPER = Study.load(Path(__file__).parents[2] / "config" / "paper.yaml")
USERS, LOCATIONS, CHECK_INS = 29_858, 40_981, 1_585_044
STRANGER = "400000\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"


def check_ins(count: int) -> str:
    """So many lines as SNAP has them: every user and every location in turn, again and again."""
    return "".join(
        f"{i % USERS}\t2010-10-{i % 28 + 1:02d}T23:55:27Z\t30.2359091167\t-97.7951395833"
        f"\t{i % LOCATIONS}\n"
        for i in range(count)
    )


def write_list(path: Path, count: int) -> None:
    lines = [f"{i} {i}\n" for i in range(count)]
    path.write_text("org_id remap_id\n" + "".join(lines))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SNAP's file, and NGCF's lists."""
    made = tmp_path_factory.mktemp("gowalla")
    text = check_ins(CHECK_INS) + STRANGER
    with gzip.open(made / "check-ins.txt.gz", "wt", compresslevel=1) as file:
        file.write(text)
    with gzip.open(made / "one-fewer.txt.gz", "wt", compresslevel=1) as file:
        file.write(text.partition("\n")[2])
    write_list(made / "users.txt", USERS)
    write_list(made / "items.txt", LOCATIONS)
    return made


def counted(folder: Path, name: str) -> tuple[int, Any]:
    """The exit code and the counts of the study's own entry, read from a made-up file."""
    lists = [folder / f"{kind}.txt" for kind in ("users", "items")]
    entry = json.loads(PAPER.datasets["gowalla"].model_dump_json(exclude_none=True))
    entry["source"] = {"path": str(folder / name)}
    entry["id_lists"] = {path.stem: {"path": str(path)} for path in lists}
    dataset, raw, counts = json.dumps(entry), str(folder / "raw.npz"), folder / "counts.json"
    assert main(["interactions", dataset, "--raw", str(folder / name), "--output", raw]) == 0
    command = ["filter", dataset, "--input", raw, "--output", str(folder / "kept.npz")]
    code = main([*command, "--lists", *map(str, lists), "--counts", str(counts)])
    return code, json.loads(counts.read_text()) if counts.exists() else None


def test_the_papers_count_is_that_of_others_less_the_first_line(folder: Path) -> None:
    code, counts = counted(folder, "check-ins.txt.gz")
    found = {key: counts[key] for key in ("users", "items", "interactions")}
    assert code == 0
    assert found == {"users": USERS, "items": LOCATIONS, "interactions": CHECK_INS - 1}


def test_a_file_without_one_of_its_check_ins_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "counts.json").unlink(missing_ok=True)
    assert counted(folder, "one-fewer.txt.gz") == (1, None)
    message = capsys.readouterr().err
    assert "1,585,042 interactions, expected" in message and "1,585,043 interactions" in message
    assert "(interactions: 1 too few): check the source file" in message


def test_all_of_snap_is_read_from_the_first_line() -> None:
    reader = PAPER.datasets["gowalla-10core"].format
    assert reader and reader.skip == 0
