"""Series the model never saw but that bring some history: the members that do best on such forecast them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecasting import strangers
from forecasting.forecaster import Forecaster
from forecasting.panel import Future
from forecasting.task import ForecastTask
from tests.forecasting.frames import monthly, quick

HORIZON = 6


@pytest.fixture(scope="module")
def many():
    """Eighteen seasonal series, forecast by methods that need long series of their own and by a pooled one."""
    frame = monthly(n_series=20, rows=72)
    seen = frame[~frame["unique_id"].isin(["s18", "s19"])]
    settings = quick(3, allowed=["SeasonalNaive", "ExponentialSmoothing", "ElasticNet"])
    return Forecaster(HORIZON, settings=settings).fit(seen), frame


def own_rows(frame, count, key="s19"):
    mine = frame[frame["unique_id"] == key]
    days = pd.date_range(frame["ds"].max(), periods=HORIZON + 1, freq="MS")[1:]
    return mine.tail(count), pd.DataFrame({"unique_id": key, "ds": days})


def test_a_short_stranger_is_forecast_by_members_that_were_good_on_short_series(many):
    model, frame = many
    history, rows = own_rows(frame, 24)
    out = model.predict(rows, history=history, level=[80])
    fitted = model._model
    asked = strangers.asked(fitted.members, names(fitted), 24)
    weights = dict(fitted._trial.weights(asked, 24))
    assert sum(weights.values()) == pytest.approx(1)
    brief = {m.name: m for m in asked if m.rows}
    assert all(m.rows == 24 and m.name not in fitted.members for m in brief.values())
    fitted.members |= brief  # so that they can be asked for by name
    fitted.entries |= {name: replace(fitted.entry(None), name=name, weights=((name, 1.0),)) for name in brief}
    by_hand = sum(w * model.predict(rows, history=history, model=name)["yhat"] for name, w in weights.items())
    for name in brief:
        del fitted.members[name], fitted.entries[name]
    np.testing.assert_allclose(out["yhat"], by_hand)
    assert (out["yhat-lo-80"] < out["yhat-hi-80"]).all()


def names(fitted):
    return [name for name, weight in fitted.entry(None).weights if weight]


def test_known_series_beside_strangers_are_forecast_as_ever(many):
    model, frame = many
    history, rows = own_rows(frame, 24)
    together = pd.concat([rows.assign(unique_id="s3"), rows], ignore_index=True)
    out = model.predict(together, history=history)
    np.testing.assert_array_equal(out["yhat"].iloc[:HORIZON], model.predict(together.iloc[:HORIZON])["yhat"])
    np.testing.assert_allclose(out["yhat"].iloc[HORIZON:], model.predict(rows, history=history)["yhat"])


def test_a_stranger_with_much_history_is_forecast_by_the_ordinary_weights(many):
    model, frame = many
    history, rows = own_rows(frame, strangers.ENOUGH_SEASONS * 12)
    out = model.predict(rows, history=history)
    fitted = model._model
    parts = [w * model.predict(rows, history=history, model=n)["yhat"] for n, w in fitted.entry(None).weights if w]
    np.testing.assert_allclose(out["yhat"], sum(parts))


def test_the_choice_is_the_same_after_saving_and_whatever_was_asked_before(many, tmp_path):
    model, frame = many
    history, rows = own_rows(frame, 24)
    want = model.predict(rows, history=history)
    model.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    again.predict(own_rows(frame, 12)[1], history=own_rows(frame, 12)[0])
    pd.testing.assert_frame_equal(again.predict(rows, history=history), want, check_exact=True)


def test_the_trial_reads_nothing_after_the_cutoff(many):
    model, _ = many
    fitted = model._model
    members = strangers.asked(fitted.members, names(fitted), 24)
    cut = fitted.task.cuts[0]
    panel = fitted.task.panel
    later = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths) >= np.repeat(cut, panel.lengths)
    noisy = replace(panel, y=np.where(later, 1e6, panel.y))
    seen = []
    for one in (panel, noisy):
        trial = strangers.Trial(ForecastTask(one, fitted.task.cuts, fitted.task.settings))
        trial._learn(members, 24)
        short = one.select(trial._left_out(24)).head(cut[trial._left_out(24)]).tail(24)
        future = Future.bare(short, HORIZON)
        seen.append([learner.forecast(short, future, ()).values for learner in trial._fitted.values()])
    assert seen[0]
    for a, b in zip(*seen, strict=True):
        np.testing.assert_array_equal(a, b)


def test_members_that_cannot_do_with_little_history_are_left_out(many):
    fitted = many[0]._model
    members = {m.name: m for m in fitted.members.values()}
    trial = strangers.Trial(fitted.task)
    assert dict(trial.weights([members["SeasonalNaive"], members["ElasticNet"]], 12)) == {"SeasonalNaive": 1.0}
    near = dict(trial.weights([members["ElasticNet"], members["ElasticNet"]], 24))
    assert near == {"ElasticNet": 0.5}  # the same twice: an even share each


def test_few_series_teach_nothing_about_strangers():
    frame = monthly()
    model = Forecaster(3, settings=quick(3)).fit(frame[frame["unique_id"] != "s2"])
    trial = strangers.Trial(model._model.task)
    assert trial.weights(list(model._model.members.values()), 24) is None
    history, rows = own_rows(frame, 24, "s2")
    assert model.predict(rows, history=history)["yhat"].notna().all()


def test_rows_are_counted_in_seasons(many):
    trial = strangers.Trial(many[0]._model.task)
    assert trial.bucket(np.array([3, 12, 23, 24, 47, 48, 500])).tolist() == [3, 12, 12, 24, 36, 0, 0]
