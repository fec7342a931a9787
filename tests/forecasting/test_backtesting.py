"""The backtest report: files, names and scores; two modes that never read a row after a cut."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, DataError, RunError
from automl.runs import Run
from forecasting.config import Columns
from forecasting.forecaster import Forecaster
from forecasting.metrics import METRICS
from forecasting.panel import Panel
from forecasting.task import ForecastTask
from tests.forecasting.frames import monthly, quick

HORIZON, STEP = 4, 3
FRAME = monthly(2, rows=48, extra=True)
SETTINGS = quick(2, allowed=["SeasonalNaive", "ElasticNet"], n_windows=2, vote=False, workers=1)


def fit(frame=FRAME, **more):
    return Forecaster(HORIZON, known=["price"], settings=SETTINGS, seed=1, **more).fit(frame)


@pytest.fixture(scope="module")
def fitted():
    return fit()


@pytest.fixture(scope="module")
def written(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backtest")
    return fitted.backtest_report(windows=3, step=STEP, path=folder), folder


@pytest.fixture(scope="module")
def searched(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    return fitted.backtest_report(windows=2, step=STEP, mode="automl", path=folder), folder


def test_forecasts_name_their_iteration_by_the_last_training_date(written):
    report, folder = written
    forecast = pd.read_csv(folder / "forecast.csv", parse_dates=["ds", "cutoff"])
    assert list(forecast.columns) == [
        "backtest_iteration", "unique_id", "ds", "cutoff", "actual_level", "predicted_level",
        "yhat-q-0.1", "yhat-q-0.5", "yhat-q-0.9",
    ]  # fmt: skip
    assert len(forecast) == 3 * 2 * HORIZON == len(report.forecast)
    cuts = [pd.Timestamp("2021-12-01") - pd.DateOffset(months=HORIZON + k * STEP) for k in range(3)]
    assert list(dict.fromkeys(forecast["backtest_iteration"])) == [f"iteration_{c.date()}" for c in cuts]
    assert ("iteration_" + forecast["cutoff"].astype(str) == forecast["backtest_iteration"]).all()
    truth = FRAME.set_index(["unique_id", "ds"])["y"]
    np.testing.assert_allclose(
        forecast["actual_level"], truth.loc[list(zip(forecast["unique_id"], forecast["ds"], strict=True))]
    )
    assert (forecast["yhat-q-0.1"] <= forecast["yhat-q-0.9"]).all()


def test_the_model_mode_is_the_chosen_model_fitted_anew(fitted, written):
    report, _ = written
    plain = fitted.backtest(windows=3, step=STEP, quantiles=[0.1, 0.5, 0.9])
    np.testing.assert_array_equal(report.forecast["predicted_level"], plain["yhat"])
    np.testing.assert_array_equal(report.forecast["yhat-q-0.9"], plain["yhat-q-0.9"])
    assert report.models["model"].unique().tolist() == [fitted.best()]
    naive = fitted.backtest_report(windows=1, model="SeasonalNaive").forecast
    year = FRAME.set_index(["unique_id", "ds"])["y"]
    before = [(i, t - pd.DateOffset(years=1)) for i, t in zip(naive["unique_id"], naive["ds"], strict=True)]
    np.testing.assert_allclose(naive["predicted_level"], year.loc[before])


def test_scores_by_set_equal_scores_by_hand(written):
    report, folder = written
    scores = pd.read_csv(folder / "scores.csv")
    assert list(scores.columns) == ["metric_name", "metric", "time_series_id"]
    names = list(dict.fromkeys(report.forecast["backtest_iteration"]))
    sets = {"all_sets", *names, "s0", "s1", *(f"{i}|{n}" for i in ("s0", "s1") for n in names)}
    assert set(scores["time_series_id"]) == sets
    assert set(METRICS) <= set(scores["metric_name"])
    assert not scores.duplicated(["metric_name", "time_series_id"]).any()
    value = scores.set_index(["metric_name", "time_series_id"])["metric"]
    f = report.forecast
    error = (f["actual_level"] - f["predicted_level"]).abs()
    assert value["mean_absolute_error", "all_sets"] == pytest.approx(error.mean())
    assert value["mean_absolute_error", names[1]] == pytest.approx(error[f["backtest_iteration"] == names[1]].mean())
    assert value["mean_absolute_error", "s1"] == pytest.approx(error[f["unique_id"] == "s1"].mean())
    one = (f["unique_id"] == "s1") & (f["backtest_iteration"] == names[2])
    assert value["mean_absolute_error", f"s1|{names[2]}"] == pytest.approx(error[one].mean())
    train = FRAME[(FRAME["unique_id"] == "s1") & (FRAME["ds"] <= f.loc[one, "cutoff"].iloc[0])]["y"]
    assert value["mase", f"s1|{names[2]}"] == pytest.approx(error[one].mean() / train.diff(12).abs().mean())
    by_row = [value["mase", f"{i}|{n}"] for i in ("s0", "s1") for n in names]
    assert value["mase", "all_sets"] == pytest.approx(np.mean(by_row))


def test_the_pdf_has_a_page_a_series_and_iteration(written):
    content = (written[1] / "plots_fcst_vs_actual.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page ") == 2 * 3


def test_each_cut_has_a_run_and_a_winner_of_its_own(searched):
    report, folder = searched
    models = pd.read_csv(folder / "models.csv")
    assert len(models) == 2
    for row in models.itertuples():
        run = folder / "runs" / row.backtest_iteration
        assert (row.run, Run.open(run).state) == (str(run), "completed")
        own = Forecaster.load(run)
        assert (row.model, row.metric) == (own.best(), "mase")
        assert row.score == pytest.approx(own.leaderboard()["score"].iloc[0])
        cut = report.forecast.loc[report.forecast["backtest_iteration"] == row.backtest_iteration, "cutoff"].max()
        assert own.history()["ds"].max() == cut, "the run knows no later row"


def test_a_search_at_a_cut_is_the_search_of_the_rows_up_to_it(searched):
    report, _ = searched
    cut = report.forecast["cutoff"].min()
    alone = fit(FRAME[FRAME["ds"] <= cut])
    future = FRAME[FRAME["ds"] > cut].groupby("unique_id").head(HORIZON)
    part = report.forecast[report.forecast["cutoff"] == cut]
    want = alone.predict(future.drop(columns="y"), quantiles=[0.1, 0.9])
    np.testing.assert_array_equal(part["predicted_level"], want["yhat"])
    np.testing.assert_array_equal(part["yhat-q-0.1"], want["yhat-q-0.1"])


def test_a_stopped_backtest_goes_on_where_it_was(fitted, searched):
    report, folder = searched
    runs = sorted((folder / "runs").iterdir())
    done = [(p, p.stat().st_mtime_ns) for p in runs[1].glob("trials/*/trial.json")]
    run = Run.open(runs[0])
    run.set_state("running")  # as a killed process leaves it
    again = fitted.backtest_report(windows=2, step=STEP, mode="automl", path=folder)
    pd.testing.assert_frame_equal(again.forecast, report.forecast, check_exact=True)
    assert [(p, p.stat().st_mtime_ns) for p, _ in done] == done, "finished cuts are not searched again"
    assert Run.open(runs[0]).state == "completed"
    other = fit(FRAME.assign(y=FRAME["y"] + 1))
    with pytest.raises(RunError, match=r"other data or settings.*another folder"):
        other.backtest_report(windows=2, step=STEP, mode="automl", path=folder)


def _shocked(frame, cut):
    """Targets after a date turned into something else altogether; the known price stays."""
    late = frame["ds"] > cut
    return frame.assign(y=np.where(late, 1e4 - 3 * frame["y"], frame["y"]))


def test_a_search_at_a_cut_never_reads_what_comes_after(searched):
    report, _ = searched
    cut = report.forecast["cutoff"].min()
    wild = fit(_shocked(FRAME, cut)).backtest_report(windows=2, step=STEP, mode="automl")
    columns = ["predicted_level", "yhat-q-0.1", "yhat-q-0.5", "yhat-q-0.9"]
    before, after = (r.forecast.loc[r.forecast["cutoff"] == cut, columns] for r in (report, wild))
    assert before.to_numpy().tobytes() == after.to_numpy().tobytes()
    new = [r.forecast.loc[r.forecast["cutoff"] > cut, columns].to_numpy() for r in (report, wild)]
    assert not np.allclose(*new), "the newer cut does see the change"


def test_a_refit_at_a_cut_never_reads_what_comes_after(fitted, written):
    report, _ = written
    model = fitted._model
    panel, settings = model.task.panel, model.task.settings
    cut = report.forecast["cutoff"].min()
    late = (fitted.history()["ds"] > cut).to_numpy()
    wild = Forecaster.load(fitted.run.path)
    shocked: Panel = replace(panel, y=np.where(late, 1e4 - 3 * panel.y, panel.y))
    wild._model.task = ForecastTask(shocked, model.task.cuts, settings)
    other = wild.backtest_report(windows=3, step=STEP)
    columns = ["predicted_level", "yhat-q-0.1", "yhat-q-0.9"]
    before, after = (r.forecast.loc[r.forecast["cutoff"] == cut, columns] for r in (report, other))
    assert before.to_numpy().tobytes() == after.to_numpy().tobytes()
    assert not np.allclose(report.forecast["predicted_level"], other.forecast["predicted_level"])


def test_many_series_are_capped_with_a_note(tmp_path):
    from forecasting.charts.gallery import write_pages

    frame = monthly(4, rows=30)
    frame = frame.drop(index=frame.index[frame["unique_id"] == "s1"][-1])  # cut at other dates than the others
    model = Forecaster(2, settings=quick(1, allowed=["Naive"])).fit(frame)
    part = model.backtest(windows=2, step=2, quantiles=[0.1, 0.9])
    kw = {"ids": ("unique_id",), "time": "ds", "target": "y"}
    path = write_pages(part, frame, tmp_path / "p.pdf", max_pages=4, **kw)
    assert path.read_bytes().count(b"/Type /Page ") == 1 + 2 * 2, "a cover, and two series at two origins"
    again = write_pages(part, frame, tmp_path / "q.pdf", max_pages=4, **kw)
    assert again.read_bytes() == path.read_bytes()


def test_integer_time_one_series_without_ids_and_hours():
    frame = pd.DataFrame({"step": np.arange(40), "sold": np.arange(40.0) % 4})
    columns = Columns(id=(), time="step", target="sold")
    quickest = quick(1, allowed=["SeasonalNaive"])
    report = Forecaster(3, columns=columns, settings=quickest).fit(frame).backtest_report(windows=2, step=3)
    assert report.forecast["backtest_iteration"].unique().tolist() == ["iteration_36", "iteration_33"]
    assert {"all_sets", "sold", "sold|iteration_36"} <= set(report.scores["time_series_id"])
    hours = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=40, freq="h"), "y": np.arange(40.0)})
    report = Forecaster(3, settings=quickest).fit(hours).backtest_report(windows=1)
    assert report.forecast["backtest_iteration"].iloc[0] == "iteration_2024-01-02T12:00:00"


def test_bad_settings_are_named(fitted, tmp_path):
    with pytest.raises(ConfigError, match="'model' or 'automl', got 'both'"):
        fitted.backtest_report(mode="both")
    with pytest.raises(ConfigError, match="leave out model='SeasonalNaive'"):
        fitted.backtest_report(mode="automl", model="SeasonalNaive")
    for name in ("windows", "step"):
        with pytest.raises(ConfigError, match=f"{name} must be at least 1, got 0"):
            fitted.backtest_report(**{name: 0})
    with pytest.raises(DataError, match="longest has 48 rows"):
        fitted.backtest_report(windows=20, step=5)
    model = Forecaster(
        2, columns=Columns(id="unique_id", time="actual_level", target="y"), settings=quick(1, allowed=["Naive"])
    )
    with pytest.raises(DataError, match="'actual_level' has a name that a backtest uses"):
        model.fit(FRAME.rename(columns={"ds": "actual_level"})).backtest_report(windows=1)


def test_a_cut_too_early_to_search_says_which():
    short = monthly(1, rows=16)
    model = Forecaster(HORIZON, settings=quick(1, allowed=["Naive"], n_windows="auto")).fit(short)
    with pytest.raises(RunError, match=r"iteration_2018-03-01: .*more history"):
        model.backtest_report(windows=4, step=3, mode="automl")
