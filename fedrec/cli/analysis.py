"""Subcommands that turn records into tables, figures and verdicts."""

import argparse
import shlex
from collections.abc import Sequence
from io import StringIO
from os.path import relpath
from pathlib import Path
from typing import Any

from fedrec.cli.arguments import (
    add_block,
    add_cells,
    add_config,
    add_counts,
    add_records,
    add_table,
    figure_of,
    json_of,
    print_lines,
    stage_of,
    valid,
)
from fedrec.data.groups import Groups
from fedrec.data.interactions import Counts
from fedrec.data.split import Repeats
from fedrec.data.statistics import load_statistics
from fedrec.errors import RecordError
from fedrec.files import read_with_sum, write_text, write_with_sum
from fedrec.plan.blocks import AttackTable, DatasetTable, DeviationTable, Leaderboard, Scorecard
from fedrec.plan.cells import cell_path, parse_cell
from fedrec.plan.variants import Switch
from fedrec.records import Record, add_to_pack, read_pictures, read_records


def add_to(stages: Any) -> None:
    """Add the subcommands to the parser."""
    stage = stage_of(stages)
    sub = stage("summary", summary)
    add_records(sub)
    add_cells(sub)
    sub.add_argument("--output", type=Path, required=True, help="summary to write (.csv)")

    sub = stage("figure", figure)
    add_block(sub)
    add_records(sub)
    add_cells(sub)
    text = "groups.json of each dataset, for `victims`, in a folder with the dataset's name"
    sub.add_argument("--groups", type=Path, nargs="*", default=[], help=text)
    sub.add_argument("--output", type=Path, required=True, help="PDF; SVG and PNG go beside it")

    sub = stage("table", table)
    add_block(sub)
    sub.add_argument("--summary", type=Path, required=True, help="summary (.csv)")
    _add_paper(sub)
    add_table(sub)

    sub = stage("dataset-table", dataset_table)
    add_block(sub)
    add_counts(sub)
    text = "repeats.json of each dataset, in a folder with the dataset's name"
    sub.add_argument("--repeats", type=Path, nargs="+", required=True, help=text)
    _add_paper(sub)
    add_table(sub)

    sub = stage("deviations", deviations)
    add_block(sub)
    add_records(sub)
    sub.add_argument("--switches", type=Path, required=True, help="switches.json")
    add_table(sub)

    sub = stage("leaderboard", leaderboard)
    add_block(sub)
    add_records(sub)
    add_cells(sub)
    add_table(sub)

    sub = stage("claims", claims)
    _add_claims(sub)
    add_records(sub)
    add_counts(sub)
    add_table(sub)
    _add_picture(sub)
    text = "table of the verdicts by other measures (CSV, with the others beside it)"
    sub.add_argument("--secondary", type=Path, required=True, help=text)
    text = "artifact appendix: command, time, disk and expected numbers per claim (CSV and others)"
    sub.add_argument("--appendix", type=Path, required=True, help=text)
    text = "config files that the appendix names in its commands (default: the paper's)"
    sub.add_argument("--config", nargs="*", default=[], help=text)

    sub = stage("plan", plan)
    _add_claims(sub)
    add_records(sub)

    sub = stage("numbers", numbers)
    _add_scorecard(sub)
    text = "the study's seeds, without those of a second look (default: all)"
    sub.add_argument("--seeds", type=int, nargs="+", default=[], help=text)
    add_records(sub)
    _add_paper(sub)
    add_table(sub)
    _add_picture(sub)

    sub = stage("runs", runs)
    add_records(sub)
    add_table(sub)

    sub = stage("explorer", explorer)
    _add_explorer(sub)

    sub = stage("configuration", configuration)
    sub.add_argument("config", metavar="JSON", help="the configuration")
    sub.add_argument("--note", default="", help="note shown below it")
    sub.add_argument("--output", type=Path, required=True, help="page to write (.html)")

    sub = stage("publish", publish)
    sub.add_argument("records", type=Path, nargs="+", help="records of single runs")
    sub.add_argument("--counts", type=Path, nargs="+", help="counts and other statistics")
    sub.add_argument("--switches", type=Path, help="switches.json")
    sub.add_argument("--folder", type=Path, required=True, help="write the files to this folder")

    add_config(stage("outputs", outputs))


