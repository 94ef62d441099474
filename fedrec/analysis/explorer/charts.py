"""The charts, in Vega-Lite: they filter and draw what `frames` computed, and compute nothing.

Charts hold no data. They name datasets that the page holds once, as CSV. Every chart follows the
select elements of the page.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt

from fedrec.analysis.explorer.frames import CHOICES
from fedrec.analysis.figures.style import COLOURS
from fedrec.plan.cells import BASELINE, PLAIN

# What is compared, from nothing to both. The case without either has the colour of the text, so
# that it is visible on a light and on a dark page.
ROLES = {
    "neither": ("no attack, no defence", "currentColor", (6, 3)),
    "attack": ("the attack, no defence", COLOURS[3], (1, 0)),
    "defence": ("the defence, no attack", COLOURS[2], (2, 2)),
    "both": ("the attack and the defence", COLOURS[0], (1, 0)),
}
NUMBERS = ("mean", "loss", "low", "high", "row", "seeds")
NAMES = ("key", "dataset", "model", "attack", "defense", "ratio", "metric")
TOLD = ("shown", "lost", "users", "runs", "href")
SHARE_COLOURS = {"recall": COLOURS[0], "precision": COLOURS[1]}
CHOSEN = "datum.dataset == dataset && datum.model == model"
ROLE = (
    f"datum.attack == '{BASELINE}' ? (datum.defense == '{PLAIN}' ? 'neither' : 'defence')"
    f" : (datum.defense == '{PLAIN}' ? 'attack' : 'both')"
)
COMPARED = (
    f"{CHOSEN} && (datum.attack == '{BASELINE}' || datum.attack == attack && datum.ratio == ratio)"
    f" && (datum.defense == '{PLAIN}' || datum.defense == defense)"
)
EXACTLY = (
    f"{CHOSEN} && datum.attack == attack && datum.defense == defense"
    f" && (datum.ratio == ratio || attack == '{BASELINE}')"
)
ROOM = alt.expr("width - 18")  # for text beside a dot
# A variant's changes are below its name, so that a narrow screen shows both.
ROW_NAMES = alt.Axis(
    labelExpr="split(datum.label, '@')", labelLimit=150, labelFontSize=11, labelBaseline="middle"
)
CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "tickColor": "currentColor",
        "domainColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.12,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
    },
    "legend": {"labelColor": "currentColor", "labelFontSize": 12, "titleColor": "currentColor"},
    "header": {"labelColor": "currentColor", "labelFontSize": 12},
    "text": {"fill": "currentColor"},
}


def charts(chosen: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return every chart by the id of its place on the page; `chosen` is shown first."""
    made = {
        "chosen": comparison(chosen["metric"]),
        "curves": curves(),
        "by-attack": losses("attack", "datum.defense == defense"),
        "by-defense": losses("defense", "datum.attack == attack"),
        "filtered": filtering(),
    }
    return {name: _finished(chart, chosen) for name, chart in made.items()}


