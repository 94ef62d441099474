"""What is published follows from the published records, and from nothing else."""

import gzip
import json
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedrec.config.study import Study
from fedrec.plan.cells import cell_path
from fedrec.records import read_records

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published"
STUDY = Study.load(ROOT / "config" / "paper.yaml")
TABLES = [name for name, block in STUDY.tables.items() if block.kind == "attacks"]


def raw_records() -> dict[str, dict[str, Any]]:
    """The records as plain JSON, by the path of their cell, read without the project's code."""
    found = {}
    text = gzip.decompress((PUBLISHED / "records.jsonl.gz").read_bytes()).decode()
    for record in map(json.loads, text.splitlines()):
        c = record["cell"]
        ratio = f"m{c['ratio']:g}"
        path = f"{c['dataset']}/{c['model']}/{c['attack']}/{c['defense']}/{ratio}/seed{c['seed']}"
        found[f"{path}.json"] = record
    return found


def reported(record: dict[str, Any], metric: str) -> float:
    """Test metric at the round of the best validation HR@5, the first of several."""
    track = record["trajectory"]
    validation = track["validation"]["hr@5"]
    return track["test"][metric][validation.index(max(validation))]


@pytest.mark.parametrize("name", TABLES)
def test_every_number_of_a_table_follows_from_the_records_it_names(name: str) -> None:
    records, table = raw_records(), pd.read_csv(PUBLISHED / "tables" / f"{name}.csv")
    table["records"] = table["records"].fillna("")
    for row in table.to_dict("records"):
        values = [reported(records[path], row["metric"]) for path in row["records"].split()]
        assert len(values) == row["seeds"]
        if values:
            assert row["mean"] == pytest.approx(statistics.fmean(values))
        if len(values) > 1:
            assert row["std"] == pytest.approx(statistics.stdev(values))


def test_every_published_record_is_of_the_study_as_configured() -> None:
    """A changed constant would otherwise leave old numbers under its name."""
    for record in read_records([PUBLISHED / "records.jsonl.gz"]):
        settings = STUDY.cell_config(record.cell).values
        assert record.config == settings, cell_path(record.cell)
