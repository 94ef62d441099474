# From the config to paths: the workflow's only Python helpers. Everything else is `fedrec …`.

import json
import os
import re
import shlex
import sys
from pathlib import Path

import yaml

from fedrec import __version__
from fedrec.errors import ConfigError
from fedrec.extending import in_full
from fedrec.data.interactions import SCHEMA
from fedrec.data.sources import LocalFile
from fedrec.files import NAME
from fedrec.yaml_files import read_yaml
from fedrec.plan.plan import Plan
from fedrec.plan.blocks import Scorecard
from fedrec.plan.cells import cell_path
from snakemake.exceptions import WorkflowError


def retyped(value):
    """Return a list or mapping of `--config` with typed values; Snakemake leaves them as texts."""
    if isinstance(value, dict):
        return {key: retyped(part) for key, part in value.items()}
    if isinstance(value, list):
        return [retyped(part) for part in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


GIVEN = workflow.config_settings.config or {}
for key, value in GIVEN.items():
    if isinstance(value, list):
        config[key] = retyped(value)

try:
    from fedrec.config.study import Study

    STUDY = Study.parse(config, workflow.configfiles)
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    STUDY = Plan.read(config, workflow.configfiles)  # enough for `published-figures`
except ConfigError as error:
    told = (
        f"\n(`--config` on the command line sets {', '.join(GIVEN)})" if GIVEN else ""
    )
    raise WorkflowError(f"the configuration cannot be used:\n{error}{told}")


IN_FULL = in_full(config, workflow.configfiles).values  # with the files they extend
RESULTS = STUDY.results
PUBLISHED = f"{RESULTS}/published"
SO_FAR = f"{RESULTS}/so-far"
DOWNLOADS = "resources/downloads"
CELLS = {
    cell_path(cell): cell
    for block in STUDY.blocks().values()
    for cell in STUDY.cells(block)
}
# Seeds of later looks (docs/decisions/019): made only if requested, and shown only by claims.
LOOKS = (
    read_yaml(Path(beside(STUDY.claims.file))).get("looks", [0])
    if STUDY.claims
    else [0]
)
LATER = {
    cell_path(later): later
    for cell in CELLS.values()
    for seed in range(LOOKS[0], LOOKS[-1])
    for later in [cell.model_copy(update={"seed": seed})]
    if cell_path(later) not in CELLS
}
NOTE = ["--note", STUDY.note] if STUDY.note else []
CARD = STUDY.claims or Scorecard()
JUDGED_TABLES = ["claims", "secondary", "appendix", "numbers"] if STUDY.claims else []
JUDGED_FIGURES = ["claims", "numbers"] if STUDY.claims else []
TABLES = [*STUDY.tables, "runs", *JUDGED_TABLES]
FIGURES = [*STUDY.figures, *JUDGED_FIGURES]
# Config files that a command has to name.
OTHER_CONFIG = [
    os.path.relpath(path)
    for path in workflow.configfiles
    if os.path.relpath(path) != "config/paper.yaml"
]
# The command that the explorer shows before the path of a record.
COMMAND = "snakemake --cores 1" + "".join(
    f" --configfile {shlex.quote(path)}" for path in OTHER_CONFIG
)
SHOWN = ["csv", "md", "tex", "html"]
DRAWN = ["pdf", "svg", "png"]


wildcard_constraints:
    home="|".join(map(re.escape, (RESULTS, PUBLISHED, SO_FAR))),
    dataset="|".join(map(re.escape, STUDY.datasets)) or "none",
    file=NAME,
    block="|".join(map(re.escape, STUDY.blocks())) or "none",
    cell="|".join(map(re.escape, [*CELLS, *LATER])) or "none",


def products(home, tables=TABLES, figures=FIGURES):
    """Return the files of all tables and figures of the study, or of some."""
    return expand(
        "{home}/tables/{block}.{ext}", home=home, block=tables, ext=SHOWN
    ) + expand("{home}/figures/{block}.{ext}", home=home, block=figures, ext=DRAWN)


def blocks(*kinds):
    """Return a wildcard pattern for the tables and figures of some kinds."""
    found = [name for name, block in STUDY.blocks().items() if block.kind in kinds]
    return "|".join(map(re.escape, found)) or "none"


def cells(block):
    """Return the cells of a table or figure, as paths."""
    return [cell_path(cell) for cell in STUDY.cells(STUDY.blocks()[block])]


def cell_of(wildcards):
    """Return the cell of a record."""
    return CELLS.get(wildcards.cell) or LATER[wildcards.cell]


def siblings(cell):
    """Return the other seeds of a cell: those of the study, or those of its later looks."""
    arm, together = os.path.dirname(cell), CELLS if cell in CELLS else LATER
    return [
        str(other.seed)
        for path, other in together.items()
        if os.path.dirname(path) == arm and path != cell
    ]


def records_at(home, wanted):
    """Return the records of some cells: fresh ones, those made so far, or the published file."""
    if home == PUBLISHED:
        return [f"{PUBLISHED}/records.jsonl.gz"]
    paths = [f"{RESULTS}/runs/{cell}" for cell in wanted]
    return [path for path in paths if os.path.exists(path)] if home == SO_FAR else paths


def records(wildcards):
    """Return the records that a table or figure shows."""
    return records_at(wildcards.home, cells(wildcards.block))


def all_records(wildcards):
    """Return the records of the whole study, and the existing ones of later looks."""
    home = wildcards.get("home", RESULTS)
    later = [] if home == PUBLISHED else records_at(SO_FAR, LATER)
    return records_at(home, CELLS) + later


def used_datasets():
    """Return the datasets used in tables and figures."""
    return sorted({d for block in STUDY.blocks().values() for d in block.datasets})


def grouped_datasets():
    """Return the datasets whose users are shown in groups."""
    figures = STUDY.figures.values()
    return sorted(
        {d for block in figures if block.kind == "victims" for d in block.datasets}
    )


def present(paths):
    """Return the files that exist."""
    return [path for path in paths if os.path.exists(path)]


def so_far():
    """Return the tables and figures that have at least one record."""
    there = {cell for cell in CELLS if os.path.exists(f"{RESULTS}/runs/{cell}")}
    some = {name for name in STUDY.blocks() if there & set(cells(name))}
    if not there:
        return []
    tables = [name for name in TABLES if name in some or name not in STUDY.tables]
    figures = [name for name in FIGURES if name in some or name not in STUDY.figures]
    return [*products(SO_FAR, tables, figures), f"{SO_FAR}/explorer.html"]


def groups(wildcards):
    """Return the files with the groups of users that a figure shows, if it shows any."""
    block = STUDY.figures[wildcards.block]
    home = PUBLISHED if wildcards.home == PUBLISHED else RESULTS
    shown = block.datasets if block.kind == "victims" else []
    return [f"{home}/data/{dataset}/groups.json" for dataset in shown]


def switches(wildcards):
    """Return the file that lists where text and code differ."""
    home = PUBLISHED if wildcards.home == PUBLISHED else RESULTS
    return f"{home}/data/switches.json"


def statistics(name):
    """Return a function that finds a statistics file for each dataset of a table, or of all."""

    def paths(wildcards):
        block = STUDY.tables.get(wildcards.get("block"))
        home = RESULTS if wildcards.home == SO_FAR else wildcards.home
        found = [
            f"{home}/data/{dataset}/{name}.json"
            for dataset in (block.datasets if block else used_datasets())
        ]
        return found if wildcards.home == RESULTS else present(found)

    return paths


def block_json(wildcards):
    """Return a table's or figure's block as JSON, with the study's seeds, for its command."""
    block = STUDY.blocks()[wildcards.block]
    if block.kind == "deviations" and block.seeds is None:
        block = block.model_copy(update={"seeds": STUDY.seeds})
    return block.model_dump_json()


def whole_study():
    """Return the study with all settings. Without PyTorch, only its plan is known."""
    if type(STUDY) is Plan:
        raise WorkflowError(
            "making data and training need PyTorch, which is not installed: "
            "pip install --requirement envs/torch.txt"
        )
    return STUDY


def dataset_json(wildcards):
    """Return a dataset's entry in the config as JSON."""
    return whole_study().datasets[wildcards.dataset].model_dump_json(exclude_none=True)


def files(kind):
    """Return a function that lists a dataset's files of a kind: `raw` or `lists`.

    There are none if the dataset is generated. A local file is read in place, so that Snakemake sees
    when it changes.
    """

    def path(dataset, source):
        if isinstance(source, LocalFile):
            return source.path
        return f"{DOWNLOADS}/{dataset}/{source.name}"

    def paths(wildcards):
        sources = getattr(whole_study().datasets[wildcards.dataset], kind)
        return [path(wildcards.dataset, source) for source in sources]

    return paths


def title(wildcards):
    """Return the report's label for a table or figure."""
    name = getattr(wildcards, "block", "claims")
    return {"name": name.replace("-", " ").capitalize()}
