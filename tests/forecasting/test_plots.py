"""Charts hold the data they are given, work offline and cannot be broken by what a series is called."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from automl.errors import DataError
from forecasting.plots import forecast_html, forecast_image
from forecasting.plots_explain import importance_html, importance_image


def frames(ids=("a", "b"), horizon=4):
    past, ahead = [], []
    for k, name in enumerate(ids):
        stamps = pd.date_range("2020-01-01", periods=30, freq="MS")
        past.append(pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.arange(30.0) + 100 * k}))
        future = pd.date_range(stamps[-1], periods=horizon + 1, freq="MS")[1:]
        yhat = 30.0 + np.arange(horizon) + 100 * k
        band = {"yhat": yhat, "yhat-q-0.1": yhat - 5, "yhat-q-0.5": yhat, "yhat-q-0.9": yhat + 5}
        ahead.append(pd.DataFrame({"unique_id": name, "ds": future, **band}))
    return pd.concat(past), pd.concat(ahead)


def traces_of(text):
    """What plotly will draw, read back from the page (the first argument list of Plotly.newPlot)."""
    at = text.index("[", text.index("Plotly.newPlot(", text.rindex("<script")))
    return json.JSONDecoder().raw_decode(text[at:])[0]


def values(column):
    """Numbers as plotly writes them: a list, or base64 of a typed array."""
    if isinstance(column, dict):
        import base64

        return np.frombuffer(base64.b64decode(column["bdata"]), dtype=np.dtype(column["dtype"])).tolist()
    return column


def test_page_draws_history_forecast_and_interval_of_every_series_offline(tmp_path):
    history, forecast = frames()
    path = forecast_html(history, forecast, tmp_path / "deep" / "chart.html")
    text = path.read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=", text), "the page asks for something outside"
    traces = traces_of(text)
    by_name = {}
    for trace in traces:
        by_name.setdefault(trace.get("name"), []).append(values(trace["y"]))
    assert by_name["y"] == [np.arange(30.0).tolist(), (np.arange(30.0) + 100).tolist()]
    assert by_name["forecast"] == [[30.0, 31.0, 32.0, 33.0], [130.0, 131.0, 132.0, 133.0]]
    assert by_name["quantiles 0.1 to 0.9"] == [[25.0, 26.0, 27.0, 28.0], [125.0, 126.0, 127.0, 128.0]]


def test_long_histories_are_cut_and_many_series_capped(tmp_path):
    history, forecast = frames(ids=tuple("abcde"))
    text = forecast_html(history, forecast, tmp_path / "c.html", max_series=2, history_steps=7).read_text()
    history_traces = [values(t["y"]) for t in traces_of(text) if t.get("name") == "y"]
    assert [len(y) for y in history_traces] == [7, 7]
    assert history_traces[0][-1] == 29.0


def test_a_series_name_cannot_put_markup_into_the_page(tmp_path):
    nasty = "</script><script>alert(1)</script>"
    history, forecast = frames(ids=(nasty,))
    text = forecast_html(history, forecast, tmp_path / "c.html", title=nasty).read_text()
    assert "<script>alert" not in text


def test_several_id_columns_integer_time_and_no_interval(tmp_path):
    history = pd.DataFrame({"store": [1, 1, 2, 2], "item": ["x"] * 4, "t": [0, 1, 0, 1], "sold": [1.0, 2.0, 3.0, 4.0]})
    forecast = pd.DataFrame({"store": ["1", "2"], "item": ["x", "x"], "t": [2, 2], "yhat": [2.5, 4.5]})
    text = forecast_html(
        history, forecast, tmp_path / "c.html", ids=("store", "item"), time="t", target="sold"
    ).read_text()
    sold = [values(t["y"]) for t in traces_of(text) if t.get("name") == "sold"]
    assert sold == [[1.0, 2.0], [3.0, 4.0]], "text ids from a file find the numbers in memory"


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_pictures_are_what_their_suffix_says(tmp_path, suffix, magic):
    history, forecast = frames(ids=("a$b$", "c"))
    path = forecast_image(history, forecast, tmp_path / f"c{suffix}", title="$5 a piece")
    assert path.read_bytes().startswith(magic)
    assert path.stat().st_size > 5_000


def test_errors_name_what_is_wrong(tmp_path):
    history, forecast = frames()
    with pytest.raises(DataError, match="history has no column 'y'"):
        forecast_html(history.drop(columns="y"), forecast, tmp_path / "c.html")
    with pytest.raises(DataError, match="no row"):
        forecast_html(history, forecast.iloc[:0], tmp_path / "c.html")
    with pytest.raises(DataError, match=r"\.png, \.pdf or \.svg"):
        forecast_image(history, forecast, tmp_path / "c.gif")
    assert not list(tmp_path.iterdir())


def importances(steps=()):
    rows = [("price <b>", 0.5), ("target$", 0.25), ("time", -0.1)]
    table = [{"feature": f, "importance": v, "std": 0.05, "method": "permutation"} for f, v in rows]
    if steps:
        table = [{**row, "importance": row["importance"] * h, "horizon": h} for row in table for h in steps]
    return pd.DataFrame(table)


def test_importances_are_drawn_as_they_are(tmp_path):
    text = importance_html(importances(), tmp_path / "bars.html").read_text()
    (bars,) = traces_of(text)
    assert values(bars["x"]) == [0.5, 0.25, -0.1]
    assert bars["y"] == ["price &lt;b&gt;", "target$", "time"]
    (cells,) = traces_of(importance_html(importances((1, 2)), tmp_path / "cells.html", most=2).read_text())
    assert values(cells["z"]) == [0.5, 1.0, 0.25, 0.5] or cells["z"] == [[0.5, 1.0], [0.25, 0.5]]
    assert len(cells["y"]) == 2


@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
@pytest.mark.parametrize("steps", [(), (1, 2, 3)])
def test_pictures_of_importances(tmp_path, suffix, begin, steps):
    assert importance_image(importances(steps), tmp_path / f"a.{suffix}").read_bytes().startswith(begin)


def test_what_cannot_be_drawn_is_said(tmp_path):
    with pytest.raises(DataError, match="no column 'importance', 'std', 'method'"):
        importance_html(pd.DataFrame({"feature": ["a"], "contribution": [1.0]}), tmp_path / "a.html")
    with pytest.raises(DataError, match="no row"):
        importance_html(importances().iloc[:0], tmp_path / "a.html")
    with pytest.raises(DataError, match=r"\.png, \.pdf, \.svg, got 'a.gif'"):
        importance_image(importances(), tmp_path / "a.gif")