def _add_claims(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--claims", type=Path, required=True, help="claims and their tests (.yaml)")
    _add_scorecard(sub)


def _add_scorecard(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--scorecard", default="{}", help="the scorecard's entry in the config")


def _add_explorer(sub: argparse.ArgumentParser) -> None:
    add_records(sub)
    add_cells(sub)
    add_counts(sub)
    text = "claims and their tests (.yaml), if the page should judge claims"
    sub.add_argument("--claims", type=Path, nargs="*", default=[], help=text)
    _add_scorecard(sub)
    text = "pictures of item embeddings, made by `fedrec pictures`, if any"
    sub.add_argument("--pictures", type=Path, nargs="*", default=[], help=text)
    sub.add_argument("--note", default="", help="note shown at the top")
    text = "folder for the records that the page's commands make (default: %(default)s)"
    sub.add_argument("--runs", default="results/runs", help=text)
    text = "command that makes a run's record (default: %(default)s)"
    sub.add_argument("--command", default="snakemake --cores 1", help=text)
    sub.add_argument("--logs", type=Path, help="logs of runs, to tell failed runs from missing")
    sub.add_argument("--output", type=Path, required=True, help="page to write (.html)")


def _add_picture(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--picture", type=Path, required=True, help="PDF; SVG and PNG go beside it")


def _add_paper(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--paper", type=Path, required=True, help="the paper's values (.csv)")


def summary(args: argparse.Namespace) -> None:
    """Aggregate the records of one table over seeds."""
    from fedrec.analysis.summary import summarise

    cells = [parse_cell(path) for path in args.cells]
    records = read_records(args.records)
    frame = summarise(_shown(records, args), args.report, cells)
    write_with_sum(args.output, frame.to_csv(index=False))


def table(args: argparse.Namespace) -> None:
    """Make a table of attacks from a summary, as CSV, Markdown, LaTeX and HTML."""
    import pandas as pd

    from fedrec.analysis.tables.attacks import attack_table, constants, formatted
    from fedrec.analysis.tables.notes import of_summary
    from fedrec.analysis.tables.table import Table

    block = valid(AttackTable, args.block)
    values = attack_table(
        pd.read_csv(StringIO(_summary(args.summary))), pd.read_csv(args.paper), block.metrics
    )
    title = f"{block.title.rstrip('.')} ({constants(values)})."
    notes = of_summary(values, args.note)
    Table(title, values, formatted(values), notes).write(args.output)


def dataset_table(args: argparse.Namespace) -> None:
    """Make the table of datasets from their counts, as CSV, Markdown, LaTeX and HTML."""
    import pandas as pd

    from fedrec.analysis.tables.datasets import dataset_table, formatted_datasets
    from fedrec.analysis.tables.table import Table

    counts, repeats = (
        {path.parent.name: vars(load_statistics(kind, path)) for path in paths}
        for kind, paths in ((Counts, args.counts), (Repeats, args.repeats))
    )
    values = dataset_table(counts, repeats, pd.read_csv(args.paper))
    notes = [args.note] if args.note else []
    Table(valid(DatasetTable, args.block).title, values, formatted_datasets(values), notes).write(
        args.output
    )


def deviations(args: argparse.Namespace) -> None:
    """Make the table of switches between the paper's text and code, and of their effects."""
    from fedrec.analysis.tables.deviations import TRACED, deviations, formatted_deviations, of_block
    from fedrec.analysis.tables.notes import of_records
    from fedrec.analysis.tables.table import Table

    block = valid(DeviationTable, args.block)
    records = read_records(args.records)
    switches = [Switch.model_validate(entry) for entry in json_of(args.switches.read_text())]
    values = deviations(switches, records, block, args.report)
    notes = [TRACED, *of_records(of_block(records, block), args.note)]
    Table(block.title, values, formatted_deviations(values, block), notes).write(args.output)


def leaderboard(args: argparse.Namespace) -> None:
    """Make the table of defences by their worst case over attacks, with their cost."""
    from fedrec.analysis.tables.attacks import constants
    from fedrec.analysis.tables.leaderboard import formatted_leaderboard, leaderboard, notes_of
    from fedrec.analysis.tables.notes import of_summary
    from fedrec.analysis.tables.table import Table

    block = valid(Leaderboard, args.block)
    shown = _shown(read_records(args.records), args)
    values = leaderboard(shown, block, args.report, [parse_cell(path) for path in args.cells])
    title = f"{block.title.rstrip('.')} ({constants(values)})."
    notes = [*notes_of(block, shown), *of_summary(values, args.note)]
    Table(title, values, formatted_leaderboard(values), notes).write(args.output)


def claims(args: argparse.Namespace) -> None:
    """Judge the paper's claims from records: a table, a figure, and a table by other measures."""
    from fedrec.analysis.claims import Claims
    from fedrec.analysis.evidence import Evidence
    from fedrec.analysis.figures.scorecard import draw
    from fedrec.analysis.figures.style import save_figure
    from fedrec.analysis.measure import measures
    from fedrec.analysis.scorecard import looks, scorecard
    from fedrec.analysis.tables.appendix import appendix_table
    from fedrec.analysis.tables.claims import scorecard_table, secondary_table
    from fedrec.analysis.tables.notes import of_picture, of_records

    known, records = Claims.load(args.claims), read_records(args.records)
    counts = {path.parent.name: vars(load_statistics(Counts, path)) for path in args.counts}
    entry, notes = valid(Scorecard, args.scorecard), of_records(records, args.note)
    judging = {
        str(measure): looks(known, Evidence(records, counts, entry, measure))
        for measure in measures(args.report)
    }
    cards = {measure: scorecard(found) for measure, found in judging.items()}
    card = next(iter(cards.values()))
    made = scorecard_table(card, notes)
    made.write(args.output)
    secondary_table(cards, notes).write(args.secondary)
    options = f" --config {shlex.join(args.config)}" if args.config else ""
    appendix_table(next(iter(judging.values())), records, options, notes).write(args.appendix)
    save_figure(draw(card, made.title, of_picture(records, args.note)), args.picture)


def plan(args: argparse.Namespace) -> None:
    """List the runs that would decide open claims, the cheapest decision first."""
    from fedrec.analysis.claims import Claims
    from fedrec.analysis.evidence import Evidence
    from fedrec.analysis.measure import Measure
    from fedrec.analysis.more_seeds import lines
    from fedrec.analysis.scorecard import plan

    known, records = Claims.load(args.claims), read_records(args.records)
    measure = Measure(report=args.report)
    evidence = Evidence(records, {}, valid(Scorecard, args.scorecard), measure)
    print_lines(lines(plan(known, evidence, records), known.looks))


def numbers(args: argparse.Namespace) -> None:
    """Compare each number of the paper with this study's, in a table and a figure."""
    import pandas as pd

    from fedrec.analysis.figures.numbers import draw
    from fedrec.analysis.figures.style import save_figure
    from fedrec.analysis.numbers import numbers
    from fedrec.analysis.tables.notes import of_picture, of_records
    from fedrec.analysis.tables.numbers import numbers_table, summary_of

    records, entry = read_records(args.records), valid(Scorecard, args.scorecard)
    paper = pd.read_csv(args.paper)
    found = numbers(records, paper, entry.datasets, args.report, args.seeds)
    made = numbers_table(found, of_records(records, args.note, count=False))
    made.write(args.output)
    title, note = f"{made.title}: {summary_of(found)}", of_picture(records, args.note)
    save_figure(draw(found, title, note), args.picture)


def runs(args: argparse.Namespace) -> None:
    """List every run: its metrics, its cost, and the code that made it."""
    from fedrec.analysis.tables.runs import run_table

    run_table(read_records(args.records), args.report, args.note).write(args.output)


def figure(args: argparse.Namespace) -> None:
    """Draw a figure from records, as PDF, SVG and PNG."""
    from importlib import import_module

    from fedrec.analysis.figures.style import save_figure
    from fedrec.analysis.tables.notes import of_picture

    block = figure_of(args.block)
    drawing = import_module(f"fedrec.analysis.figures.{block.kind}")
    shown = _shown(read_records(args.records), args)
    groups = {path.parent.name: vars(load_statistics(Groups, path)) for path in args.groups}
    more = {"groups": groups} if groups else {}
    made = drawing.draw(shown, block, args.report, note=of_picture(shown, args.note), **more)
    save_figure(made, args.output)


def explorer(args: argparse.Namespace) -> None:
    """Make a page to explore records, runs and claims; it needs no server and no network."""
    from fedrec.analysis.claims import Claims
    from fedrec.analysis.evidence import Evidence
    from fedrec.analysis.explorer.page import Study, page
    from fedrec.analysis.explorer.runs import Places
    from fedrec.analysis.measure import Measure

    records, card = read_records(args.records), valid(Scorecard, args.scorecard)
    counts = {path.parent.name: vars(load_statistics(Counts, path)) for path in args.counts}
    packed = [path for path in args.records if path.suffix == ".gz"]
    record = relpath((packed or [args.runs])[0], args.output.parent)
    study = Study(
        records=records,
        wanted=[parse_cell(path) for path in args.cells],
        report=args.report,
        claims=next(map(Claims.load, args.claims), None),
        evidence=Evidence(records, counts, card, Measure(report=args.report)),
        pictures=next(map(read_pictures, args.pictures), None),
        note=args.note,
    )
    places = Places(args.runs, args.command, record, args.logs)
    write_text(args.output, page(study, places))


def configuration(args: argparse.Namespace) -> None:
    """Show a configuration as an HTML page."""
    import yaml

    from fedrec.analysis.tables.table import page

    text = yaml.safe_dump(json_of(args.config), sort_keys=False, allow_unicode=True)
    write_text(args.output, page("Configuration", text, args.note))


def publish(args: argparse.Namespace) -> None:
    """Publish records: add them and the datasets' statistics to the files of a folder.

    A new record replaces an older one of the same cell; all other records stay.
    """
    add_to_pack(read_records(args.records), args.folder / "records.jsonl.gz")
    for path in args.counts or ():
        write_text(args.folder / "data" / path.parent.name / path.name, path.read_text())
    if args.switches:
        write_text(args.folder / "data" / args.switches.name, args.switches.read_text())


def outputs(args: argparse.Namespace) -> None:
    """List the tables, figures and summaries that a study has made."""
    from fedrec.config.study import Study

    results = Path(Study.load(*args.config).results)
    for folder in ("tables", "figures", "summary"):
        for path in sorted((results / folder).glob("*")):
            if path.suffix not in (".sha256", ".tmp"):
                print(path)


def _summary(path: Path) -> str:
    try:
        return read_with_sum(path)
    except ValueError as error:
        raise RecordError(f"{path}: {error}: delete it and run `summary` again") from None


def _shown(records: Sequence[Record], args: argparse.Namespace) -> list[Record]:
    """Return the records of the cells to show, in the order of the cells.

    Raises:
        RecordError: no cell to show has a record.
    """
    order = {path: i for i, path in enumerate(args.cells)}
    if not order:
        return list(records)
    shown = [record for record in records if cell_path(record.cell) in order]
    if not shown:
        raise RecordError(f"{args.records[0]} and others: no record of the cells to show")
    return sorted(shown, key=lambda record: order[cell_path(record.cell)])
