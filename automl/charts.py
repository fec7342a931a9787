"""Charts of predictions beside the truth, as plotly figures: curves and bins of classes, errors of numbers.

Averages over classes: micro pools all pairs of row and class, macro is the plain mean of the classes, weighted their
mean by rows. Classes that no row has are in none of the last two.
"""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.bins import agreement, residual_bins
from automl.curves import (
    GRID,
    calibration_bins,
    confusion_counts,
    gains_points,
    lift_points,
    precision_recall_points,
    ranked,
    roc_points,
    thinned,
)
from automl.errors import DataError
from automl.metrics import normalised as rows_of_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plotly.graph_objects import Figure

ACTUAL, PREDICTED, BAND, GUIDE, COUNT = "#334155", "#c2410c", "rgba(194, 65, 12, 0.18)", "#94a3b8", "#64748b"
COLOURS = (
    "#c2410c", "#2563eb", "#15803d", "#c026d3", "#ca8a04", "#0891b2", "#be123c", "#65a30d", "#7c3aed", "#92643f",
)  # fmt: skip
MOST_SHOWN = 10
"""With more classes, lines of single classes are hidden until they are asked for."""
MOST_LISTED = 40
"""Classes beyond the most frequent ones are in the averages alone, or are one row and column of the matrix."""

_LONGEST_NAME = 28
_MATRIX_TEXTS = 20
_AVERAGES = {"micro": ("#0f172a", "solid"), "macro": ("#0f172a", "dash"), "weighted": ("#0f172a", "dot")}


