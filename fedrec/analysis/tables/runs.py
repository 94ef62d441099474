"""The table of runs: results, malicious clients, and cost."""

from collections.abc import Sequence

import pandas as pd

from fedrec.analysis.summary import version
from fedrec.analysis.tables.notes import of_records
from fedrec.analysis.tables.table import Table
from fedrec.plan.cells import cell_path
from fedrec.plan.metrics import Report
from fedrec.records import Record


def run_table(records: Sequence[Record], report: Report, note: str) -> Table:
    """Return a table with one row for each record."""
    values = pd.DataFrame([_row(record, report) for record in records])
    shown = pd.DataFrame(
        {
            "Run": values.record,
            "HR@5": [f"{v:.5f}" for v in values["hr@5"]],
            "NDCG@5": [f"{v:.5f}" for v in values["ndcg@5"]],
            "At round": values["round"],
            "Malicious users": values.malicious_users,
            "Their uploads": values.malicious_uploads,
            "In rounds": values.malicious_rounds,
            "Minutes": [f"{v / 60:.1f}" for v in values.seconds],
            "ms a round": [f"{1000 * v:.1f}" for v in values.seconds_per_round],
            "Peak MiB": [f"{v:.0f}" for v in values.peak_memory_mb],
            "Device": values.device,
            "Version": values.version,
        }
    )
    hours = values.seconds.sum() / 3600
    notes = [f"{len(values)} runs, {hours:.1f} hours in all.", *of_records(records, note)]
    return Table("Runs", values, shown, notes)


def _row(record: Record, report: Report) -> dict[str, object]:
    return {
        "record": cell_path(record.cell),
        "hr@5": record.reported("hr@5", report),
        "ndcg@5": record.reported("ndcg@5", report),
        "round": record.trajectory.round[record.reported_index(report)],
        **{f"malicious_{name}": count for name, count in record.malicious},
        **record.cost.model_dump(),
        "device": record.provenance.device,
        "processor": record.provenance.processor,
        "system": record.provenance.system,
        "version": version(record),
        "config_hash": record.config_hash,
        "dataset_checksum": record.dataset_checksum,
    }
