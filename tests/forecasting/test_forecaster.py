"""The whole way: fit, predict, evaluate, save, load, resume; determinism and real faults."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automl.errors import AutoMLError, ConfigError, DataError, ModelFileError, RunError, UnknownNameError
from automl.runs import Run, model_names
from forecasting.config import Columns, DataSettings, FeatureSettings, Settings
from forecasting.forecaster import Forecaster
from tests.forecasting.frames import monthly, quick

ROOT = Path(__file__).resolve().parents[2]
HORIZON = 6


def asked(test):
    """Rows of a test as a request: without what came."""
    return test.drop(columns="y")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A forecaster with a known covariate, fitted once."""
    frame = monthly(extra=True)
    path = tmp_path_factory.mktemp("runs") / "run"
    train = frame.groupby("unique_id").head(54)
    model = Forecaster(HORIZON, known=["price"], settings=quick(5)).fit(train, path=path)
    test = frame.groupby("unique_id").tail(HORIZON)
    return model, train, test, path


def test_predict_has_the_users_columns_and_order(fitted):
    model, train, test, _ = fitted
    out = model.predict(asked(test), level=[80], quantiles=[0.5])
    assert out.columns.tolist() == ["unique_id", "ds", "yhat", "yhat-q-0.5", "yhat-lo-80", "yhat-hi-80"]
    assert out["unique_id"].tolist() == test.sort_values(["unique_id", "ds"])["unique_id"].tolist()
    assert out["ds"].dtype == train["ds"].dtype
    assert (out["yhat-lo-80"] <= out["yhat-q-0.5"]).all()
    assert (out["yhat-q-0.5"] <= out["yhat-hi-80"]).all()


def test_a_covariate_that_matters_is_used(fitted):
    model, _, test, _ = fitted
    cheap = model.predict(asked(test).assign(price=1.0), model="ElasticNet")
    dear = model.predict(asked(test).assign(price=2.0), model="ElasticNet")
    assert (cheap["yhat"] - dear["yhat"]).mean() == pytest.approx(1.0, abs=0.25)


def test_evaluate_equals_a_prediction_scored_by_hand(fitted):
    model, train, test, _ = fitted
    result = model.evaluate(test)
    forecast = model.predict(asked(test))
    joined = test.merge(forecast, on=["unique_id", "ds"])
    wape = np.abs(joined["y"] - joined["yhat"]).sum() / joined["y"].abs().sum()
    assert result.metrics["wape"] == pytest.approx(wape)
    scale = train.groupby("unique_id")["y"].apply(lambda s: s.diff(12).abs().mean())
    error = np.abs(joined["y"] - joined["yhat"]).groupby(joined["unique_id"]).mean()
    assert result.metrics["mase"] == pytest.approx((error / scale).mean())
    assert result.predictions.columns[:5].tolist() == ["unique_id", "ds", "cutoff", "y", "yhat"]
    assert len(result.by_series) == 3


def test_every_leaderboard_entry_can_forecast(fitted):
    model, _, test, _ = fitted
    board = model.leaderboard()
    usable = board[board["status"] == "completed"]["model"]
    assert len(usable) >= 4
    for name in usable:
        assert model.predict(asked(test), model=name)["yhat"].notna().all()
    with pytest.raises(UnknownNameError, match="did you mean 'ElasticNet'"):
        model.predict(asked(test), model="ElasticNett")


def test_leaderboard_is_best_first_in_natural_sign(fitted):
    model, *_ = fitted
    for metric, ascending in (("wape", True), ("r2", False)):
        scores = model.leaderboard(metric)["score"].dropna()
        assert scores.is_monotonic_increasing if ascending else scores.is_monotonic_decreasing
    assert model.best("wape") == model.leaderboard("wape")["model"].iloc[0]
    assert {"windows", "fit_s", "predict_s", "peak_mb", "fallbacks", "status", "reason"} <= set(model.leaderboard())


def test_ensemble_is_no_worse_than_the_best_single_model(fitted):
    model, *_ = fitted
    board = model.leaderboard().set_index("model")["score"]
    assert board["VotingEnsemble"] <= board.drop("VotingEnsemble").min() + 1e-12


