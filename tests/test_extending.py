"""A config that extends another one: merged, replaced, and clear about mistakes."""

from pathlib import Path

import pytest

from fedrec.errors import ConfigError
from fedrec.extending import in_full, read

BASE = """
seeds: [0, 1]
note: base
models: { MF: { kind: mf, dim: 8 }, Other: { kind: mf } }
tables: { one: { kind: datasets } }
"""


def written(folder: Path, **files: str) -> dict[str, Path]:
    paths = {name: folder / f"{name}.yaml" for name in files}
    for name, text in files.items():
        paths[name].write_text(text)
    return paths


def test_mappings_are_merged_and_all_else_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    own = "extends: base.yaml\nseeds: [7]\nnote: null\nmodels: { MF: { dim: 4 } }\n"
    paths = written(tmp_path, base=BASE, own=own)
    full = read(paths["own"])
    assert full.values == {
        "seeds": [7],
        "note": None,
        "models": {"MF": {"kind": "mf", "dim": 4}, "Other": {"kind": "mf"}},
        "tables": {"one": {"kind": "datasets"}},
    }
    assert full.paths == (paths["base"], paths["own"])


def test_what_is_replaced_is_the_files_own_alone(tmp_path: Path) -> None:
    own = "extends: base.yaml\nreplace: [tables, models.MF]\ntables: {}\nmodels: { MF: { a: 1 } }\n"
    paths = written(tmp_path, base=BASE, own=own)
    found = read(paths["own"]).values
    assert found["tables"] == {}
    assert found["models"] == {"MF": {"a": 1}, "Other": {"kind": "mf"}}


def test_files_extend_each_other_in_a_chain_each_seen_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path, base=BASE, middle="extends: base.yaml\nnote: middle\n")
    top = tmp_path / "deep" / "top.yaml"
    top.write_text("extends: ../middle.yaml\nseeds: [3]\n")
    full = read(top)
    assert (full.values["note"], full.values["seeds"]) == ("middle", [3])
    assert [path.name for path in full.paths] == ["base.yaml", "middle.yaml", "top.yaml"]


def test_values_that_snakemake_merged_are_the_same_and_its_own_lie_on_top(tmp_path: Path) -> None:
    own = "extends: base.yaml\nreplace: [tables]\ntables: {}\nmodels: { MF: { dim: 4 } }\n"
    path = written(tmp_path, base=BASE, own=own)["own"]
    merged = {
        "extends": "base.yaml",
        "replace": ["tables"],
        "tables": {},
        "models": {"MF": {"dim": 4, "l2": 0.5}},
        "seeds": [9],
    }
    expected = read(path).values
    expected["models"]["MF"]["l2"] = 0.5
    expected["seeds"] = [9]
    assert in_full(merged, [path]).values == expected


def test_values_of_files_that_extend_none_are_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, base=BASE)["base"]
    assert in_full({"any": 1}, [path]).values == {"any": 1}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("extends: absent.yaml\n", "own.yaml:1: extends: there is no file 'absent.yaml'"),
        ("\nextends: [base.yaml]\n", "own.yaml:2: extends: there is no file"),
        ("replace: [tables]\n", "own.yaml:1: replace: has no effect without `extends`"),
        ("extends: base.yaml\nreplace: tables\n", "own.yaml:2: replace: must be a list"),
        ("extends: base.yaml\nreplace:\n- tables\n", "own.yaml:3: replace.0: `tables` is not in"),
        (
            "extends: base.yaml\nreplace: [models.X]\nmodels: {}\n",
            "own.yaml:2: replace.0: `models.X`",
        ),
    ],
)
def test_a_mistake_names_file_line_and_remedy(tmp_path: Path, own: str, message: str) -> None:
    path = written(tmp_path, base=BASE, own=own)["own"]
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert message in str(caught.value)


def test_a_circle_is_named_with_its_files(tmp_path: Path) -> None:
    paths = written(tmp_path, a="extends: b.yaml\n", b="extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"b\.yaml:1: extends: .*a\.yaml → .*b\.yaml → .*a\.yaml"):
        read(paths["a"])
