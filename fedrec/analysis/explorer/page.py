"""The explorer's page: counts, choices, charts, claims, and every run by its arm."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fedrec.analysis.claims import Claims, criterion
from fedrec.analysis.evidence import Evidence
from fedrec.analysis.explorer.charts import charts, picture
from fedrec.analysis.explorer.frames import (
    METRICS,
    arm_id,
    curves,
    filtered,
    first_choice,
    items,
    numbers,
    options,
)
from fedrec.analysis.explorer.runs import Places, Run, runs_of, tally
from fedrec.analysis.measure import Measure, seedless
from fedrec.analysis.scorecard import judged
from fedrec.analysis.tables.notes import of_records
from fedrec.analysis.tables.table import rows_of
from fedrec.errors import RecordError
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.plan.metrics import Report
from fedrec.records import Pictures, Record

VEGA_LITE = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]  # the version of the charts
FOLDER = Path(__file__).parent
LABELS = {"dataset": "Dataset", "model": "Model", "attack": "Attack", "defense": "Defence",
          "ratio": "Malicious users", "metric": "Metric"}  # fmt: skip
# Runs that always stay visible: those without attack and without defence, beside the chosen ones.
KEPT = {"dataset": None, "model": None, "attack": BASELINE, "defense": PLAIN, "ratio": "0"}


@dataclass(frozen=True)
class Study:
    """The contents of a page."""

    records: Sequence[Record]
    wanted: Sequence[Cell] = ()  # the cells that tables and figures ask for
    report: Report = "best_val"
    claims: Claims | None = None
    evidence: Evidence | None = None  # to judge the claims
    pictures: Pictures | None = None  # pictures of item embeddings
    note: str = ""


def page(study: Study, places: Places) -> str:
    """Return the page as HTML, which includes its data, its style and all scripts.

    Raises:
        RecordError: there is no record.
    """
    if not study.records:
        raise RecordError("there is no record to show: run a cell first")
    runs = runs_of(study.records, study.wanted, Measure(METRICS[0], study.report), places)
    named = numbers(study.records, study.wanted, study.report, runs)
    frames = {"numbers": named, "curves": curves(study.records, named),
              "filtered": filtered(study.records, named)}  # fmt: skip
    specs, panels = charts(chosen := first_choice(named, frames["curves"])), _panels(study.pictures)
    if study.pictures:
        frames["items"] = items(study.pictures)
        specs |= {f"picture-{i}": picture(i) for i in range(len(study.pictures.pictures))}
    claims = list(_claims(study, _places_of(runs)))
    return _template().render(
        note=study.note,
        counts=tally(runs),
        labels=LABELS,
        options=options(named),
        chosen=chosen,
        shown=_shown,
        hiding=Markup("\n".join(_hiding(options(named)))),
        claims=claims,
        verdicts=Counter(found["verdict"] for found in claims),
        pictures=study.pictures,
        panels=panels,
        baseline=BASELINE,
        arms=list(_arms(runs, named)),
        notes=of_records(study.records, ""),
        metric=METRICS[0].upper(),
        style=Markup((FOLDER / "page.css").read_text()),
        library=Markup(_library()),
        calls=Markup(_calls(specs, frames)),
    )


def _template() -> Any:
    loader = FileSystemLoader(FOLDER)
    surroundings = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return surroundings.get_template("page.html")


def _library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that sets `vegaEmbed`."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))


def _calls(specs: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> str:
    """Return the script with the data and a call for each chart."""
    data = {name: frame.to_csv(index=False, float_format="%.5g") for name, frame in frames.items()}
    return f"""const data = {_json(data)};
const specs = {_json(specs)};
const look = {{ renderer: "svg", actions: false, loader: {{ target: "_self" }} }};
window.drawn = Promise.all(Object.entries(specs).map(
  ([id, spec]) => vegaEmbed(
    `#chart-${{id}}`, {{ ...spec, datasets: {{ ...spec.datasets, ...data }} }}, look)));
"""


def _json(values: object) -> str:
    """Return JSON that is safe inside a script element."""
    return json.dumps(values, ensure_ascii=False).replace("<", r"\u003c")


def _shown(name: str, option: str) -> str:
    """Return the text of an option."""
    if name == "ratio":
        return f"{100 * float(option):g} %"
    if name == "metric":
        return option.upper()
    return f"{option} (no defence)" if option == PLAIN else option


def _hiding(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a CSS rule for each option, which hides the arms without this option.

    So the choices select the listed runs, as they select what charts draw, without a script. An
    arm that a link leads to is always shown.
    """
    for name, kept in KEPT.items():
        for option in found[name]:
            others = f':not([data-{name}="{kept}"])' if kept is not None else ""
            yield (
                f'body:has(#{name} option[value="{option}"]:checked):has(#all:not(:checked))'
                f' .arm:not([data-{name}="{option}"]){others}:not(:target):not(:has(:target))'
                " { display: none; }"
            )


def _places_of(runs: Mapping[Cell, Sequence[Run]]) -> dict[Cell, str]:
    """Return the id under which the page lists each arm."""
    return {arm: arm_id(number) for number, arm in enumerate(runs)}


def _arms(runs: Mapping[Cell, Sequence[Run]], named: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield every arm with its numbers and its runs, for the template."""
    first = {row["href"]: row for row in rows_of(named[named.metric == METRICS[0]])}
    for arm, place in _places_of(runs).items():
        row = first[f"#{place}"]
        counts = tally({arm: runs[arm]})
        yield {"id": place, "cell": arm, "row": row, "runs": runs[arm], "counts": counts}


def _claims(study: Study, places: Mapping[Cell, str]) -> Iterator[dict[str, Any]]:
    """Yield every claim with its verdict, its numbers and their arms."""
    if not (study.claims and study.evidence):
        return
    for claim in study.claims.claims:
        findings = list(claim.test.findings(study.evidence, study.claims.regions))
        verdict, why = judged(study.claims, claim, findings)
        yield {
            "claim": claim,
            "verdict": verdict,
            "why": why,
            "test": criterion(study.claims, claim, len(findings)),
            "findings": [(str(found), _links(found.arms, places)) for found in findings],
        }


def _panels(pictures: Pictures | None) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Return the round and the number of each picture, by attack and defence."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for panel, shot in enumerate(pictures.pictures if pictures else ()):
        found.setdefault((shot.attack, shot.defense), []).append((shot.round, panel))
    return found


def _links(arms: Sequence[Cell], places: Mapping[Cell, str]) -> list[tuple[str, str]]:
    """Return the names of arms, and the ids under which the page lists them."""
    known = [seedless(arm) for arm in arms if seedless(arm) in places]
    return [(f"{arm.attack}, {arm.defense}", places[arm]) for arm in dict.fromkeys(known)]