def test_save_and_load_give_the_same_bytes(fitted, tmp_path):
    model, _, test, path = fitted
    want = model.predict(asked(test), level=[50, 90])
    model.save(tmp_path / "saved")
    for place in (tmp_path / "saved", path):
        pd.testing.assert_frame_equal(
            Forecaster.load(place).predict(asked(test), level=[50, 90]), want, check_exact=True
        )
    loaded = Forecaster.load(path)
    assert loaded.leaderboard()["model"].tolist() == model.leaderboard()["model"].tolist()
    assert loaded.guardrails().equals(model.guardrails())
    # in the same order too: sums of three and more members depend on it
    assert [e.weights for e in loaded._model.entries.values()] == [e.weights for e in model._model.entries.values()]


def test_a_saved_model_opens_in_a_clean_process(fitted, tmp_path):
    model, _, test, path = fitted
    asked(test).to_parquet(tmp_path / "test.parquet")
    code = f"""
        import pandas as pd
        from forecasting import Forecaster
        out = Forecaster.load({str(path)!r}).predict(pd.read_parquet({str(tmp_path / "test.parquet")!r}))
        out.to_parquet({str(tmp_path / "out.parquet")!r})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=True)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out.parquet"), model.predict(asked(test)), check_exact=True
    )


@pytest.mark.parametrize("fault", ["truncated", "flipped", "missing", "garbage"])
def test_a_damaged_model_is_refused(fitted, tmp_path, fault):
    model, *_ = fitted
    path = tmp_path / "saved"
    model.save(path)
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "manifest.json")
    victim = files[len(files) // 2]
    content = victim.read_bytes()
    if fault == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    elif fault == "flipped":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif fault == "missing":
        victim.unlink()
    else:
        (path / "manifest.json").write_text("{")
    with pytest.raises(ModelFileError):
        Forecaster.load(path).predict(None)


def test_newer_history_moves_the_origin(fitted):
    model, _, test, _ = fitted
    first = test.groupby("unique_id").head(2)
    rest = asked(test).groupby("unique_id").tail(HORIZON - 2)
    future = pd.concat([rest, rest.assign(ds=rest["ds"] + pd.DateOffset(months=4))])
    out = model.predict(future, history=first, horizon=4)
    assert out["ds"].min() == rest["ds"].min()
    assert out["yhat"].notna().all()


def test_longer_requests_feed_on_forecasts(fitted):
    model, _, test, _ = fitted
    later = [asked(test).assign(ds=test["ds"] + pd.DateOffset(months=HORIZON * k)) for k in range(2)]
    long = model.predict(pd.concat(later), horizon=2 * HORIZON)
    short = model.predict(asked(test))
    head = long.groupby("unique_id").head(HORIZON).reset_index(drop=True)
    np.testing.assert_allclose(head["yhat"], short["yhat"])
    assert long["yhat"].notna().all()


def test_rolling_forecast_counts_its_windows(fitted):
    model, train, test, _ = fitted
    out = model.rolling_forecast(test, step=1)
    assert out.groupby("unique_id")["cutoff"].nunique().tolist() == [1, 1, 1]
    shorter = Forecaster(3, known=["price"], settings=quick(2)).fit(train)
    out = shorter.rolling_forecast(test, step=1)
    assert out.groupby("unique_id")["cutoff"].nunique().tolist() == [HORIZON - 3 + 1] * 3
    assert (out["ds"] > out["cutoff"]).all()
    assert (out.groupby(["unique_id", "cutoff"]).size() == 3).all()


def test_backtest_refits_at_earlier_origins(fitted):
    model, train, _, _ = fitted
    out = model.backtest(windows=2, step=3, quantiles=[0.1])
    assert out.columns.tolist() == ["unique_id", "ds", "cutoff", "y", "yhat", "yhat-q-0.1"]
    assert out.groupby("unique_id")["cutoff"].nunique().tolist() == [2, 2, 2]
    truth = out.merge(train, on=["unique_id", "ds"], suffixes=("", "_given"))
    np.testing.assert_array_equal(truth["y"], truth["y_given"])


def test_explain_finds_the_price(fitted):
    model, *_ = fitted
    table = model.explain("ElasticNet").set_index("feature")["importance"]
    assert table["price"] > 0
    assert {"price", "target", "time"} <= set(table.index)
    assert len(model.explain("ElasticNet", raw=False)) > len(table)
    naive = model.explain("SeasonalNaive").set_index("feature")["importance"]
    assert naive["target"] > 0
    assert naive["price"] == 0


def test_explanations_by_step_and_by_row(fitted):
    model, _, test, _ = fitted
    test = test.drop(columns="y")
    steps = model.explain("ElasticNet", by_horizon=True)
    assert steps.columns.tolist() == ["feature", "importance", "std", "method", "horizon"]
    assert steps["horizon"].nunique() == HORIZON
    rows = model.explain("ElasticNet", local=True, future=test)
    assert rows.columns.tolist() == ["unique_id", "ds", "feature", "contribution"]
    total = rows.groupby(["unique_id", "ds"])["contribution"].sum().to_numpy()
    np.testing.assert_allclose(total, model.predict(test, model="ElasticNet")["yhat"], rtol=1e-6)
    newest = model.explain("ElasticNet", local=True)["ds"]
    assert newest.max() < test["ds"].min()
    assert newest.nunique() == HORIZON
    with pytest.raises(ConfigError, match="only with local=True"):
        model.explain(future=test)
    with pytest.raises(ConfigError, match="leave method and by_horizon"):
        model.explain(local=True, by_horizon=True)


def test_the_summary_names_every_column_and_comes_back_from_disk(tmp_path):
    frame = monthly(extra=True).assign(note="x", when=pd.Timestamp("2020-01-01"), extra=1.5)
    model = Forecaster(HORIZON, known=["price"], settings=quick(3)).fit(frame, path=tmp_path / "run")
    table = model.featurization_summary("ElasticNet").set_index("RawFeatureName")
    assert set(table.index) == set(frame.columns)
    assert table["Dropped"].to_dict() == {
        "unique_id": "No", "ds": "No", "y": "No", "price": "No", "note": "Yes", "when": "Yes", "extra": "Yes",
    }  # fmt: skip
    assert table.loc[["price", "note", "when", "extra"], "TypeDetected"].tolist() == [
        "Numeric", "Categorical", "DateTime", "Numeric",
    ]  # fmt: skip
    assert table.loc["price", "EngineeredFeatureCount"] == 4
    assert table.loc["price", "Transformations"] == ["AsItIs", "RelativeToSeries", "RelativeToOtherSeries", "Change"]
    assert {"Lag", "RollingWindow", "SeasonalLag"} <= set(table.loc["y", "Transformations"])
    assert table["EngineeredFeatureCount"].sum() == len(model.feature_names("ElasticNet"))
    assert model.featurization_summary("Average").set_index("RawFeatureName")["Dropped"]["price"] == "Yes"
    summary = json.loads((tmp_path / "run" / "featurization_summary.json").read_text())
    assert summary == model.featurization_summary().to_dict("records")
    names = json.loads((tmp_path / "run" / "engineered_feature_names.json").read_text())
    assert names == model.feature_names()
    model.save(tmp_path / "saved")
    back = Forecaster.load(tmp_path / "saved")
    assert back.featurization_summary().to_dict("records") == summary
    assert back.feature_names() == names
    pd.testing.assert_frame_equal(back.explain("ElasticNet"), model.explain("ElasticNet"))


def test_future_frame_and_features(fitted):
    model, train, *_ = fitted
    frame = model.make_future_frame()
    assert frame.columns.tolist() == ["unique_id", "ds", "price"]
    assert (frame.groupby("unique_id").size() == HORIZON).all()
    assert frame["ds"].min() > train["ds"].max()
    assert "price" in model.feature_names("ElasticNet")
    assert model.feature_names("Average") == ["target"]


def _bytes(frame):
    return frame["yhat"].to_numpy().tobytes() + frame.filter(like="yhat-").to_numpy().tobytes()


def test_same_bytes_with_one_and_two_workers_and_any_row_order(tmp_path):
    frame = monthly()
    outs, lists = [], []
    for workers, order in ((1, frame), (2, frame.sample(frac=1, random_state=1))):
        path = tmp_path / f"w{workers}"
        chosen = quick(9, workers=workers, allowed=["SeasonalNaive", "ElasticNet", "LightGBM"])
        model = Forecaster(HORIZON, settings=chosen, seed=3).fit(order, path=path)
        outs.append(_bytes(model.predict(level=[80])))
        lists.append([(c.to_json(), p) for c, p in Run.open(path).trial_list()])
    assert lists[0] == lists[1]
    assert outs[0] == outs[1]


def test_replaying_a_time_limited_run_gives_the_same_bytes(tmp_path):
    frame = monthly()
    chosen = quick(allowed=["SeasonalNaive", "ElasticNet", "LightGBM"])
    from dataclasses import replace

    from automl.budget import ExitCriteria

    limited = replace(chosen, search=replace(chosen.search, limits=ExitCriteria(time_limit=12)))
    first = Forecaster(HORIZON, settings=limited).fit(frame, path=tmp_path / "first")
    hurried = replace(limited, search=replace(limited.search, limits=ExitCriteria(time_limit=0.5)))
    again = Forecaster(HORIZON, settings=hurried).fit(frame, path=tmp_path / "again", replay=tmp_path / "first")
    assert again.stopped_because == "replayed", "a machine too slow for the limit would lose trials"
    assert _bytes(first.predict(level=[80])) == _bytes(again.predict(level=[80]))


def test_members_lost_to_the_clock_are_lost_again_in_a_replay(tmp_path):
    frame = monthly(noise=2.0)
    chosen = quick(6, allowed=["SeasonalNaive", "Average", "ElasticNet", "LightGBM"])
    first = Forecaster(HORIZON, settings=chosen).fit(frame, path=tmp_path / "first")
    weights = dict(first._model.entries["VotingEnsemble"].weights)
    assert len(weights) > 1, "the data are made so that several models help"
    gone = max(weights, key=weights.get)
    run = Run.open(tmp_path / "first")
    names = {n: i for i, n in enumerate(model_names(run.trials()).values())}
    run.amend(lost=[names[gone]])
    again = Forecaster(HORIZON, settings=chosen).fit(frame, path=tmp_path / "again", replay=tmp_path / "first")
    kept = dict(again._model.entries["VotingEnsemble"].weights)
    assert set(kept) == set(weights) - {gone}
    assert sum(kept.values()) == pytest.approx(1)
    assert "lost in the replayed run" in again.guardrails().set_index("name")["message"]["Refit"]


SCRIPT = """
import sys, pandas as pd
from tests.forecasting.frames import monthly, quick
from forecasting.forecaster import Forecaster
Forecaster(6, settings=quick(9, allowed=["SeasonalNaive", "ElasticNet", "LightGBM"])).fit(monthly(), path=sys.argv[1])
"""


@pytest.mark.parametrize("finished", [1, 4])
def test_killed_run_is_resumed_without_repeating_a_trial(tmp_path, finished):
    path = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        done = list((path / "trials").glob("[0-9]*/trial.json")) if path.exists() else []
        if len(done) >= finished:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (path / "trials").glob("[0-9]*/trial.json")}
    with pytest.raises(RunError, match="resume"):
        Forecaster.load(path)
    model = Forecaster.resume(path)
    for p, (stamp, content) in before.items():
        if json.loads(content)["status"] == "completed":
            assert p.stat().st_mtime_ns == stamp, f"{p} was run again"
    straight = Forecaster(HORIZON, settings=quick(9, allowed=["SeasonalNaive", "ElasticNet", "LightGBM"])).fit(
        monthly(), path=tmp_path / "straight"
    )
    assert _bytes(model.predict(level=[80])) == _bytes(straight.predict(level=[80]))


def test_continue_keeps_earlier_trials(tmp_path):
    path = tmp_path / "run"
    Forecaster(HORIZON, settings=quick(3)).fit(monthly(), path=path)
    first = [(r.number, r.params) for r in Run.open(path).trials()]
    more = Forecaster.resume(path, more_trials=3)
    trials = [(r.number, r.params) for r in Run.open(path).trials()]
    assert trials[:3] == first
    assert len(trials) == 6
    assert len(more.leaderboard()) >= 6
    assert Run.open(path).state == "completed"


def test_validation_data_is_scored_instead_of_windows():
    frame = monthly()
    train, validation = frame.groupby("unique_id").head(48), frame.groupby("unique_id").tail(12)
    model = Forecaster(HORIZON, settings=quick(3)).fit(train, validation=validation)
    message = model.guardrails().set_index("name")["message"]["Cross validation"]
    assert message.startswith("2 window(s) in the validation data")
    late = validation.groupby("unique_id").tail(8)
    with pytest.raises(DataError, match="directly follow"):
        Forecaster(HORIZON, settings=quick(2)).fit(train, validation=late)


def test_other_column_names_types_and_integer_time():
    frame = monthly().rename(columns={"unique_id": "store", "y": "sales"})
    frame["week"] = np.tile(np.arange(100, 160), 3)
    frame["store"] = frame["store"].str[1:].astype("int32")
    columns = Columns(id="store", time="week", target="sales")
    model = Forecaster(4, columns=columns, settings=quick(2)).fit(frame)
    out = model.predict()
    assert out.columns.tolist() == ["store", "week", "yhat"]
    assert out["store"].dtype == frame["store"].dtype
    assert out["week"].tolist() == [160, 161, 162, 163] * 3


def test_time_zone_comes_back():
    frame = monthly()
    frame["ds"] = frame["ds"].dt.tz_localize("Europe/Berlin")
    out = Forecaster(3, settings=quick(2)).fit(frame).predict()
    assert out["ds"].dtype == frame["ds"].dtype
    assert out["ds"].iloc[0] == pd.Timestamp("2023-01-01", tz="Europe/Berlin")


def test_dropped_series_come_back_with_missing_forecasts():
    frame = pd.concat([monthly(), monthly(1, rows=4).assign(unique_id="new")])
    model = Forecaster(HORIZON, settings=quick(2)).fit(frame)
    out = model.predict()
    assert out.loc[out["unique_id"] == "new", "yhat"].isna().all()
    assert (out["unique_id"] == "new").sum() == HORIZON
    assert "new" in model.guardrails().set_index("name")["message"]["Short series handling"]
    told = model.predict(history=frame[frame["unique_id"] == "new"])
    assert told["unique_id"].value_counts().tolist() == [HORIZON] * frame["unique_id"].nunique()
    assert told["yhat"].notna().all()


def test_quantiles_make_wql_the_metric():
    model = Forecaster(3, quantiles=[0.1, 0.9], settings=quick(2)).fit(monthly())
    assert model.leaderboard()["metric"].iloc[0] == "wql"
    assert model.predict().columns.tolist()[-2:] == ["yhat-q-0.1", "yhat-q-0.9"]


BAD = {
    "missing time column": (lambda f: f.drop(columns="ds"), DataError, "time"),
    "unparsable dates": (
        lambda f: f.assign(ds=["not a date", *f["ds"].astype(str)[1:]]),
        DataError,
        r"'not a date' \(row 0\)",
    ),
    "duplicate timestamps": (lambda f: pd.concat([f, f.iloc[[5]]]), DataError, "repeat a timestamp.*s0"),
    "text target": (lambda f: f.assign(y=["many", *f["y"].astype(str)[1:]]), DataError, "'many'"),
    "all-missing target": (lambda f: f.assign(y=np.nan), DataError, "missing in every row"),
    "infinite target": (lambda f: f.assign(y=np.inf), DataError, "infinite"),
    "one-row series": (lambda f: f.groupby("unique_id").head(1), DataError, "single row"),
    "no rows": (lambda f: f.head(0), DataError, "no rows"),
    "no frame": (lambda f: f["y"].to_numpy(), DataError, "ndarray"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_named(case):
    spoil, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        Forecaster(HORIZON, settings=quick(2)).fit(spoil(monthly()))


def test_mixed_frequencies_are_named():
    frame = monthly(2)
    odd = monthly(1, rows=60).assign(unique_id="odd")
    odd["ds"] = pd.date_range("2018-01-01", periods=60, freq="11D")
    odd2 = odd.assign(unique_id="odd2", ds=pd.date_range("2018-01-02", periods=60, freq="17h"))
    with pytest.raises(DataError, match=r"no common frequency.*aggregate"):
        Forecaster(HORIZON, settings=quick(2)).fit(pd.concat([frame, odd, odd2]))


@pytest.mark.parametrize("horizon", [0, -1, 2.5, "6", True])
def test_bad_horizon_is_named(horizon):
    with pytest.raises(ConfigError, match="horizon must be a whole number"):
        Forecaster(horizon)


def test_unknown_names_are_helped():
    with pytest.raises(UnknownNameError, match="did you mean 'LightGBM'"):
        Forecaster(3, settings=quick(2, allowed=["LightGMB"]))
    with pytest.raises(UnknownNameError, match="did you mean 'mase'"):
        Forecaster(3, settings=quick(2, metric="maze"))
    with pytest.raises(UnknownNameError, match="country"):
        Forecaster(3, settings=Settings(features=FeatureSettings(holidays="XX")))
    with pytest.raises(ConfigError, match="leaves no learner"):
        Forecaster(3, settings=quick(2, allowed=["Naive"], blocked=["Naive"])).fit(monthly())
    with pytest.raises(ConfigError, match="aggregate='sum' needs freq"):
        DataSettings(aggregate="sum")
    with pytest.raises(DataError, match="did you mean 'price'"):
        Forecaster(3, known=["prise"], settings=quick(2)).fit(monthly(extra=True))


def test_missing_future_covariates_are_listed(fitted, caplog):
    model, _, test, _ = fitted
    with pytest.raises(DataError, match=r"price.*make_future_frame"):
        model.predict()
    holes = test.drop(index=test.index[[1, 8]])
    out = model.predict(asked(holes))
    assert len(out) == len(holes)
    assert out["yhat"].notna().all()
    assert "2 of 3 series have gaps; s0 lacks 1 of 6 steps, first 2022-08-01" in caplog.text
    assert "filled as gaps in training are" in caplog.text
    with pytest.raises(DataError, match=r"3 of 3 series have gaps; .* Fix: fill all rows of make_future_frame"):
        model.predict(asked(test).assign(price=np.nan))


def test_unwritable_run_folder_is_an_error_before_the_search(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises((AutoMLError, OSError), match="file"):
        Forecaster(3, settings=quick(2)).fit(monthly(), path=blocked / "run")


def test_unfitted_forecaster_says_so():
    with pytest.raises(RunError, match="not fitted yet"):
        Forecaster(3).predict()


def test_stacking_is_off_unless_asked_for(fitted):
    assert "StackEnsemble" not in fitted[0].leaderboard()["model"].tolist()
    model = Forecaster(3, settings=quick(4, stack=True)).fit(monthly())
    board = model.leaderboard().set_index("model")
    assert np.isfinite(board.loc["StackEnsemble", "score"])
    assert model.predict(model="StackEnsemble")["yhat"].notna().all()


def test_a_learner_whose_package_is_missing_is_listed_with_the_fix(monkeypatch):
    from forecasting import portfolio

    monkeypatch.setattr(portfolio.importlib.util, "find_spec", lambda name: None if name == "xgboost" else object())
    allowed = ["SeasonalNaive", "XGBoost"]
    model = Forecaster(6, settings=quick(2, allowed=allowed)).fit(monthly())
    row = model.leaderboard().set_index("model").loc["XGBoost"]
    assert (row["status"], row["reason"]) == ("skipped", "skipped: pip install 'forecastle[boost]'")
    with pytest.raises(ConfigError, match=r"XGBoost is skipped: pip install 'forecastle\[boost\]'"):
        Forecaster(6, settings=quick(2, allowed=["XGBoost"])).fit(monthly())