def comparison(metric: str) -> alt.LayerChart:
    """Compare the chosen arms in words and numbers; also the key to the colours of the curves."""
    rows = [{"role": role, "says": says} for role, (says, _, _) in ROLES.items()]
    attacked, defended = (
        "indexof(['attack', 'both'], datum.role) >= 0",
        ("indexof(['defence', 'both'], datum.role) >= 0"),
    )
    parts = f"""[dataset, model, {attacked} ? attack : '{BASELINE}',
        {defended} ? defense : '{PLAIN}', {attacked} ? ratio : '0', metric]"""
    base = (
        alt.Chart(alt.InlineData(values=rows))
        .transform_filter(f"!({attacked} && attack == '{BASELINE}')")
        .transform_filter(f"!({defended} && defense == '{PLAIN}')")
        .transform_calculate(key=f"join({parts}, '|')")
        .transform_lookup("key", alt.LookupData(_data("numbers"), "key", [*TOLD, "seeds"]))
        .transform_calculate(
            title=f"({attacked} ? attack + ' (' + format(100 * toNumber(ratio), '~g') + ' %)'"
            f" : 'No attack') + ({defended} ? ', ' + defense : ', no defence')",
            text="!isValid(datum.runs) ? 'in no table or figure'"
            " : datum.seeds == 0 ? 'no record: ' + datum.runs"
            " : upper(metric) + ' ' + datum.shown + ' · ' + datum.runs",
            loss="datum.seeds > 0 && datum.role != 'neither'"
            " ? (datum.lost == '–' ? 'loss unknown' : datum.lost + ' lost') : ''",
        )
        .encode(y=alt.Y("role:N", sort=list(ROLES), axis=None), href="href:N", tooltip=_told())
    )
    text = base.mark_text(align="left", x=18, fontSize=13)
    marks = base.mark_point(x=6, yOffset=-14, filled=True, size=90, opacity=1).encode(
        color=_role_colour()
    )
    return (
        marks
        + text.mark_text(
            align="left", x=18, dy=-14, fontWeight="bold", fontSize=13, limit=ROOM
        ).encode(text="title:N")
        + text.mark_text(align="left", x=18, dy=2, fontSize=13, limit=ROOM).encode(text="text:N")
        + text.mark_text(align="left", x=18, dy=18, fontSize=13).encode(text="loss:N")
    ).properties(height=alt.Step(60))


def curves() -> alt.LayerChart:
    """Draw test performance by round."""
    base = (
        alt.Chart(_data("curves"))
        .transform_lookup("row", alt.LookupData(_data("numbers"), "row", [*NAMES, *TOLD]))
        .transform_filter(f"datum.metric == metric && {COMPARED}")
        .transform_calculate(role=ROLE)
        .encode(x=alt.X("round:Q", title="round", axis=alt.Axis(tickCount=6, grid=False)))
    )
    colour = _role_colour()
    band = base.mark_area(opacity=0.18).encode(
        y=alt.Y("low:Q", title=None), y2="high:Q", color=colour
    )
    lines = base.mark_line(strokeWidth=1.8).encode(y="mean:Q", color=colour, strokeDash=_dash())
    tooltip = [*_told(), _tip("round", "round", "Q"), _tip("mean", "at this round", "Q", ".5f"),
               _tip("points", "runs at this round", "Q")]  # fmt: skip
    dots = base.mark_point(filled=True, size=22, opacity=1).encode(
        y="mean:Q", color=colour, href="href:N", tooltip=tooltip
    )
    return (band + lines + dots).properties(height=300)


def losses(along: str, held: str) -> alt.LayerChart:
    """Draw the loss against no attack and no defence, with intervals, by attack or by defence."""
    base = (
        alt.Chart(_data("numbers"))
        .transform_filter(
            f"datum.metric == metric && {CHOSEN} && {held}"
            f" && (datum.ratio == ratio || datum.attack == '{BASELINE}')"
        )
        .transform_calculate(
            chosen=f"datum.{along} == {along}",
            gap="isValid(datum.loss) ? '' : datum.seeds > 0 ? 'loss unknown' : 'no record'",
        )
        .encode(y=alt.Y(f"{along}:N", sort=None, title=None, axis=ROW_NAMES))
    )
    emphasis = alt.condition(
        "datum.chosen == true", alt.value(COLOURS[3]), alt.value("currentColor")
    )
    zero = alt.Chart(alt.InlineData(values=[{}])).mark_rule(stroke="currentColor", opacity=0.5)
    zero = zero.encode(x=alt.datum(0))
    bars = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", color=emphasis)
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("loss:Q", title="% lost"),
        color=emphasis,
        href="href:N",
        tooltip=_told(),
    )
    gaps = base.mark_text(align="left", x=4, fontStyle="italic", fontSize=12).encode(
        text="gap:N", href="href:N", tooltip=_told()
    )
    return (zero + bars + dots + gaps).properties(height=alt.Step(34))


