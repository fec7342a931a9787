"""The report of a model as one HTML page: scores, charts, leaderboard, guardrails and features. It needs no network."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from automl.files import write_atomic
from automl.guardrails import STATUSES
from automl.pages import CHART

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plotly.graph_objects import Figure

MOST_ROWS = 1000
"""Of a table; a last line tells how many more there are."""

_LONG_CELL, _SHORT_CELL = 300, 24
_STYLE = """
:root { color: #334155; background: #fff; font: 15px/1.5 "Open Sans", system-ui, -apple-system, "Segoe UI", sans-serif }
body { max-width: 1100px; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid #e2e8f0 }
nav a { color: #c2410c; margin-right: 1.2rem; text-decoration: none }
figure { margin: 0 0 1.5rem }
.scroll { overflow: auto; max-height: 36rem }
table { border-collapse: collapse; font-size: .85rem }
th, td { padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #e2e8f0 }
th { position: sticky; top: 0; background: #fff; white-space: nowrap; font-weight: 600 }
td { max-width: 34rem; white-space: nowrap }
td.long { min-width: 15rem; white-space: normal; overflow-wrap: anywhere }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.status { padding: .05rem .5rem; border-radius: .6rem; background: #e2e8f0 }
.alerted { background: #fed7aa; color: #7c2d12 }
.done { background: #dbeafe; color: #1e3a8a }
.passed { background: #dcfce7; color: #14532d }
.none { color: #64748b }
summary { cursor: pointer }
@media print { .scroll { max-height: none; overflow: visible } nav { display: none } }
"""


def write_report(
    path: str | Path,
    *,
    title: str,
    charts: Mapping[str, Figure],
    leaderboard: pd.DataFrame,
    guardrails: pd.DataFrame,
    metrics: Mapping[str, float] | pd.DataFrame,
    features: pd.DataFrame,
) -> Path:
    """Write one HTML file; plotly.js lies inside, once, and every text is written as it is.

    Parameters
    ----------
    path : the file; folders above it are made. charts : by name, in order.
    leaderboard, guardrails, features : tables of any columns. metrics : name -> value, or a table.
    """
    scores = metrics if isinstance(metrics, pd.DataFrame) else _scores(metrics)
    sections = [
        ("metrics", "Metrics", _table(scores)),
        ("charts", "Charts", "\n".join(_figures(charts)) or _NOTHING),
        ("leaderboard", "Leaderboard", _table(leaderboard)),
        ("guardrails", "Guardrails", _table(guardrails)),
        ("features", "Featurization", _table(features)),
    ]
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections)
    shown = html.escape(title)
    page = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{shown}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<h1>{shown}</h1>\n<nav>{links}</nav>",
        *(f'<section id="{name}">\n<h2>{heading}</h2>\n{body}\n</section>' for name, heading, body in sections),
        "</body></html>\n",
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "\n".join(page).encode("utf-8", "backslashreplace"))
    return path


_NOTHING = '<p class="none">none</p>'


def _scores(metrics: Mapping[str, float]) -> pd.DataFrame:
    return pd.DataFrame({"metric": list(metrics), "value": list(metrics.values())})


def _figures(charts: Mapping[str, Figure]) -> Iterator[str]:
    config = {**CHART, "responsive": True}
    for k, (name, figure) in enumerate(charts.items()):
        drawn = figure.to_html(include_plotlyjs=k == 0, full_html=False, div_id=f"chart-{k}", config=config)
        yield f'<figure data-chart="{html.escape(name)}">{drawn}</figure>'


def _table(frame: pd.DataFrame) -> str:
    """Rows of a frame without its index."""
    if frame.empty:
        return _NOTHING
    columns = [list(frame.iloc[:MOST_ROWS, k]) for k in range(frame.shape[1])]
    names = [str(name) for name in frame.columns]
    kinds = [_kind(name, values) for name, values in zip(names, columns, strict=True)]
    heads = [f'<th class="{kind}">{html.escape(name)}</th>' for kind, name in zip(kinds, names, strict=True)]
    lines = [
        "<tr>" + "".join(_cell(value, kind) for value, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in zip(*columns, strict=True)
    ]
    body = "\n".join(["<tr>" + "".join(heads) + "</tr>", *lines])
    more = f'<p class="none">and {len(frame) - MOST_ROWS:,} more rows</p>' if len(frame) > MOST_ROWS else ""
    return f'<div class="scroll"><table>\n{body}\n</table></div>{more}'


def _kind(name: str, values: list[Any]) -> str:
    """How a column is written: as numbers, as marks of a guardrail's status, or as text."""
    if name == "status" and set(map(str, values)) <= set(STATUSES):
        return "mark"
    numbers = all(_missing(v) or (isinstance(v, Real) and not isinstance(v, bool)) for v in values)
    return "number" if numbers else "text"


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _cell(value: Any, kind: str) -> str:
    text = _text(value)
    shown = html.escape(text)
    if kind == "number":
        return f'<td class="number">{shown}</td>'
    if kind == "mark":
        return f'<td><span class="status {shown}">{shown}</span></td>'
    if len(text) > _LONG_CELL:
        begin = html.escape(text[: _LONG_CELL // 2])
        return f'<td class="long"><details><summary>{begin}…</summary>{shown}</details></td>'
    return f'<td class="long">{shown}</td>' if len(text) > _SHORT_CELL else f"<td>{shown}</td>"


def _text(value: Any) -> str:
    """Text of a cell.

    Examples
    --------
    >>> _text(0.123456), _text(1234567.8), _text(True), _text(None), _text(["a", 1]), _text({"depth": 3})
    ('0.1235', '1,234,568', 'yes', '', 'a, 1', 'depth: 3')
    >>> _text((("age", "numeric, 3 missing"), ("sex", "text")))
    'age: numeric, 3 missing; sex: text'
    """
    if _missing(value):
        return ""
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(value)
    if isinstance(value, Real):
        number = float(value)
        return f"{number:,.0f}" if 1e5 <= abs(number) < 1e15 else f"{number:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{_text(k)}: {_text(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        if value and all(isinstance(v, list | tuple) and len(v) == 2 and isinstance(v[0], str) for v in value):
            return "; ".join(f"{name}: {_text(v)}" for name, v in value)
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else str(value)
