"""The `pictures` subcommand: pictures of item embeddings, for the explorer."""

import argparse
from pathlib import Path
from typing import Any

from fedrec.cli.arguments import add_config, add_machine, stage_of
from fedrec.errors import ConfigError
from fedrec.files import write_text
from fedrec.yaml_files import nearest_name


def add_to(stages: Any) -> None:
    """Add the subcommand to the parser."""
    sub = stage_of(stages)("pictures", pictures)
    sub.add_argument("figure", metavar="NAME", help="a figure of the config")
    text = "take a picture after each of these rounds"
    sub.add_argument("--rounds", type=int, nargs="+", required=True, help=text)
    sub.add_argument("--output", type=Path, required=True, help="file to write (.json)")
    add_config(sub)
    add_machine(sub)


def pictures(args: argparse.Namespace) -> None:
    """Train the first seed of a figure's cells, and take pictures of the item embeddings.

    The figure's dataset must have synthetic communities: they show which items belong together.
    Example: fedrec pictures headline --config config/demo.yaml --rounds 400 --output headline.json
    """
    from fedrec.config.study import Study
    from fedrec.data.split import leave_one_out
    from fedrec.kernels.threads import prepare
    from fedrec.records import Pictures
    from fedrec.training.pictures import Photographer
    from fedrec.training.progress import Progress
    from fedrec.training.run import choose_device, run_cell

    study = Study.load(*args.config)
    if args.figure not in study.figures:
        near = nearest_name(args.figure, study.figures)
        raise ConfigError(f"no figure {args.figure!r}{near}")
    cells = study.cells(study.figures[args.figure])
    cells = [cell for cell in cells if cell.seed == cells[0].seed]
    communities = study.datasets[cells[0].dataset].communities
    if communities is None or {cell.dataset for cell in cells} != {cells[0].dataset}:
        raise ConfigError(f"{args.figure}: pictures need one dataset, of synthetic communities")
    prepare(args.threads)
    interactions, found = communities.generate(), []
    split = leave_one_out(interactions)
    for cell in cells:
        photographer = Photographer(cell, args.rounds)
        listeners = [photographer, Progress()]
        run_cell(study.cell_config(cell), split, choose_device(args.device), listeners)
        found += photographer.pictures
    made = Pictures(
        dataset=cells[0].dataset,
        ratio=max(cell.ratio for cell in cells),
        community=communities.of_items()[interactions.item_labels.astype(int)].tolist(),
        pictures=found,
    )
    write_text(args.output, made.model_dump_json() + "\n")