# -- classes: y codes [n], prob [n, classes], a label for each class, weight [n] or None ------------------------------


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows with a true class, checked.

    Parameters
    ----------
    y, prob, weight : as given, without rows of no weight. labels : unescaped texts. support : weight of each class.
    """

    y: np.ndarray
    prob: np.ndarray
    weight: np.ndarray | None
    labels: tuple[str, ...]
    support: np.ndarray

    @classmethod
    def of(cls, y: Any, prob: Any, labels: Sequence[Any], weight: Any) -> Self:
        y, prob = np.asarray(y), np.asarray(prob, dtype=float)
        if y.ndim != 1 or prob.ndim != 2 or prob.shape != (len(y), len(labels)):
            raise DataError(
                f"charts of classes need probabilities of shape [{len(y)}, {len(labels)}] (rows, classes), "
                f"got {list(prob.shape)}."
            )
        weight = None if weight is None else np.asarray(weight, dtype=float)
        if weight is not None:
            if weight.shape != y.shape or not (np.isfinite(weight).all() and (weight >= 0).all()):
                raise DataError(f"weights must be {len(y)} numbers >= 0, got shape {list(weight.shape)}.")
            y, prob, weight = (part[weight > 0] for part in (y, prob, weight))
        if not len(y):
            raise DataError("there is nothing to draw: no row has a label and a weight.")
        if y.dtype.kind not in "iu" or not ((y >= 0) & (y < len(labels))).all():
            raise DataError(f"y must be codes of classes, from 0 to {len(labels) - 1}, got {y[:3].tolist()} ....")
        if not np.isfinite(prob).all():
            raise DataError(f"{int((~np.isfinite(prob)).any(axis=1).sum())} rows have a probability that is no number.")
        support = np.bincount(y, weights=weight, minlength=len(labels)).astype(float)
        return cls(y, prob, weight, _distinct(labels), support)

    def column(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """One class against the rest: hot, score, weight."""
        return self.y == k, self.prob[:, k], self.weight

    def pooled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """All pairs of row and class."""
        hot = self.y[:, None] == np.arange(len(self.labels))
        weight = None if self.weight is None else np.repeat(self.weight, len(self.labels))
        return hot.ravel(), self.prob.ravel(), weight

    def listed(self, classes: Sequence[int]) -> list[int]:
        """Of some classes the most frequent ones, as many as are listed, in their own order."""
        return sorted(sorted(classes, key=lambda k: -self.support[k])[:MOST_LISTED])

    def absent(self) -> str:
        """Say which classes no row has."""
        gone = [self.labels[k] for k in np.flatnonzero(self.support == 0)]
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        return f"no row of {', '.join(gone[:3])}{more}" if gone else ""


@dataclass(frozen=True, slots=True)
class _Curve:
    """What a chart needs of one class, or of an average.

    Parameters
    ----------
    x, y : drawn. grid : y at `GRID`. number : for the legend, NaN = none.
    """

    x: np.ndarray
    y: np.ndarray
    grid: np.ndarray
    number: float = float("nan")

    def thin(self) -> _Curve:
        """Return it with few points: those of a million rows are not kept for each class."""
        return _Curve(*thinned(self.x, self.y), self.grid, self.number)


def _roc(with_: np.ndarray, without: np.ndarray) -> _Curve:
    x, y = roc_points(with_, without)
    return _Curve(x, y, np.interp(GRID, x, y), float(np.trapezoid(y, x)))


def _precision_recall(with_: np.ndarray, without: np.ndarray) -> _Curve:
    x, y = precision_recall_points(with_, without)
    # steps: on the way to a recall the precision is that of the recall
    stairs = np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:]
    return _Curve(*stairs, y[np.searchsorted(x, GRID)], float((np.diff(x) * y[1:]).sum()))


def _gains(with_: np.ndarray, without: np.ndarray) -> _Curve:
    x, y = gains_points(with_, without)
    return _Curve(x, y, np.interp(GRID, x, y))


def _lift(with_: np.ndarray, without: np.ndarray) -> _Curve:
    x, y = lift_points(with_, without)
    return _Curve(x, y, np.interp(GRID, x, y))


@dataclass(frozen=True, slots=True)
class _Kind:
    """A chart of curves.

    Parameters
    ----------
    curve : of what `ranked` gives. title, x, y : words. number : what the number in the legend is.
    base : heights at 0 and 1 of the line that guessing gives, None = one over the classes.
    """

    curve: Callable[[np.ndarray, np.ndarray], _Curve]
    title: str
    x: str
    y: str
    number: str = ""
    base: tuple[float, float] | None = (0.0, 1.0)


_SHARE = "share of rows, highest scores first"
_KINDS = {
    "roc": _Kind(_roc, "ROC curves", "false positive rate", "true positive rate", "AUC"),
    "precision_recall": _Kind(_precision_recall, "Precision-recall curves", "recall", "precision", "AP", None),
    "cumulative_gains": _Kind(_gains, "Cumulative gains", _SHARE, "share of the class found"),
    "lift": _Kind(_lift, "Lift", _SHARE, "gain over random", base=(1.0, 1.0)),
}


def _curves(rows: _Rows, names: Sequence[str] = tuple(_KINDS)) -> dict[str, Figure]:
    """Draw kinds of curves for each class, and their averages; rows are ranked once for all kinds."""
    there = [int(k) for k in np.flatnonzero((rows.support > 0) & (rows.support < rows.support.sum()))]
    listed = set(rows.listed(there))
    drawn: dict[str, list[tuple[int, _Curve]]] = {name: [] for name in names}
    means = {(name, mean): np.zeros(len(GRID) + 2) for name in names for mean in ("macro", "weighted")}
    for k in there:
        both = ranked(*rows.column(k))
        for name in names:
            found = _KINDS[name].curve(*both)
            whole = np.concatenate([[found.number], found.y[:1], found.grid])  # lines may rise at 0, so 0 stands twice
            means[name, "macro"] += whole / len(there)
            means[name, "weighted"] += whole * (rows.support[k] / rows.support[there].sum())
            if k in listed:
                drawn[name].append((k, found.thin()))
    both = ranked(*rows.pooled())
    grid = np.concatenate([[0.0], GRID])
    figures = {}
    for name in names:
        averages = [("micro", _KINDS[name].curve(*both).thin())] if len(rows.labels) > 1 else []
        for mean in ("macro", "weighted") if there else ():
            whole = means[name, mean]
            averages.append((mean, _Curve(grid, whole[1:], whole[2:], float(whole[0])).thin()))
        figures[name] = _figure(rows, _KINDS[name], drawn[name], averages, len(there))
    return figures


def _figure(
    rows: _Rows, kind: _Kind, drawn: list[tuple[int, _Curve]], averages: list[tuple[str, _Curve]], classes: int
) -> Figure:
    from plotly.graph_objects import Figure, Scatter

    figure = Figure()
    for k, found in drawn:
        text = _named(rows.labels[k], kind.number, found.number)
        figure.add_trace(Scatter(x=found.x, y=found.y, **_class_line(k, text, classes)))
    for name, found in averages:
        text = _named(f"{name} average", kind.number, found.number)
        figure.add_trace(Scatter(x=found.x, y=found.y, **_average_line(name, text)))
    base, text = (kind.base, "random") if kind.base else ([1 / len(rows.labels)] * 2, "random, all classes pooled")
    figure.add_trace(_guide(text, base))
    only = "" if classes else f"every row is of {rows.labels[int(rows.y[0])]}, so there is nothing to tell apart"
    _laid_out(figure, kind.title, 520, [only, rows.absent(), _few(len(drawn), classes)])
    figure.update_xaxes(title_text=kind.x, range=[-0.02, 1.02])
    figure.update_yaxes(title_text=kind.y, rangemode="tozero")
    if kind.curve is not _lift:
        figure.update_yaxes(range=[-0.02, 1.02])
    return figure


def _few(drawn: int, classes: int) -> str:
    return f"lines of the {drawn} most frequent of {classes} classes" if classes > drawn else ""


def roc_curves(y: np.ndarray, prob: np.ndarray, labels: Sequence[Any], *, weight: np.ndarray | None = None) -> Figure:
    """Receiver operating characteristic of each class against the rest, and averages; areas in the legend.

    Parameters
    ----------
    y : codes, shape [n]. prob : shape [n, classes]. labels : of the classes. weight : of the rows, shape [n].

    Raises
    ------
    DataError : there is no row, or the shapes do not match; so for all charts of classes.

    Examples
    --------
    >>> prob = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    >>> [t.name for t in roc_curves(np.array([0, 1, 1]), prob, ["no", "yes"]).data[:3]]
    ['no, AUC 1.000', 'yes, AUC 1.000', 'micro average, AUC 0.889']
    """
    return _curves(_Rows.of(y, prob, labels, weight), ["roc"])["roc"]


def precision_recall_curves(
    y: np.ndarray, prob: np.ndarray, labels: Sequence[Any], *, weight: np.ndarray | None = None
) -> Figure:
    """Precision by recall of each class against the rest, and averages; average precision (AP) in the legend.

    Parameters as of `roc_curves`.
    """
    return _curves(_Rows.of(y, prob, labels, weight), ["precision_recall"])["precision_recall"]


def cumulative_gains(
    y: np.ndarray, prob: np.ndarray, labels: Sequence[Any], *, weight: np.ndarray | None = None
) -> Figure:
    """Share of a class found among the rows with its highest scores, for each class, and averages.

    Parameters as of `roc_curves`.
    """
    return _curves(_Rows.of(y, prob, labels, weight), ["cumulative_gains"])["cumulative_gains"]


def lift(y: np.ndarray, prob: np.ndarray, labels: Sequence[Any], *, weight: np.ndarray | None = None) -> Figure:
    """Cumulative gain over the gain of as many random rows, for each class, and averages.

    Parameters as of `roc_curves`.
    """
    return _curves(_Rows.of(y, prob, labels, weight), ["lift"])["lift"]


def calibration(
    y: np.ndarray, prob: np.ndarray, labels: Sequence[Any], *, weight: np.ndarray | None = None, bins: int = 10
) -> Figure:
    """Reliability: share of the rows that have a class by the probability they were given, and how many rows that are.

    The legend holds the expected calibration error (ECE): the mean distance of both, by rows.

    Parameters
    ----------
    bins : equally wide ones. Others as of `roc_curves`.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    rows = _Rows.of(y, prob, labels, weight)
    there = [int(k) for k in np.flatnonzero(rows.support > 0)]
    found = np.array([calibration_bins(*rows.column(k), bins) for k in there])
    errors = np.array([_calibration_error(*part) for part in found])
    drawn = [(part, _class_line(k, _named(rows.labels[k], "ECE", error), len(there)))
             for k, part, error in zip(there, found, errors, strict=True) if k in set(rows.listed(there))]  # fmt: skip
    pooled = np.array(calibration_bins(*rows.pooled(), bins))
    averages = [("micro", pooled, _calibration_error(*pooled))]
    for name, share in (("macro", np.ones(len(there))), ("weighted", rows.support[there])):
        part = [_mean(found[:, k], share) for k in range(3)]
        averages.append((name, np.array(part), float(np.average(errors, weights=share))))
    drawn += [(part, _average_line(n, _named(f"{n} average", "ECE", error))) for n, part, error in averages]

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.06)
    edges = np.repeat(np.linspace(0, 1, bins + 1), 2)[1:-1]
    what, form = _counted(rows.weight)
    for (mean, share, size), line in drawn:
        some = np.isfinite(mean)
        shown = {**line, "mode": "lines+markers", "legendgroup": line["name"]}
        hover = f"%{{x:.3f}} predicted, %{{y:.3f}} seen, %{{customdata:{form}}} {what}"
        figure.add_trace(
            Scatter(x=mean[some], y=share[some], customdata=size[some], **{**shown, "hovertemplate": hover}),
            row=1, col=1,
        )  # fmt: skip
        steps = {**shown, "mode": "lines", "showlegend": False, "hovertemplate": f"%{{y:{form}}}"}
        counted = np.repeat(np.where(size > 0, size, np.nan), 2)
        figure.add_trace(Scatter(x=edges, y=counted, **steps), row=2, col=1)
    figure.add_trace(_guide("ideal", (0.0, 1.0)), row=1, col=1)
    _laid_out(figure, "Calibration", 620, [rows.absent(), _few(len(drawn) - len(averages), len(there))])
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_xaxes(title_text="predicted probability", row=2, col=1)
    figure.update_yaxes(title_text="share that has the class", range=[-0.02, 1.02], row=1, col=1)
    # a bin of few rows is not to be believed, so few must be told from none
    figure.update_yaxes(title_text=what, type="log", dtick=1, exponentformat="B", row=2, col=1)
    return figure


