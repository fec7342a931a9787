"""Runs that are stopped, cut short or taken up again, and requests in unusual types."""

import math
import os
import signal

import numpy as np
import pandas as pd
import pytest

from automl.budget import Deadline, ExitCriteria
from automl.runs import Run
from automl.search import SearchOutcome
from forecasting.assemble import Assembly
from forecasting.config import SearchSettings, Settings
from forecasting.fitting import Fitting, refit_deadline
from forecasting.forecaster import Forecaster
from tests.forecasting.frames import monthly, quick

HORIZON = 3


@pytest.fixture(scope="module")
def cheap(tmp_path_factory):
    """A fitted forecaster and its run directory."""
    path = tmp_path_factory.mktemp("runs") / "run"
    settings = quick(2, allowed=["SeasonalNaive", "Average"], workers=0)
    return Forecaster(HORIZON, settings=settings).fit(monthly(2, 48), path=path), path


def test_levels_may_be_arrays(cheap):
    model, _ = cheap
    want = model.predict(quantiles=[0.1, 0.3], level=[80])
    for kind in (np.array, pd.Series):
        pd.testing.assert_frame_equal(model.predict(quantiles=kind([0.1, 0.3]), level=kind([80])), want)
    names = model.predict(quantiles=np.arange(0.1, 1, 0.1)).columns
    assert names.tolist()[3:] == [f"yhat-q-0.{k}" for k in range(1, 10)]


@pytest.mark.parametrize("why", ["time", "max_trials", "cancelled", "interrupted"])
def test_a_refit_that_comes_late_has_a_limit_unless_somebody_stopped_the_search(why):
    grace = 1.0 + 0.05 * 100
    late = refit_deadline(SearchOutcome([], why, Deadline.after(-2)), 100)
    if why in {"cancelled", "interrupted"}:
        assert late == Deadline()
    else:
        assert late.left() == pytest.approx(3.0 + grace, abs=0.5)
    early = refit_deadline(SearchOutcome([], why, Deadline.after(50)), 100)
    assert early.left() == pytest.approx(50 + grace, abs=0.5)
    assert refit_deadline(SearchOutcome([], why, Deadline()), None) == Deadline()


def test_limits_of_a_session_are_in_force_and_stored_while_it_runs(cheap, monkeypatch):
    _, path = cheap
    seen = {}

    def stop(_self, deadline, *, limits, replay):
        seen.update(limits=limits, left=deadline.left(), replay=replay)
        raise KeyboardInterrupt

    monkeypatch.setattr(Fitting, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        Forecaster.resume(path, more_trials=3, more_time=70)
    assert (seen["limits"].max_trials, seen["limits"].time_limit, seen["replay"]) == (5, 70, None)
    assert seen["left"] == pytest.approx(70, abs=5)
    run = Run.open(path)
    assert run.state == "cancelled"
    # taken up without a word of limits: those of the session that was stopped
    with pytest.raises(KeyboardInterrupt):
        Forecaster.resume(path)
    assert (seen["limits"].max_trials, seen["limits"].time_limit) == (5, 70)


def test_ctrl_c_in_the_refit_gives_a_model_of_what_is_fitted(tmp_path, monkeypatch):
    search = SearchSettings(
        allowed=["SeasonalNaive", "Average", "Naive"], n_windows=2, workers=0, limits=ExitCriteria(max_trials=3)
    )
    listen = Fitting._search

    def interrupting(self, *args):
        def on_event(event):
            if event.kind == "refitted":
                os.kill(os.getpid(), signal.SIGINT)

        self.on_event = on_event
        return listen(self, *args)

    monkeypatch.setattr(Fitting, "_search", interrupting)
    monkeypatch.setattr(Assembly, "vote", lambda self, _rounds: {r.number: 1 / 3 for r in self.records})
    model = Forecaster(HORIZON, settings=Settings(search=search)).fit(monthly(3, 48), path=tmp_path / "run")
    alerts = model.guardrails().set_index("name")["message"]
    assert alerts["Refit"].count("(interrupted)") == 2
    assert model.stopped_because == "interrupted"
    assert Run.open(tmp_path / "run").state == "cancelled"
    assert not model.predict()["yhat"].map(math.isnan).any()
