"""Charts show the points scikit-learn finds, say what they leave out, and make a page that needs no network."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from automl import charts, curves
from automl.charts import charts_of
from automl.errors import DataError
from automl.metrics import CLASSIFICATION
from tabular.report import MOST_ROWS, write_report

NASTY = "</script><b>bold</b><script>alert(1)</script>"
LINES = (charts.roc_curves, charts.precision_recall_curves, charts.cumulative_gains, charts.lift, charts.calibration)
NAMES = ["confusion_matrix", "roc", "precision_recall", "cumulative_gains", "lift", "calibration"]


def classes(rows=400, k=3, seed=0, *, digits=None):
    """Codes and probabilities that know something of them; with few digits there are ties."""
    rng = np.random.default_rng(seed)
    y = rng.choice(k, rows, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    prob = rng.dirichlet(np.ones(k), rows) + 0.5 * np.eye(k)[y]
    prob /= prob.sum(axis=1, keepdims=True)
    return y, prob if digits is None else np.round(prob, digits)


def weights(rows, seed=1):
    return np.random.default_rng(seed).uniform(0.5, 3.0, rows)


def shown(figure, kind):
    """The trace whose name begins so, and the number in its name."""
    trace = next(t for t in figure.data if t.name.startswith(kind) and t.showlegend is not False)
    number = re.search(r"[A-Z]{2,3} (\d\.\d+)$", trace.name)
    return trace, float(number[1]) if number else None


def note(figure):
    return figure.layout.title.subtitle.text


# -- points -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("digits", [None, 1])
def test_points_of_curves_are_those_of_scikit_learn(digits, weighted):
    y, prob = classes(digits=digits)
    w = weights(len(y)) if weighted else None
    for k in range(3):
        hot, score = y == k, prob[:, k]
        fpr, tpr, _ = sk.roc_curve(hot, score, sample_weight=w, drop_intermediate=False)
        np.testing.assert_allclose(charts.roc_points(*charts.ranked(hot, score, w)), (fpr, tpr), atol=1e-12)
        precision, recall, _ = sk.precision_recall_curve(hot, score, sample_weight=w)
        np.testing.assert_allclose(
            charts.precision_recall_points(*charts.ranked(hot, score, w)), (recall[::-1], precision[::-1]), atol=1e-12
        )


def test_gains_and_lift_by_hand():
    hot = np.array([1, 0, 1, 0, 0])
    score = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    share, gain = charts.gains_points(*charts.ranked(hot, score))
    np.testing.assert_allclose(share, [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(gain, [0, 0.5, 0.5, 1, 1, 1])
    x, y = charts.lift_points(*charts.ranked(hot, score))
    at = [np.abs(x - v).argmin() for v in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    np.testing.assert_allclose(y[at], [2.5, 2.5, 1.25, 1 / 0.6, 1.25, 1])
    share, gain = charts.gains_points(*charts.ranked(hot, score, np.array([1.0, 1, 3, 1, 2])))
    np.testing.assert_allclose(share, [0, 1 / 8, 2 / 8, 5 / 8, 6 / 8, 1])
    np.testing.assert_allclose(gain, [0, 0.25, 0.25, 1, 1, 1])


def test_weights_count_like_repeated_rows():
    y, prob = classes(60, digits=1)
    times = np.random.default_rng(3).integers(1, 5, len(y))
    many, more = np.repeat(y, times), np.repeat(prob, times, axis=0)
    for points in (charts.roc_points, charts.precision_recall_points, charts.gains_points, charts.lift_points):
        weighted = points(*charts.ranked(y == 1, prob[:, 1], times))
        for a, b in zip(weighted, points(*charts.ranked(many == 1, more[:, 1])), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
    weighted = charts_of(y, prob, ["a", "b", "c"], times.astype(float))
    for name, figure in charts_of(many, more, ["a", "b", "c"]).items():
        assert [t.name for t in weighted[name].data][2:] == [t.name for t in figure.data][2:]
        for a, b in zip(weighted[name].data, figure.data, strict=True):
            for axis in ("x", "y", "z"):
                if axis in b and b[axis] is not None:
                    np.testing.assert_allclose(a[axis], b[axis], atol=1e-9)


@pytest.mark.parametrize("digits", [None, 1])
def test_bins_of_calibration_are_those_of_scikit_learn(digits):
    y, prob = classes(digits=digits)
    for k in range(3):
        mean, share, rows = charts.calibration_bins(y == k, prob[:, k], bins=10)
        some = rows > 0
        np.testing.assert_allclose((share[some], mean[some]), calibration_curve(y == k, prob[:, k], n_bins=10))
        assert rows.sum() == len(y)
        assert np.isnan(mean[~some]).all()
    w = weights(len(y))
    mean, share, size = charts.calibration_bins(y == 0, prob[:, 0], w, bins=1)
    assert (mean[0], share[0], size[0]) == pytest.approx(
        (np.average(prob[:, 0], weights=w), np.average(y == 0, weights=w), w.sum())
    )


def test_the_confusion_matrix_is_that_of_scikit_learn():
    y, prob = classes()
    w, guess = weights(len(y)), prob.argmax(axis=1)
    figure = charts.confusion_matrix(y, prob, ["a", "b", "c"])
    counts, shares = figure.data
    np.testing.assert_array_equal(counts.z, sk.confusion_matrix(y, guess))
    np.testing.assert_allclose(shares.z, sk.confusion_matrix(y, guess, normalize="true"))
    assert (counts.visible, shares.visible) == (True, False)
    weighted = charts.confusion_matrix(y, prob, ["a", "b", "c"], weight=w, normalised=True)
    np.testing.assert_allclose(weighted.data[0].z, sk.confusion_matrix(y, guess, sample_weight=w))
    assert (weighted.data[0].visible, weighted.data[1].visible) == (False, True)
    first, second = figure.layout.updatemenus[0].buttons
    assert (first.args[0]["visible"], second.args[0]["visible"]) == ([True, False], [False, True])
    assert (figure.layout.yaxis.title.text, figure.layout.xaxis.title.text) == ("true", "predicted")


def distance(x, y, line_x, line_y):
    """From points to the nearest part of a line."""
    nearest = np.full(len(x), np.inf)
    for ax, ay, bx, by in zip(line_x[:-1], line_y[:-1], line_x[1:], line_y[1:], strict=True):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / (length or 1.0), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
    return nearest


@pytest.mark.parametrize("rows", [1_000, 50_000])
def test_thinned_lines_keep_their_shape(rows):
    y, prob = classes(rows)
    for points in (charts.roc_points, charts.gains_points, charts.lift_points, charts.precision_recall_points):
        x, v = points(*charts.ranked(y == 0, prob[:, 0]))
        few, low = curves.thinned(x, v)
        assert len(few) <= curves.MOST_POINTS
        assert (few[0], few[-1], low[0], low[-1]) == (x[0], x[-1], v[0], v[-1])
        assert (np.diff(few) >= 0).all()
        assert distance(x[::7], v[::7] / v.max(), few, low / v.max()).max() < 0.004
        assert np.trapezoid(low, few) == pytest.approx(np.trapezoid(v, x), abs=2e-3)


def test_short_lines_are_left_as_they_are():
    x = np.linspace(0, 1, curves.MOST_POINTS)
    assert curves.thinned(x, x)[0] is x
    assert [len(v) for v in curves.thinned(np.linspace(0, 1, 5000), np.zeros(5000))] == [2, 2]


# -- legends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 5])
def test_numbers_in_legends_are_those_of_the_metrics_table(k):
    y, prob = classes(k=k, digits=2)
    prob = np.clip(prob, 0.01, None)
    found = charts_of(y, prob, list("abcde"[:k]))
    prob = prob / prob.sum(axis=1, keepdims=True)
    for average in ("macro", "micro", "weighted"):
        for chart, metric in (("roc", "AUC"), ("precision_recall", "average_precision_score")):
            value = CLASSIFICATION.load(f"{metric}_{average}").function(y, prob)
            assert shown(found[chart], average)[1] == pytest.approx(value, abs=5.1e-4)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_averages_with_weights_are_those_of_scikit_learn(average):
    y, prob = classes()
    w, hot = weights(len(y)), np.eye(3, dtype=int)[y]
    area = shown(charts.roc_curves(y, prob, "abc", weight=w), average)[1]
    assert area == pytest.approx(sk.roc_auc_score(hot, prob, average=average, sample_weight=w), abs=5.1e-4)
    precision = shown(charts.precision_recall_curves(y, prob, "abc", weight=w), average)[1]
    assert precision == pytest.approx(
        sk.average_precision_score(hot, prob, average=average, sample_weight=w), abs=5.1e-4
    )


@pytest.mark.parametrize("rows", [40, 3000])
def test_drawn_lines_have_the_areas_that_the_legend_says(rows):
    y, prob = classes(rows)
    figures = charts_of(y, prob, ["a", "b", "c"])
    for kind in ("a", "b", "c", "micro", "macro", "weighted"):
        for name in ("roc", "precision_recall"):
            trace, number = shown(figures[name], kind)
            assert np.trapezoid(trace.y, trace.x) == pytest.approx(number, abs=3e-3)
            assert len(trace.x) <= curves.MOST_POINTS


def test_macro_is_the_plain_mean_and_weighted_the_one_by_rows():
    y, prob = classes(50)
    figure = charts.cumulative_gains(y, prob, "abc")
    parts = [np.interp(0.25, *charts.gains_points(*charts.ranked(y == k, prob[:, k]))) for k in range(3)]
    for kind, share in (("macro", None), ("weighted", np.bincount(y))):
        trace = shown(figure, kind)[0]
        assert np.interp(0.25, trace.x, trace.y) == pytest.approx(np.average(parts, weights=share), abs=2e-3)
    lifts = shown(charts.lift(y, prob, "abc"), "macro")[0]
    assert np.interp(0.25, lifts.x, lifts.y) == pytest.approx(np.mean(parts) / 0.25, abs=1e-2)


def test_calibration_counts_rows_below_and_its_error_in_the_legend():
    y, prob = classes()
    figure = charts.calibration(y, prob, "abc")
    mean, share, rows = charts.calibration_bins(y == 1, prob[:, 1])
    trace, error = shown(figure, "b")
    some = rows > 0
    np.testing.assert_allclose((trace.x, trace.y, trace.customdata), (mean[some], share[some], rows[some]))
    below = next(t for t in figure.data if t.legendgroup == trace.legendgroup and t.showlegend is False)
    np.testing.assert_array_equal(np.nan_to_num(below.y[::2]), rows)
    np.testing.assert_allclose(below.x[::2], np.arange(10) / 10)
    assert error == pytest.approx(np.nansum(np.abs(mean - share) * rows) / len(y), abs=5.1e-4)
    errors = [shown(figure, name)[1] for name in "abc"]
    assert shown(figure, "macro")[1] == pytest.approx(np.mean(errors), abs=1e-3)
    pooled = next(t for t in figure.data if t.name.startswith("micro") and t.showlegend is False)
    assert np.nansum(pooled.y) / 2 == 3 * len(y)


# -- edges ------------------------------------------------------------------------------------------------------------


def test_both_classes_of_binary_data_are_drawn():
    y, prob = classes(k=2)
    for make in LINES:
        names = [t.name.partition(",")[0] for t in make(y, prob, ["no", "yes"]).data if t.showlegend is not False]
        assert names[:5] == ["no", "yes", "micro average", "macro average", "weighted average"]


@pytest.mark.parametrize("k", [10, 11, 60])
def test_many_classes_are_hidden_at_first_and_the_rarest_not_listed(k):
    y, prob = classes(3000, k)
    y[:k] = np.arange(k)
    for make in LINES:
        figure = make(y, prob, list(range(k)))
        lines = [t for t in figure.data if t.showlegend is not False]
        single = [t for t in lines if "average" not in t.name and t.name not in {"ideal", "random"}]
        single = [t for t in single if not t.name.startswith("random")]
        assert {t.visible for t in single} == ({True} if k == 10 else {"legendonly"})
        assert len(single) == min(k, charts.MOST_LISTED)
        assert all(t.visible is True for t in lines if "average" in t.name)
        assert (f"40 most frequent of {k} classes" in note(figure)) == (k == 60)
    z = charts.confusion_matrix(y, prob, list(range(k))).data[0].z
    assert z.shape == ((k, k) if k < 60 else (41, 41))
    assert z.sum() == len(y)


def test_classes_that_no_row_has_are_left_out_and_named():
    y, prob = classes(k=5)
    keep = (y == 0) | (y == 3)
    y, prob = y[keep], prob[keep]
    labels = ["red", "green", "<blue>", "pink", "grey"]
    for make in LINES:
        figure = make(y, prob, labels)
        assert note(figure) == "no row of green, &lt;blue&gt;, grey"
        assert [t.name.partition(",")[0] for t in figure.data if t.showlegend is not False][:3] == [
            "red", "pink", "micro average",
        ]  # fmt: skip
    matrix = charts.confusion_matrix(y, prob, labels)
    assert note(matrix) == "no row of green, &lt;blue&gt;, grey"
    assert matrix.data[0].z.sum() == len(y), "columns of classes that were predicted are there"
    hot = charts.confusion_matrix(np.array([0, 3]), np.eye(5)[[0, 3]], labels)
    assert list(hot.layout.xaxis.ticktext) == ["red", "pink"]


@pytest.mark.parametrize("rows", [1, 20])
def test_one_class_alone_gives_charts_that_say_so(rows):
    y = np.ones(rows, dtype=int)
    prob = np.tile([0.3, 0.7], (rows, 1))
    figures = charts_of(y, prob, ["no", "yes"])
    assert list(figures) == NAMES
    for name in ("roc", "precision_recall", "cumulative_gains", "lift"):
        assert "every row is of yes" in note(figures[name])
        assert [t.name.partition(" ")[0].strip(",") for t in figures[name].data] == ["micro", "random"]
    assert shown(figures["calibration"], "yes")[1] == pytest.approx(0.3)
    assert figures["confusion_matrix"].data[0].z.tolist() == [[rows]]
    single = charts_of(np.zeros(rows, dtype=int), np.ones((rows, 1)), ["only"])
    assert [t.name for t in single["roc"].data] == ["random"]


def test_constant_predictions_are_as_good_as_chance():
    y, _ = classes(k=3)
    figures = charts_of(y, np.full((len(y), 3), 1 / 3), "abc")
    for kind in ("a", "b", "c", "macro", "weighted"):
        assert shown(figures["roc"], kind)[1] == 0.5
        np.testing.assert_allclose(shown(figures["lift"], kind)[0].y, 1)
        trace = shown(figures["cumulative_gains"], kind)[0]
        np.testing.assert_allclose(trace.x, trace.y, atol=1e-12)


def test_rows_of_no_weight_are_not_there():
    y, prob = classes(60)
    weight = (np.arange(60) % 2).astype(float)
    odd = charts_of(y[1::2], prob[1::2], "abc")
    for name, figure in charts_of(y, prob, "abc", weight).items():
        for a, b in zip(figure.data, odd[name].data, strict=True):
            if b.y is not None:
                np.testing.assert_allclose(a.y, b.y)


@pytest.mark.parametrize(
    ("y", "prob", "weight", "message"),
    [
        ([0, 1], [[0.5, 0.5]], None, r"shape \[2, 2\]"),
        ([], np.empty((0, 2)), None, "no row"),
        ([0, 1], [[0.5, 0.5]] * 2, [0.0, 0.0], "no row"),
        ([0, 1], [[0.5, 0.5]] * 2, [1.0, -1.0], "weights"),
        ([0, 2], [[0.5, 0.5]] * 2, None, "from 0 to 1"),
        (["a", "b"], [[0.5, 0.5]] * 2, None, "codes"),
        ([0, 1], [[0.5, np.nan]] * 2, None, "2 rows"),
        ([0, 1], [0.5, 0.5], None, "shape"),
    ],
)
def test_what_cannot_be_drawn_is_said(y, prob, weight, message):
    with pytest.raises(DataError, match=message):
        charts_of(np.array(y), np.array(prob), ["a", "b"], weight)


def test_labels_are_written_as_they_are_and_told_apart():
    labels = ["<b>", 'say "a" & b', "x" * 50 + "1", "x" * 20 + "y" + "x" * 29 + "1", "", "1"]
    y, prob = classes(300, k=6)
    texts = ["&lt;b&gt;", 'say "a" &amp; b', f"{'x' * 13}…{'x' * 12}1", f"{'x' * 13}…{'x' * 12}1 (2)", "(empty)", "1"]
    figures = charts_of(y, prob, labels)
    assert list(figures["confusion_matrix"].layout.yaxis.ticktext) == texts
    for name in NAMES[1:]:
        drawn = [re.sub(r", [A-Z]{2,3} [\d.]+$", "", t.name) for t in figures[name].data if t.showlegend is not False]
        assert drawn[:6] == texts


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_residuals_are_predicted_minus_true_and_far_ones_are_counted():
    f = np.linspace(-1, 3, 1000)
    figure = charts.residuals(np.zeros(1000), f, y_range=50.0)
    assert note(figure) == "mean (bias, orange line) 1, 2.00% of the range in training"
    assert sum(figure.data[0].y) == 1000
    assert [s.x0 for s in figure.layout.shapes] == [0, pytest.approx(1)]
    f[:3] = 1e9
    far = charts.residuals(np.zeros(1000), f)
    outside = 1000 - sum(far.data[0].y)
    assert outside >= 3
    assert f"{outside} of 1,000 rows beyond the axis" in note(far)
    assert max(far.data[0].x) < 4
    np.testing.assert_array_equal(
        charts.residuals(np.arange(50.0), np.arange(50.0) ** 1.5).data[0].y,
        np.histogram(np.arange(50.0) ** 1.5 - np.arange(50.0), bins=11)[0],
    )


def test_predicted_against_true_gives_mean_and_spread_of_each_bin():
    y = np.repeat([0.0, 10.0], 50)
    f = np.concatenate([np.tile([1.0, 3.0], 25), np.full(50, 9.0)])
    high, low, mean, ideal, below = charts.predicted_vs_true(y, f, y_range=10).data
    assert (list(mean.x), list(mean.y), list(high.y), list(low.y)) == ([0, 10], [2, 9], [3, 9], [1, 9])
    assert (list(ideal.x), list(ideal.y)) == ([0, 10], [0, 10])
    assert (sum(below.y), below.y[0], below.y[-1]) == (100, 50, 50)
    assert note(charts.predicted_vs_true(y, f)) == "mean absolute error 1.5"
    wide = charts.agreement(np.geomspace(1, 1e9, 300), np.geomspace(2, 2e9, 300))
    assert wide.logarithmic
    np.testing.assert_allclose(wide.mean / wide.x, 2)
    huge = charts.agreement(np.array([0.0, 0.0, 1.0]), np.array([-1e200, 1e200, 0.0]))
    assert huge.spread[0] == pytest.approx(1e200)


ALIKE = np.linspace(0, 1, 50)


@pytest.mark.parametrize(
    ("y", "f"),
    [
        (ALIKE, ALIKE + 3),
        (3 + ALIKE * 1e-16, ALIKE),
        ([3.0], [4.0]),
        ([3.0] * 9, [3.0] * 9),
        ([1.0, 2.0, 3.0], [2.0] * 3),
    ],
)
def test_one_row_and_constants_have_charts_of_numbers(y, f):
    figures = charts_of(np.array(y), np.array(f), y_range=0.0)
    assert list(figures) == ["residuals", "predicted_vs_true"]
    assert sum(figures["residuals"].data[0].y) == sum(figures["predicted_vs_true"].data[-1].y) == len(y)
    assert "range" not in note(figures["residuals"]).replace("orange", "")


def test_numbers_that_are_missing_are_left_out():
    assert sum(charts.residuals([1.0, np.nan, 2.0], [1.0, 5.0, np.inf]).data[0].y) == 1
    with pytest.raises(DataError, match="no row has a true value"):
        charts_of(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(DataError, match=r"got \[1\] for \[2\]"):
        charts_of(np.array([1.0, 2.0]), np.array([1.0]))


# -- the page ---------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Texts by section, and all tags with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.section = [], {}, "head"
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"]

    def handle_data(self, data):
        self.text[self.section] = self.text.get(self.section, "") + data + "|"


def frames():
    return {
        "leaderboard": pd.DataFrame(
            {
                "model": ["VotingEnsemble", "LightGBM", NASTY],
                "score": [0.123456, np.nan, 12345678.9],
                "status": ["completed", "failed", "skipped"],
                "params": [None, {"trees": 100, "rate": 0.05}, float("nan")],
            }
        ),
        "guardrails": pd.DataFrame(
            [
                {
                    "name": "Gaps",
                    "status": "done",
                    "message": "<b>3</b> filled",
                    "details": (("age", "numeric, 3 missing"),),
                }
            ]
        ),
        "metrics": {"accuracy": 0.91, "log_loss": float("nan")},
        "features": pd.DataFrame(
            {"name": ["age", "é" * 400], "dropped": [False, True], "transformers": [["Imputer", "Scaler"], []]}
        ),
    }


def test_the_report_holds_every_section_and_asks_for_nothing_outside(tmp_path):
    y, prob = classes()
    found = charts_of(y, prob, ["a", NASTY, "c" * 300])
    path = write_report(tmp_path / "deep" / "report.html", title=f"Titanic {NASTY}", charts=found, **frames())
    page = path.read_text(encoding="utf-8")
    read = Reader(page)
    assert [a["id"] for t, a in read.tags if t == "section"] == [
        "metrics", "charts", "leaderboard", "guardrails", "features",
    ]  # fmt: skip
    assert [a["data-chart"] for t, a in read.tags if t == "figure"] == NAMES
    assert "accuracy|" in read.text["metrics"]
    assert "0.91|" in read.text["metrics"]
    for text in ("VotingEnsemble|", "0.1235|", "12,345,679|", "trees: 100; rate: 0.05|", NASTY):
        assert text in read.text["leaderboard"]
    for text in ("<b>3</b> filled|", "age: numeric, 3 missing|"):
        assert text in read.text["guardrails"]
    assert ("span", {"class": "status done"}) in read.tags
    for text in ("Imputer, Scaler|", "no|", "yes|", "é" * 400):
        assert text in read.text["features"]
    assert f"Titanic {NASTY}" in read.text["head"]
    outside = {"src", "href", "srcset", "data"}
    assert all(str(a[k]).startswith("#") for _, a in read.tags for k in outside & set(a))
    assert "<script>alert" not in page
    assert page.count('"showSendToCloud": false') == len(found)
    assert page.count("Plotly.newPlot(") >= len(found)
    assert len(page) < 8e6, "plotly.js lies inside once"


def test_a_report_of_nothing_says_none_and_long_tables_are_cut(tmp_path):
    empty = pd.DataFrame()
    path = write_report(
        tmp_path / "r.html", title="", charts={}, leaderboard=empty, guardrails=empty, metrics=empty, features=empty
    )
    assert path.read_text().count(">none<") == 5
    long = pd.DataFrame({"name": [f"column {k}" for k in range(MOST_ROWS + 7)]})
    page = write_report(
        path, title="\ud800", charts={}, leaderboard=long, guardrails=empty, metrics={}, features=empty
    ).read_text()
    assert "and 7 more rows" in page
    assert f"column {MOST_ROWS - 1}<" in page
    assert f"column {MOST_ROWS}<" not in page


def test_the_same_report_has_the_same_bytes(tmp_path):
    y, prob = classes()
    pages = [
        write_report(tmp_path / name, title="t", charts=charts_of(y, prob, "abc"), **frames()).read_bytes()
        for name in ("a.html", "b.html")
    ]
    assert pages[0] == pages[1]
