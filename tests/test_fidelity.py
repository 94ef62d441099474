"""No constant without a source: docs/fidelity.md has a row for every field of every method."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from fedrec.config.methods import KINDS
from fedrec.config.protocol import TrainingProtocol
from fedrec.settings import preset_values

ROOT = Path(__file__).parents[1]
METHODS = {
    "protocol": TrainingProtocol,
    **{k: m for group in KINDS.values() for k, m in group.items()},
}
SILENT = {"no_attack", "mean"}  # methods without a field
STUDY = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))


def rows(heading: str) -> dict[str, list[str]]:
    """The cells beside each `method.field` that a table below a heading names first."""
    page = (ROOT / "docs" / "fidelity.md").read_text()
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        found |= {name: others for name in re.findall(r"`(\w+\.\w+)`", first)}
    return found


def of_the_paper() -> set[str]:
    """The kinds of the methods that the paper's study uses, and its protocol."""
    entries = [entry for group in KINDS for entry in STUDY[group].values()]
    parts = [part for entry in entries for part in (entry if isinstance(entry, list) else [entry])]
    return {"protocol", *(part["kind"] for part in parts)}


def fields_of(kinds: Iterable[str]) -> set[str]:
    return {f"{k}.{f.name}" for k in kinds for f in dataclasses.fields(METHODS[k])}


BEYOND = "Methods beyond the paper"
SOURCES = rows("Sources") | rows(BEYOND)


@pytest.mark.parametrize("kind", sorted(set(METHODS) - SILENT))
def test_every_field_has_a_value_and_a_source(kind: str) -> None:
    for field in dataclasses.fields(METHODS[kind]):
        value, source, _ = SOURCES[f"{kind}.{field.name}"]
        assert value and source


def test_no_row_is_of_a_field_that_is_gone_or_in_the_wrong_table() -> None:
    assert set(rows("Sources")) == fields_of(of_the_paper())
    assert set(rows(BEYOND)) == fields_of(set(METHODS) - of_the_paper())


def test_the_switches_are_those_of_which_the_text_says_something_else() -> None:
    switches = {f"{k}.{f}" for k, m in METHODS.items() for f in preset_values(m, "paper")}
    assert set(rows("Where the text says something else")) == switches