def _mean(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is there; NaN where nothing is."""
    some = np.isfinite(values)
    total = (some * share[:, None]).sum(axis=0)
    return np.where(some, values, 0.0).T @ share / np.where(total > 0, total, np.nan)


def _calibration_error(mean: np.ndarray, share: np.ndarray, size: np.ndarray) -> float:
    return float(np.nansum(np.abs(mean - share) * size) / size.sum())


def _counted(weight: np.ndarray | None) -> tuple[str, str]:
    """Name of what is counted, and the form of its numbers."""
    return ("rows", ",.0f") if weight is None else ("weight of rows", ",.2~f")


def confusion_matrix(
    y: np.ndarray,
    prob: np.ndarray,
    labels: Sequence[Any],
    *,
    weight: np.ndarray | None = None,
    normalised: bool = False,
) -> Figure:
    """Rows of each true class (a row each) by predicted class (a column each); buttons change to shares and back.

    Parameters
    ----------
    normalised : show shares of the true class first. Others as of `roc_curves`.
    """
    from plotly.graph_objects import Figure, Heatmap

    rows = _Rows.of(y, prob, labels, weight)
    predicted = rows.prob.argmax(axis=1)
    there = np.flatnonzero((rows.support > 0) | (np.bincount(predicted, minlength=len(rows.support)) > 0))
    listed = rows.listed([int(k) for k in there])
    names = [rows.labels[k] for k in listed]
    place = np.full(len(rows.labels), len(listed))
    place[listed] = np.arange(len(listed))
    if len(there) > len(listed):
        names.append(f"({len(there) - len(listed)} others)")
    counts = confusion_counts(place[rows.y], place[predicted], len(names), rows.weight)
    total = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(total > 0, total, np.nan)
    kinds = [(_counted(rows.weight)[0], counts, _counted(rows.weight)[1]), ("share of the true class", shares, ".1%")]
    texts = np.array([_shown(name) for name in names], dtype=object)
    data = np.stack([np.broadcast_to(texts[:, None], counts.shape), np.broadcast_to(texts, counts.shape)], axis=-1)
    figure = Figure()
    for k, (name, z, form) in enumerate(kinds):
        hover = "true %{customdata[0]}<br>predicted %{customdata[1]}<br>%{z:" + form + "}<extra></extra>"
        figure.add_trace(
            Heatmap(
                z=z, customdata=data, hovertemplate=hover, visible=(k == 1) == normalised, xgap=1, ygap=1,
                zmin=0, zmax=1 if k else float(counts[: len(listed), : len(listed)].max()) or 1.0, name=name,
                texttemplate="%{z:" + form + "}" if len(names) <= _MATRIX_TEXTS else None,
                colorscale=[[0, "#fff7ed"], [1, PREDICTED]], colorbar={"tickformat": ".0%"} if k else {},
            )
        )  # fmt: skip
    buttons = [
        {"label": name, "method": "restyle", "args": [{"visible": [k == 0, k == 1]}]}
        for k, (name, _, _) in enumerate(kinds)
    ]
    menu = {"type": "buttons", "direction": "right", "active": int(normalised), "buttons": buttons}
    corner = {"x": 1.0, "xanchor": "right", "y": 1.0, "yanchor": "bottom", "pad": {"b": 8}}
    cells = 26 if len(names) > _MATRIX_TEXTS else 40
    _laid_out(figure, "Confusion matrix", int(np.clip(240 + cells * len(names), 420, 1200)), [rows.absent()])
    figure.update_layout(updatemenus=[{**menu, **corner}], margin={"t": 140})  # buttons below a long title
    ticks = {"tickvals": list(range(len(names))), "ticktext": list(texts), "showgrid": False, "zeroline": False}
    figure.update_xaxes(title_text="predicted", **ticks)
    figure.update_yaxes(title_text="true", autorange="reversed", **ticks)
    return figure


# -- numbers: y, predicted, both shape [n] ----------------------------------------------------------------------------


def _pairs(y: Any, predicted: Any) -> tuple[np.ndarray, np.ndarray]:
    y, predicted = np.asarray(y, dtype=float), np.asarray(predicted, dtype=float)
    if y.ndim != 1 or predicted.shape != y.shape:
        raise DataError(
            f"charts of numbers need a prediction for each true value, got {list(predicted.shape)} for {list(y.shape)}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        good = np.isfinite(predicted - y)
    if not good.any():
        raise DataError("there is nothing to draw: no row has a true value and a prediction.")
    return y[good], predicted[good]


def residuals(y: np.ndarray, predicted: np.ndarray, *, y_range: float | None = None) -> Figure:
    """Histogram of errors, predicted - true, and their mean.

    Parameters
    ----------
    y, predicted : shape [n]. y_range : highest - lowest target in training, by which the mean is told too.

    Raises
    ------
    DataError : no row has both; so for `predicted_vs_true`.
    """
    y, predicted = _pairs(y, predicted)
    error = predicted - y
    edges, counts = residual_bins(error)
    mean, outside = float(error.mean()), len(error) - int(counts.sum())
    from plotly.graph_objects import Bar, Figure

    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    ends = np.stack([edges[:-1], edges[1:]], axis=-1)
    hover = "%{customdata[0]:.4~g} to %{customdata[1]:.4~g}: %{y} rows<extra></extra>"
    marker = {"color": COUNT}
    figure = Figure([Bar(x=middle, y=counts, width=width, customdata=ends, hovertemplate=hover, marker=marker)])
    figure.add_vline(x=0, line={"color": ACTUAL, "dash": "dash", "width": 1.5})
    figure.add_vline(x=mean, line={"color": PREDICTED, "width": 2})
    _laid_out(
        figure,
        "Residuals",
        420,
        [
            f"mean (bias, orange line) {_number(mean)}{_of_range(mean, y_range)}",
            f"{outside:,} of {len(error):,} rows beyond the axis" if outside else "",
        ],
    )
    figure.update_layout(bargap=0.02, showlegend=False)
    figure.update_xaxes(title_text="predicted - true", exponentformat="B")
    figure.update_yaxes(title_text="rows")
    return figure


def predicted_vs_true(y: np.ndarray, predicted: np.ndarray, *, y_range: float | None = None) -> Figure:
    """Mean prediction for each bin of true values and a standard deviation beside it; the target's histogram below.

    Parameters as of `residuals`.
    """
    y, predicted = _pairs(y, predicted)
    found = agreement(y, predicted)
    low, high = found.mean - found.spread, found.mean + found.spread
    if found.logarithmic:
        low = np.maximum(low, found.mean / 10)
    ideal = [found.x.min(), found.x.max()] if len(found.x) > 1 else [found.edges[0], found.edges[-1]]
    from plotly.graph_objects import Bar, Scatter
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.8, 0.2], vertical_spacing=0.05)
    edge: dict[str, Any] = {"x": found.x, "mode": "lines", "line": {"width": 0}, "legendgroup": "band"}
    hover = "true %{x:.4~g}, predicted %{y:.4~g}<extra></extra>"
    traces = [
        Scatter(y=high, showlegend=False, hoverinfo="skip", **edge),
        Scatter(y=low, fill="tonexty", fillcolor=BAND, name="± 1 standard deviation", hoverinfo="skip", **edge),
        Scatter(x=found.x, y=found.mean, mode="lines+markers", name="mean prediction", line={"color": PREDICTED},
                hovertemplate=hover),
        Scatter(x=ideal, y=ideal, mode="lines", name="ideal", line={"color": GUIDE, "dash": "dash"}, hoverinfo="skip"),
    ]  # fmt: skip
    for trace in traces:
        figure.add_trace(trace, row=1, col=1)
    middle, width = (found.edges[1:] + found.edges[:-1]) / 2, np.diff(found.edges)
    bars = Bar(x=middle, y=found.counts, width=width, marker={"color": COUNT}, showlegend=False, name="rows")
    figure.add_trace(bars, row=2, col=1)
    error = float(np.abs(predicted - y).mean())
    _laid_out(
        figure, "Predicted against true", 620, [f"mean absolute error {_number(error)}{_of_range(error, y_range)}"]
    )
    figure.update_layout(bargap=0)
    if found.logarithmic:
        figure.update_xaxes(type="log")
        figure.update_yaxes(type="log", row=1, col=1)
    figure.update_xaxes(exponentformat="B")
    figure.update_yaxes(title_text="predicted", exponentformat="B", row=1, col=1)
    figure.update_yaxes(title_text="rows", row=2, col=1)
    figure.update_xaxes(title_text="true", row=2, col=1)
    return figure


# -- all --------------------------------------------------------------------------------------------------------------


def charts_of(
    y: np.ndarray,
    predicted: np.ndarray,
    classes: Sequence[Any] | np.ndarray | None = None,
    weight: np.ndarray | None = None,
    y_range: float | None = None,
) -> dict[str, Figure]:
    """All charts that suit, by name.

    Parameters
    ----------
    y : codes, or numbers where there are no classes, shape [n].
    predicted : probabilities [n, classes], made to add up to 1 as for metrics; or numbers [n].
    classes : labels. weight : of rows that have a class, shape [n]; numbers count alike, as they do in metrics.
    y_range : highest - lowest target in training, of numbers.

    Raises
    ------
    DataError : there is no row, or the shapes do not match.

    Examples
    --------
    >>> list(charts_of(np.array([1.0, 2.0]), np.array([1.5, 2.0])))
    ['residuals', 'predicted_vs_true']
    >>> list(charts_of(np.array([0, 1]), np.array([[0.9, 0.1], [0.3, 0.7]]), ["no", "yes"]))
    ['confusion_matrix', 'roc', 'precision_recall', 'cumulative_gains', 'lift', 'calibration']
    """
    if classes is None:
        return {
            "residuals": residuals(y, predicted, y_range=y_range),
            "predicted_vs_true": predicted_vs_true(y, predicted, y_range=y_range),
        }
    labels = list(classes)
    _Rows.of(y, predicted, labels, weight)  # says what is wrong with them
    prob = rows_of_one(np.asarray(predicted, dtype=float))
    return {
        "confusion_matrix": confusion_matrix(y, prob, labels, weight=weight),
        **_curves(_Rows.of(y, prob, labels, weight)),
        "calibration": calibration(y, prob, labels, weight=weight),
    }


# -- words and looks --------------------------------------------------------------------------------------------------


def _distinct(labels: Iterable[Any]) -> tuple[str, ...]:
    """Labels as short texts that differ; what tells names apart mostly stands at both ends."""
    half = (_LONGEST_NAME - 1) // 2
    texts = [" ".join(str(label).split()) or "(empty)" for label in labels]
    texts = [t if len(t) <= _LONGEST_NAME else f"{t[:half]}…{t[-half:]}" for t in texts]
    seen: Counter[str] = Counter()
    out = []
    for text in texts:
        seen[text] += 1
        out.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return tuple(out)


def _shown(text: str) -> str:
    """Text that plotly writes as it is; it knows `&lt;` but not `&quot;`."""
    return html.escape(text, quote=False)


def _named(label: str, what: str, number: float) -> str:
    text = f"{label}, {what} {number:.3f}" if what and np.isfinite(number) else label
    return _shown(text)


def _class_line(k: int, name: str, classes: int) -> dict[str, Any]:
    line = {"color": COLOURS[k % len(COLOURS)], "width": 1.5}
    return _line(name, line, 1000, visible=True if classes <= MOST_SHOWN else "legendonly")


def _guide(name: str, heights: Sequence[float]) -> Any:
    """Trace of what guessing, or an ideal model, would give."""
    from plotly.graph_objects import Scatter

    line = {"color": GUIDE, "dash": "dash", "width": 1.5}
    return Scatter(x=[0, 1], y=heights, mode="lines", name=name, line=line, hoverinfo="skip", legendrank=2000)


def _average_line(kind: str, name: str) -> dict[str, Any]:
    colour, dash = _AVERAGES[kind]
    return _line(name, {"color": colour, "dash": dash, "width": 2.5}, 100, visible=True)


def _line(name: str, line: dict[str, Any], rank: int, *, visible: bool | str) -> dict[str, Any]:
    """What all lines share; the legend is in the order of ranks."""
    return {
        "name": name, "line": line, "mode": "lines", "legendrank": rank, "visible": visible,
        "hovertemplate": "%{x:.3f}, %{y:.3f}",
    }  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.3g}"


def _of_range(value: float, y_range: float | None) -> str:
    return f", {value / y_range:.2%} of the range in training" if y_range and np.isfinite(y_range) else ""


def _laid_out(figure: Figure, title: str, height: int, notes: Iterable[str]) -> None:
    """Give a figure the look of all; notes stand below its title."""
    told = "; ".join(note for note in notes if note)
    figure.update_layout(
        title={"text": title, "x": 0.0, "xref": "paper", "subtitle": {"text": _shown(told)}},
        template="plotly_white",
        height=height,
        margin={"t": 90, "b": 60},
        legend={
            "title": {"text": "click hides, double click isolates", "font": {"size": 10, "color": COUNT}},
            "tracegroupgap": 0,
        },
        hoverlabel={"namelength": -1},
        modebar={"remove": ["sendChartToCloud"]},
    )
