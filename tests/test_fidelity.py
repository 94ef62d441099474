"""No constant without a source: docs/fidelity.md has a row for every field of every method."""

import dataclasses
import re
from pathlib import Path

import pytest

from fedrec.config.methods import KINDS
from fedrec.config.protocol import TrainingProtocol
from fedrec.settings import preset_values

ROOT = Path(__file__).parents[1]
METHODS = {
    "protocol": TrainingProtocol,
    **{k: m for group in KINDS.values() for k, m in group.items()},
}
SILENT = {"no_attack", "mean"}  # methods without a field


def rows(heading: str) -> dict[str, list[str]]:
    """The cells beside each `method.field` that a table below a heading names first."""
    page = (ROOT / "docs" / "fidelity.md").read_text()
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        found |= {name: others for name in re.findall(r"`(\w+\.\w+)`", first)}
    return found


SOURCES = rows("Sources")


@pytest.mark.parametrize("kind", sorted(set(METHODS) - SILENT))
def test_every_field_has_a_value_and_a_source(kind: str) -> None:
    for field in dataclasses.fields(METHODS[kind]):
        value, source, _ = SOURCES[f"{kind}.{field.name}"]
        assert value and source


def test_no_row_is_of_a_field_that_is_gone() -> None:
    known = {f"{k}.{f.name}" for k, m in METHODS.items() for f in dataclasses.fields(m)}
    assert set(SOURCES) == known


def test_the_switches_are_those_of_which_the_text_says_something_else() -> None:
    switches = {f"{k}.{f}" for k, m in METHODS.items() for f in preset_values(m, "paper")}
    assert set(rows("Where the text says something else")) == switches
