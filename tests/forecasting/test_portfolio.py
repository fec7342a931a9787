"""What is tried on which data, and why the rest is not: every learner stands in the leaderboard."""

import numpy as np
import pandas as pd
import pytest

from automl.budget import Deadline
from automl.candidates import Candidate
from automl.errors import ConfigError, DeadlineExceededError
from automl.trial import Trial
from forecasting.config import SearchSettings
from forecasting.costs import PRICES, expected_seconds
from forecasting.fitting import plan_task
from forecasting.forecaster import Forecaster
from forecasting.learners.base import LEARNERS
from forecasting.learners.naive import Naive
from forecasting.pace import Pace
from forecasting.panel import Panel
from forecasting.portfolio import choose
from forecasting.spaces import SPACES, TCN_FIRST
from forecasting.timegrid import TimeGrid
from tests.forecasting.frames import monthly, quick
from tests.forecasting.panels import small_panel


def _chosen(panel, *, season=12, windows=2, trial_limit=None, **search):
    return choose(
        panel,
        SearchSettings(**search),
        season=season,
        stationary=True,
        windows=windows,
        trial_limit=trial_limit,
    )


def _names(portfolio):
    return [candidate.learner for candidate in portfolio.candidates]


@pytest.mark.parametrize(
    "search", [{}, {"deep": True}, {"allowed": ["Naive", "tcn"]}, {"blocked": ["ETS", "lightgbm"]}]
)
def test_every_learner_is_tried_or_has_its_reason(search):
    portfolio = _chosen(small_panel(), **search)
    assert set(_names(portfolio)) | set(portfolio.skipped) == set(LEARNERS)
    assert not set(_names(portfolio)) & set(portfolio.skipped)
    assert all(portfolio.skipped.values())


def test_reasons_say_what_it_is():
    plain = small_panel(freq="step", covariates=False)
    skipped = _chosen(plain, season=1, blocked=["KNN"]).skipped
    assert skipped["KNN"] == "blocked by the settings"
    assert "deep=True" in skipped["TCNForecaster"]
    assert "by name" in skipped["PmdArima"]
    assert skipped["Croston"] == "not for these data: 0% of the values are zero, it is tried above 20%"
    assert skipped["MSTL"] == "not for these data: there is no season"
    assert skipped["Arimax"] == "not for these data: there are no known covariates"
    assert skipped["Prophet"] == "not for these data: times are whole numbers, and it needs dates"
    assert _chosen(plain, allowed=["Naive"]).skipped["KNN"] == "not among the learners allowed"


def test_data_decide_only_where_the_user_does_not():
    plain = small_panel(freq="step", covariates=False)
    named = ["Croston", "MSTL", "Arimax", "Prophet", "PmdArima", "TCNForecaster"]
    assert set(_names(_chosen(plain, season=1, allowed=named, trial_limit=1e-6))) == set(named)
    sparse = Panel.from_arrays([np.tile([0.0, 0.0, 3.0], 20)], TimeGrid("D", "2024-01-01"))
    assert {"Croston", "TSB", "IMAPA", "ADIDA", "Prophet"} <= set(_names(_chosen(sparse)))
    assert {"MSTL", "Arimax", "Prophet"} <= set(_names(_chosen(small_panel())))


def test_what_cannot_be_done_in_time_is_left_out_and_what_is_slow_comes_last():
    panel = Panel.from_arrays([np.arange(120.0)] * 2_000, TimeGrid("MS", "2001-01-01"))
    free = _names(_chosen(panel))
    assert {"Prophet", "AutoArima"} <= set(free)
    short = _chosen(panel, trial_limit=15.0)
    assert {"Prophet", "AutoArima"} <= set(short.skipped)
    assert "ExponentialSmoothing" in _names(short)
    needed = expected_seconds("AutoArima", panel, windows=2)
    assert short.skipped["AutoArima"].startswith(f"too slow: about {needed:.0f} s for 2000 series in 2 window(s)")
    longer = _names(_chosen(panel, trial_limit=needed))
    assert longer[-1] == "AutoArima"
    assert free.index("AutoArima") < free.index("KNN") < longer.index("AutoArima")
    assert "AutoArima" in _names(_chosen(panel, trial_limit=15.0, allowed=["AutoArima"]))


def test_expectations_grow_with_series_rows_and_windows_and_threads_help_kernels():
    one = Panel.from_arrays([np.zeros(100)], TimeGrid.steps())
    two = Panel.from_arrays([np.zeros(100)] * 2, TimeGrid.steps())
    long = Panel.from_arrays([np.zeros(200)], TimeGrid.steps())
    for name in PRICES:
        assert expected_seconds(name, two) == pytest.approx(2 * expected_seconds(name, one))
        assert expected_seconds(name, one, windows=3) == pytest.approx(3 * expected_seconds(name, one))
        assert expected_seconds(name, one) < expected_seconds(name, long) < 6 * expected_seconds(name, one)
    assert expected_seconds("Theta", one, threads=2) == pytest.approx(expected_seconds("Theta", one) / 2)
    assert expected_seconds("Prophet", one, threads=2) == expected_seconds("Prophet", one)


