"""Run a study and show its progress: a line for each stage, a bar, and the paths at the end.

`python tools/demo.py CONFIG [TARGET …]` makes the targets, or all outputs of the study, and a page
with all of them. Snakemake's output goes to `RESULTS/demo.log`.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fedrec.cli.workflow import watch
from fedrec.config.study import Study
from fedrec.plan.cells import cell_path


def main(config: str, targets: Sequence[str]) -> int:
    """Make data, runs, tables and figures, and the page; return Snakemake's exit code."""
    study, start = Study.load(config), time.monotonic()
    results = Path(study.results)
    cells = dict.fromkeys(cell for block in study.blocks().values() for cell in study.cells(block))
    splits = [results / "data" / name / "split.npz" for name in study.datasets]
    records = [results / "runs" / cell_path(cell) for cell in cells]
    shown = [Path(target) for target in targets] or [Path("reproduce-all")]
    page = results / "report.html"
    stages = [
        ("making the data", splits, []),
        (f"training {len(records)} runs", records, ["--set-resources", "train:together=1"]),
        ("drawing tables and figures", shown, []),
        ("putting all of it on one page", shown, ["--report", str(page)]),
    ]
    for i, (title, made, options) in enumerate(stages, start=1):
        print(f"{i}/{len(stages)}  {title}", flush=True)
        code = _make(config, made, options, results / "demo.log")
        if code:
            print(f"failed: {results / 'demo.log'} says why", file=sys.stderr)
            return code
    print(f"done in {time.monotonic() - start:.0f} s:")
    made = shown if targets else [results / "figures", results / "tables"]
    for path in (*made, page):
        print(f"  {path}")
    return 0


def _make(config: str, files: Sequence[Path], options: Sequence[str], log: Path) -> int:
    """Run Snakemake to make some files, with a bar that counts those that exist."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["snakemake", *map(str, files), "--cores", "all", "--configfile", config, *options]
    with log.open("a") as output, subprocess.Popen(command, stdout=output, stderr=output) as run:
        watch(run, files)
    return int(run.returncode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
