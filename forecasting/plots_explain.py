"""Charts of importances: bars of the features that matter, and a row of cells a step where steps were asked for."""

from __future__ import annotations

import html
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl.errors import DataError
from automl.pages import CHART

if TYPE_CHECKING:
    from pandas import DataFrame

_BAR, _LINE = "#c2410c", "#334155"
_PICTURES = (".png", ".pdf", ".svg")


def importance_html(
    importances: DataFrame, path: str | Path, *, title: str = "What the forecasts depend on", most: int = 20
) -> Path:
    """Write the chart of a table by `Forecaster.explain` as one HTML file that needs no network.

    Parameters
    ----------
    importances : columns feature, importance, std, method, and horizon where steps were asked for. most : features
        drawn, the largest ones.

    Raises
    ------
    DataError : a column is missing, or there is no row.
    """
    rows = _largest(importances, most)
    from plotly.graph_objects import Bar, Figure, Heatmap

    count = rows["feature"].nunique()
    if "horizon" in rows:
        cells = _cells(rows)
        names = [html.escape(str(n), quote=False) for n in cells.index]
        trace: Any = Heatmap(z=cells.to_numpy(), x=list(cells.columns), y=names, colorscale="OrRd", zmin=0)
        across = "steps ahead"
    else:
        names = [html.escape(str(n), quote=False) for n in rows["feature"]]
        error = {"type": "data", "array": rows["std"], "color": _LINE, "thickness": 1}
        trace = Bar(
            x=rows["importance"], y=names, orientation="h", error_x=error, marker={"color": _BAR},
            customdata=rows["method"], hovertemplate="%{y}: %{x:.4g} (%{customdata})<extra></extra>",
        )  # fmt: skip
        across = _label(rows)
    figure = Figure([trace])
    figure.update_layout(
        title=html.escape(title, quote=False), template="plotly_white", height=140 + 26 * count, margin={"l": 160},
        xaxis={"title": across}, yaxis={"autorange": "reversed", "type": "category"},
    )  # fmt: skip
    return _written(path, figure.to_html(include_plotlyjs=True, full_html=True, config=CHART).encode())


def importance_image(
    importances: DataFrame, path: str | Path, *, title: str = "What the forecasts depend on", most: int = 20
) -> Path:
    """Write the chart of `importance_html` as a picture; the suffix of `path` says which kind (.png, .pdf, .svg).

    Raises
    ------
    DataError : a column is missing, there is no row, or the suffix names no kind of picture.
    """
    path = Path(path)
    if path.suffix.lower() not in _PICTURES:
        raise DataError(f"a picture is written as {', '.join(_PICTURES)}, got {path.name!r}.")
    rows = _largest(importances, most)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.3 * rows["feature"].nunique()), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    if "horizon" in rows:
        cells = _cells(rows)
        drawn = axis.imshow(cells.to_numpy(), aspect="auto", cmap="OrRd", vmin=0)
        axis.set_xticks(range(len(cells.columns)), [str(h) for h in cells.columns])
        axis.set_yticks(range(len(cells)), [_plain(n) for n in cells.index])
        axis.set_xlabel(f"steps ahead; {_label(rows)}")
        figure.colorbar(drawn, ax=axis)
    else:
        names = [_plain(n) for n in rows["feature"]]
        axis.barh(range(len(rows)), rows["importance"], xerr=rows["std"], color=_BAR, ecolor=_LINE, height=0.7)
        axis.set_yticks(range(len(rows)), names)
        axis.axvline(0.0, color=_LINE, linewidth=0.8)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel(_label(rows))
        axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(_plain(title), loc="left")
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=110)
    return _written(path, buffer.getvalue())


def _largest(importances: DataFrame, most: int) -> DataFrame:
    """Rows of the `most` first features; the table is sorted by importance."""
    missing = [c for c in ("feature", "importance", "std", "method") if c not in importances.columns]
    if missing:
        raise DataError(
            f"importances have no column {', '.join(map(repr, missing))}; they have {list(importances.columns)}. "
            "Fix: give what explain() returns without local=True."
        )
    if importances.empty:
        raise DataError("there is nothing to draw: the table of importances has no row.")
    kept = list(dict.fromkeys(importances["feature"]))[:most]
    return importances[importances["feature"].isin(kept)]


def _cells(rows: DataFrame) -> DataFrame:
    """Importance by feature (order of the table) and step."""
    order = list(dict.fromkeys(rows["feature"]))
    return rows.pivot_table(index="feature", columns="horizon", values="importance").reindex(order)


def _label(rows: DataFrame) -> str:
    methods = dict.fromkeys(part for text in rows["method"] for part in str(text).split(" + "))
    return f"importance ({', '.join(methods)})"


def _plain(text: object) -> str:
    """Keep matplotlib from reading `$` as mathematics."""
    return str(text).replace("$", r"\$")


def _written(path: str | Path, content: bytes) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