def filtering() -> alt.LayerChart:
    """Draw how well the chosen defence filters the chosen attack, by round."""
    base = (
        alt.Chart(_data("filtered"))
        .transform_lookup("row", alt.LookupData(_data("numbers"), "row", [*NAMES, *TOLD]))
        .transform_filter(EXACTLY)
        .encode(x=alt.X("round:Q", title="round", axis=alt.Axis(tickCount=6, grid=False)))
    )
    colour = alt.Color("share:N", title=None).scale(
        domain=list(SHARE_COLOURS), range=list(SHARE_COLOURS.values())
    ).legend(
        orient="top", symbolOpacity=1
    )  # fmt: skip
    scale = alt.Scale(domain=[0, 1], clamp=True)
    band = base.mark_area(opacity=0.18).encode(
        y=alt.Y("low:Q", title="share", scale=scale, axis=alt.Axis(format="%", tickCount=5)),
        y2="high:Q",
        color=colour,
    )
    lines = base.mark_line(strokeWidth=1.8).encode(y="mean:Q", color=colour)
    tooltip = [_tip("share", "share", "N"), _tip("round", "round", "Q"),
               _tip("mean", "mean over runs", "Q", ".1%"), _tip("points", "runs", "Q")]  # fmt: skip
    dots = base.mark_point(filled=True, size=22, opacity=1).encode(
        y="mean:Q", color=colour, href="href:N", tooltip=tooltip
    )
    return (band + lines + dots).properties(height=200)


def picture(panel: int) -> dict[str, Any]:
    """Draw the items of one picture, coloured by community, in the size of its place."""
    axis = alt.Scale(domain=[-1, 1])
    colour = alt.Color("community:N", legend=None).scale(scheme="category20")
    chart = (
        alt.Chart(_data("items"))
        .transform_filter(f"datum.panel == {panel}")
        .mark_point(filled=True, size=9, opacity=0.85)
        .encode(
            x=alt.X("x:Q", axis=None, scale=axis),
            y=alt.Y("y:Q", axis=None, scale=axis),
            color=colour,
        )
        .properties(width="container", height="container")
    )
    return {**chart.to_dict(), "config": CONFIG}


def _finished(chart: alt.LayerChart, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Fit a chart to the width and colours of the page, and make it follow the page's choices."""
    params = [
        alt.param(name=name, value=chosen[name], bind=alt.BindDirect(f"#{name}", event="change"))
        for name in CHOICES
    ]
    chart = chart.properties(width="container", autosize=alt.AutoSizeParams(type="fit-x"))
    chart = chart.add_params(*params)
    return {**chart.to_dict(), "config": CONFIG}


def _data(name: str) -> alt.NamedData:
    """Name a dataset of the page. A ratio is text, so that it equals a select element's value."""
    columns = {
        "numbers": (NUMBERS, (*NAMES, *TOLD)),
        "curves": (("row", "round", "mean", "low", "high", "points"), ()),
        "items": (("x", "y", "panel"), ("community",)),
        "filtered": (("row", "round", "mean", "low", "high", "points"), ("share",)),
    }
    figures, texts = columns[name]
    parse = dict.fromkeys(figures, "number") | dict.fromkeys(texts, "string")
    return alt.NamedData(name=name, format=alt.CsvDataFormat(type="csv", parse=parse))


def _role_colour() -> alt.Color:
    colours = [colour for _, colour, _ in ROLES.values()]
    return alt.Color("role:N", legend=None).scale(domain=list(ROLES), range=colours)


def _dash() -> alt.StrokeDash:
    dashes = [list(dash) for _, _, dash in ROLES.values()]
    return alt.StrokeDash("role:N", legend=None).scale(domain=list(ROLES), range=dashes)


def _told() -> list[alt.Tooltip]:
    """Return the tooltip of an arm, which every mark has."""
    return [
        _tip("attack", "attack"), _tip("defense", "defence"), _tip("shown", "result"),
        _tip("lost", "lost"), _tip("users", "lost, other users"), _tip("runs", "runs"),
    ]  # fmt: skip


def _tip(name: str, title: str, kind: str = "N", format: str = "") -> alt.Tooltip:
    tip = alt.Tooltip(f"{name}:{kind}", title=title)
    return tip.format(format) if format else tip
