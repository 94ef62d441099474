"""The metrics of every run, and the evaluation that is reported."""

from typing import Literal, get_args

CUTOFFS = (5, 10, 20)
Metric = Literal["hr@5", "ndcg@5", "hr@10", "ndcg@10", "hr@20", "ndcg@20", "mrr"]
METRICS: tuple[Metric, ...] = get_args(Metric)
SELECTION_METRIC: Metric = "hr@5"  # the validation metric that selects the reported round

Item = Literal["validation", "test"]  # the item of a user that metrics look for
Report = Literal["best_val", "last"]
REPORTS: tuple[Report, ...] = get_args(Report)
