# From the config to paths. The only Python helpers of the workflow; all else is `fedrec …`.

import json
import os
import re
import sys

from fedrec import __version__
from fedrec.config import ConfigError, Study
from fedrec.files import NAME
from fedrec.records import cell_path
from snakemake.exceptions import WorkflowError

try:
    STUDY = Study.parse(config, workflow.configfiles)
except ConfigError as error:
    raise WorkflowError(f"the configuration cannot be used:\n{error}")

RESULTS = STUDY.results
PUBLISHED = f"{RESULTS}/published"
DOWNLOADS = "resources/downloads"
CELLS = {
    cell_path(cell): cell
    for block in STUDY.blocks().values()
    for cell in STUDY.cells(block)
}


wildcard_constraints:
    home="|".join(map(re.escape, (RESULTS, PUBLISHED))),
    dataset="|".join(map(re.escape, STUDY.datasets)),
    file=NAME,
    block="|".join(map(re.escape, STUDY.blocks())) or "none",
    cell="|".join(map(re.escape, CELLS)) or "none",


def products(home):
    """Every table and figure of the study."""
    tables = expand(
        "{home}/tables/{block}.{ext}",
        home=home,
        block=STUDY.tables,
        ext=["csv", "md", "tex"],
    )
    figures = expand(
        "{home}/figures/{block}.{ext}",
        home=home,
        block=STUDY.figures,
        ext=["pdf", "png"],
    )
    return tables + figures


def blocks(*kinds):
    """A wildcard pattern of the tables and figures of some kinds."""
    found = [name for name, block in STUDY.blocks().items() if block.kind in kinds]
    return "|".join(map(re.escape, found)) or "none"


def records(wildcards):
    """The records that a table or figure shows: fresh ones, or the published file."""
    if wildcards.home == PUBLISHED:
        return [f"{PUBLISHED}/records.jsonl.gz"]
    cells = STUDY.cells(STUDY.blocks()[wildcards.block])
    return [f"{RESULTS}/runs/{cell_path(cell)}" for cell in cells]


def block_json(wildcards):
    """What a table or figure shows, for the command that makes it."""
    return STUDY.blocks()[wildcards.block].model_dump_json()


def dataset_json(wildcards):
    """A dataset's entry in the config."""
    return STUDY.datasets[wildcards.dataset].model_dump_json(exclude_none=True)


def downloads(files):
    """The downloads of a kind (`raw` or `lists`) that a dataset is made from; none if generated."""

    def paths(wildcards):
        sources = getattr(STUDY.datasets[wildcards.dataset], files)
        return [f"{DOWNLOADS}/{wildcards.dataset}/{source.name}" for source in sources]

    return paths
