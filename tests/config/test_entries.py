"""Methods are found by their file names."""

import sys
from pathlib import Path

import pytest

from fedrec import attacks
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.config.methods import find_methods


def test_a_file_is_a_method() -> None:
    found = find_methods(attacks)
    assert found["cluster_attack"] is ClusterAttack
    assert "base" not in found
    assert not [name for name in found if name.startswith("_")]


def test_a_file_without_its_class_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__init__.py").touch()
    (tmp_path / "folder" / "my_attack.py").write_text("class Other: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    import folder

    with pytest.raises(ImportError, match=r"folder/my_attack\.py.*MyAttack"):
        find_methods(folder)
    del sys.modules["folder"]
