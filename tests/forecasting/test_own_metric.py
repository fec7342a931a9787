"""A function of the user's chooses the models: real runs, from a notebook's closure to a job file's text."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError
from automl.metrics import UserMetric
from automl.runs import Run
from forecasting.forecaster import Forecaster
from tests.forecasting.frames import monthly, quick, tried

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = ["Naive", "SeasonalNaive", "Average"]
TRAIN = monthly().groupby("unique_id").head(54)
TEST = monthly().groupby("unique_id").tail(6)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Chosen by a closure that nobody can import: it likes the worst model best."""
    factor = 2.0

    def contrary(y, f):
        return factor * float(np.abs(y - f).mean())

    path = tmp_path_factory.mktemp("own") / "run"
    metric = UserMetric("contrary", contrary, "max")
    return Forecaster(6, settings=quick(3, allowed=ALLOWED, metric=metric)).fit(TRAIN, path=path), path, metric


def test_it_chooses_in_its_own_direction(fitted):
    model, path, _ = fitted
    board = tried(model)
    assert board["metric"].unique().tolist() == ["contrary"]
    assert board["score"].is_monotonic_decreasing
    assert board["score"].to_numpy() == pytest.approx(2 * board["mean_absolute_error"].to_numpy())
    assert model.best() == board["model"].iloc[0]
    assert model.best("mean_absolute_error") != model.best()
    assert tried(model, "wape")["contrary"].notna().all()
    assert model.best("contrary") == board["model"].iloc[0]
    assert Run.open(path).metric() == ("contrary", "max")
    ensemble = board.set_index("model")["score"].get("VotingEnsemble", np.inf)
    assert ensemble >= board["score"].drop(board.index[board["model"] == "VotingEnsemble"]).max() - 1e-9


def test_evaluate_reports_it_overall_and_by_series(fitted):
    model, *_ = fitted
    result = model.evaluate(TEST)
    assert result.metrics["contrary"] == pytest.approx(2 * result.metrics["mean_absolute_error"])
    assert result.by_series["contrary"].to_numpy() == pytest.approx(2 * result.by_series["mean_absolute_error"])


def test_a_saved_model_does_without_it_in_another_process(fitted, tmp_path):
    model, path, metric = fitted
    TEST.to_parquet(tmp_path / "test.parquet")
    code = f"""
        import pandas as pd
        from forecasting import Forecaster
        model = Forecaster.load({str(path)!r})
        model.predict().to_parquet({str(tmp_path / "out.parquet")!r})
        assert model.leaderboard()["metric"].iloc[0] == "contrary"
        assert model.best("contrary") == {model.best()!r}
        assert "contrary" not in model.evaluate(pd.read_parquet({str(tmp_path / "test.parquet")!r})).metrics
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), model.predict(), check_exact=True)
    again = Forecaster.load(path, metric=metric).evaluate(TEST)
    assert again.metrics["contrary"] == model.evaluate(TEST).metrics["contrary"]


def test_a_resumed_run_asks_for_it_again(fitted):
    model, path, metric = fitted
    with pytest.raises(ConfigError, match=r"contrary.*not stored.*give it again"):
        Forecaster.resume(path, more_trials=1)
    with pytest.raises(ConfigError, match="'contrary', given is 'other'"):
        Forecaster.resume(path, metric=UserMetric("other", metric.function, "max"))
    with pytest.raises(ConfigError, match="by its max, given is its min"):
        Forecaster.resume(path, metric=UserMetric("contrary", metric.function))
    taken = Forecaster.resume(path, metric=metric)
    pd.testing.assert_frame_equal(taken.predict(), model.predict(), check_exact=True)


def test_text_is_imported_again_where_it_is_needed(tmp_path):
    text = "tests.forecasting.own_metrics:hits"
    model = Forecaster(6, settings=quick(2, allowed=ALLOWED, metric=text)).fit(TRAIN, path=tmp_path / "run")
    assert model.leaderboard()["metric"].iloc[0] == "hits"
    assert tried(model)["score"].is_monotonic_decreasing
    loaded = Forecaster.load(tmp_path / "run")
    assert loaded.best(text) == model.best()
    assert loaded.evaluate(TEST).metrics["hits"] == model.evaluate(TEST).metrics["hits"]
    more = Forecaster.resume(tmp_path / "run", more_trials=1)
    assert len(Run.open(tmp_path / "run").trials()) == 3
    assert tried(more)["score"].notna().all()


def test_a_plain_function_means_less_is_better():
    from tests.forecasting.own_metrics import too_low

    model = Forecaster(6, settings=quick(3, allowed=ALLOWED, metric=too_low, vote=False)).fit(TRAIN)
    board = tried(model)
    assert (board["metric"].iloc[0], model.best()) == ("too_low", board["model"].iloc[0])
    assert board["score"].is_monotonic_increasing


def test_a_level_of_the_pinball_loss_can_choose():
    model = Forecaster(6, settings=quick(2, allowed=ALLOWED, metric="pinball_0.15")).fit(TRAIN)
    board = tried(model)
    assert board["metric"].iloc[0] == "pinball_0.15"
    assert np.isfinite(board["score"]).all()


def test_a_function_that_fails_is_named_before_the_search(tmp_path):
    def broken(y, f):
        raise KeyError("what")

    with pytest.raises(ConfigError, match=r"'broken' failed on a naive forecast.*KeyError"):
        Forecaster(6, settings=quick(2, metric=broken)).fit(TRAIN, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_trial_on_which_it_fails_has_failed(tmp_path):
    state = {"calls": 0}

    def moody(y, f):
        state["calls"] += 1
        if state["calls"] == 2:  # 1 = the check before the search, 2 = the first trial's first window
            raise ValueError("not today")
        return float(np.abs(y - f).mean())

    model = Forecaster(6, settings=quick(2, allowed=ALLOWED, metric=moody)).fit(TRAIN, path=tmp_path / "run")
    board = tried(model).set_index("model")
    assert board["status"].tolist() == ["completed", "failed"]
    assert "its moody failed: ValueError: not today" in board.loc[board["status"] == "failed", "reason"].iloc[0]


def test_r2_on_constant_rows_is_refused_in_favour_of_nrmse():
    frame = TRAIN.copy()
    late = frame.groupby("unique_id").cumcount() >= 54 - 12
    frame.loc[late, "y"] = 20.0
    model = Forecaster(6, settings=quick(2, allowed=ALLOWED, metric="r2")).fit(frame)
    rail = model.guardrails().set_index("name").loc["Metric"]
    assert rail["status"] == "alerted"
    assert "chosen by normalized_root_mean_squared_error, not r2_score" in rail["message"]
    assert model.leaderboard()["metric"].iloc[0] == "normalized_root_mean_squared_error"
    frame.loc[late, "y"] = frame.loc[late, "unique_id"].str[1:].astype(float)
    model = Forecaster(6, settings=quick(2, allowed=ALLOWED, metric="r2")).fit(frame)
    rail = model.guardrails().set_index("name").loc["Metric"]
    assert (rail["status"], model.leaderboard()["metric"].iloc[0]) == ("alerted", "r2_score")
    assert "metric='normalized_root_mean_squared_error'" in rail["message"]