def test_the_pace_counts_the_windows_still_to_come():
    for fits, enough in ((1, True), (20, False)):
        pace = Pace("fitting Slow", np.ones(10), Deadline.after(0.4), least=1, fits=fits)
        pace.begin(0)
        pace._start -= 0.02
        pace.done(0, 1)
        if enough:
            pace.check()
        else:
            with pytest.raises(DeadlineExceededError, match="10 series in 20 windows"):
                pace.check()


@pytest.mark.parametrize(
    ("series", "limit", "windows", "rows"),
    [
        (300, None, 2, [30_000, 30_000, 120_000]),
        (300, 60.0, 4, [30_000, 30_000, 60_000]),
        (300, 59.0, 2, [30_000, 30_000]),
        (200, None, 2, [30_000, 30_000]),
        (600, 59.0, 2, [60_000, 60_000]),
        (600, 59.0, 3, [40_000, 40_000]),
        (600, 59.0, 5, [30_000, 30_000]),
    ],
)
def test_quantile_trees_see_more_rows_where_there_are_more_and_most_at_last_where_there_is_time(
    series, limit, windows, rows
):
    below_zero_too = np.arange(120.0) - 60
    panel = Panel.from_arrays([below_zero_too] * series, TimeGrid("MS", "2001-01-01"))
    chosen = _chosen(panel, trial_limit=limit, windows=windows).candidates
    assert [c.values()["max_rows"] for c in chosen if c.learner == "QuantileLightGBM"] == rows


@pytest.mark.parametrize("logs", [True, False])
def test_quantile_trees_are_tried_without_logarithms_where_they_are_taken(logs):
    rng = np.random.default_rng(0)
    level = np.linspace(10, 1_000, 120)
    y = [level + rng.normal(0, level / 10 if logs else 5.0, 120) for _ in range(3)]
    y = [np.maximum(v, 0.1) for v in y] if logs else [v - v.mean() for v in y]
    chosen = _chosen(Panel.from_arrays(y, TimeGrid("MS", "2001-01-01"))).candidates
    found = [c.values().get("transform") for c in chosen if c.learner == "QuantileLightGBM"]
    assert found == (["auto", "auto", "none"] if logs else ["auto", "auto"])


def test_prophet_is_searched_only_where_it_is_quick():
    def space(n):
        panel = Panel.from_arrays([np.arange(120.0)] * n, TimeGrid("MS", "2001-01-01"))
        return next(c.space for c in _chosen(panel).candidates if c.learner == "Prophet")

    assert dict(space(3)) == SPACES["Prophet"]
    assert space(1_000) == ()


def test_the_network_starts_from_twelve_configurations_and_is_then_searched():
    portfolio = _chosen(small_panel(), deep=True)
    nets = [c for c in portfolio.candidates if c.learner == "TCNForecaster"]
    assert len({c.params for c in nets}) == len(nets) == len(TCN_FIRST) == 12
    assert [bool(c.space) for c in nets] == [True, *[False] * 11]
    for params in TCN_FIRST:
        LEARNERS.load("TCNForecaster")(**params)
        assert params.keys() <= SPACES["TCNForecaster"].keys()
    assert {"channels", "blocks", "cells", "dropout", "learning_rate"} <= SPACES["TCNForecaster"].keys()


def test_the_leaderboard_of_a_run_lists_everyone(tmp_path):
    model = Forecaster(6, settings=quick(2, allowed=None, blocked=["KNN"])).fit(monthly(), path=tmp_path / "run")
    board = model.leaderboard()
    assert set(board["learner"]) >= set(LEARNERS)
    rows = board.set_index("model")
    assert rows.loc["KNN", "reason"] == "blocked by the settings"
    assert rows.loc["ElasticNet", "reason"] == "max_trials was reached before its turn"
    assert rows.loc["ElasticNet", "status"] == "skipped"
    assert pd.isna(rows.loc["ElasticNet", "score"])
    assert Forecaster.load(tmp_path / "run").leaderboard().equals(board)
    more = Forecaster.resume(tmp_path / "run", more_trials=4).leaderboard()
    assert more.loc[more["learner"] == "ElasticNet", "status"].tolist() == ["completed"]


def test_a_trial_tells_each_fit_how_many_windows_are_still_to_come(monkeypatch, tmp_path):
    told = []
    plain = Naive.fit
    monkeypatch.setattr(
        Naive, "fit", lambda self, panel, context: told.append(context.fits) or plain(self, panel, context)
    )
    plan = plan_task(small_panel(), 6, quick(n_windows=3), 0)
    trial = Trial(
        number=0, candidate=Candidate.of("Naive"), params={}, seed=0, threads=1, deadline=Deadline(),
        directory=tmp_path, thresholds={},
    )  # fmt: skip
    plan.task.evaluate(trial)
    assert told == [3, 2, 1]


def test_blocking_all_that_is_allowed_is_an_error_before_any_data_is_read():
    with pytest.raises(ConfigError, match=r"allowed=\['ETS'\] without blocked=\['exponentialsmoothing'\] leaves no"):
        Forecaster(3, settings=quick(allowed=["ETS"], blocked=["exponentialsmoothing"]))
