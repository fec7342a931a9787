"""The command line through real files: exit codes, messages, and what lies on disk afterwards."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automl.runs import Run
from forecastle.cli import main

ROOT = Path(__file__).parents[2]
START = "import sys; from forecastle.cli import main; sys.exit(main(sys.argv[1:]))"

JOB = """
task: forecasting
data: {target_column_name: sold}
limits: {max_trials: 2, max_concurrent_trials: 1}
forecasting:
  time_column_name: week
  time_series_id_column_names: [shop, item]
  forecast_horizon: 4
  frequency: W-MON
  seasonality: 4
  KNOWN
training: {allowed_training_algorithms: [Naive, SeasonalNaive], enable_vote_ensemble: false}
"""
SLOW = """
limits: {timeout_minutes: 3, max_concurrent_trials: 1, enable_early_termination: false}
forecasting: {time_column_name: week, time_series_id_column_names: [shop, item], forecast_horizon: 4}
data: {target_column_name: sold}
training: {allowed_training_algorithms: [SeasonalNaive, ElasticNet], enable_vote_ensemble: false}
"""


def sales(weeks=40):
    rng = np.random.default_rng(3)
    week = pd.date_range("2022-01-03", periods=weeks, freq="W-MON")
    parts = []
    for shop, item in (("007", "tea"), ("007", "coffee"), ("12", "tea")):
        price = 3 + rng.integers(0, 2, weeks)
        sold = 20 + 5 * (np.arange(weeks) % 4) - 2 * price + rng.integers(0, 3, weeks)
        parts.append(pd.DataFrame({"shop": shop, "item": item, "week": week, "price": price, "sold": sold}))
    return pd.concat(parts, ignore_index=True)


def write_job(folder, text=JOB, known=""):
    path = folder / "job.yml"
    path.write_text(text.replace("KNOWN", known))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with train.csv (36 weeks) and test.csv (4 weeks), and a run fitted by the command."""
    folder = tmp_path_factory.mktemp("cli")
    frame = sales()
    last = frame["week"].drop_duplicates().nlargest(4)
    frame[~frame["week"].isin(last)].to_csv(folder / "train.csv", index=False)
    frame[frame["week"].isin(last)].to_csv(folder / "test.csv", index=False)
    job = write_job(folder)
    assert main(["fit", str(folder / "train.csv"), "--job", str(job), "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture(scope="module")
def priced(place, tmp_path_factory):
    """The same with the price known ahead."""
    folder = tmp_path_factory.mktemp("priced")
    job = write_job(folder, known="known_covariates: [price]")
    assert main(["fit", str(place / "train.csv"), "--job", str(job), "--out", str(folder / "run")]) == 0
    return folder / "run"


def read(path):
    return pd.read_csv(path, dtype={"shop": str})


def refused(capsys, argv, *needles):
    """The command ends with 2, nothing on stdout and one paragraph on stderr that holds every needle."""
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    paragraphs = [line for line in err.splitlines() if line.strip()]
    assert len(paragraphs) == 1, err
    assert paragraphs[0].startswith("forecastle: ")
    assert "Traceback" not in err
    for needle in needles:
        assert re.search(needle, err), err
    return err


# -- fit and what it leaves ------------------------------------------------------------------------------------------


def test_fit_leaves_leaderboard_forecast_picture_and_model(place, tmp_path, capsys):
    out = tmp_path / "new" / "run"
    code = main(["fit", str(place / "train.csv"), "--job", str(place / "job.yml"), "--out", str(out)])
    captured = capsys.readouterr()
    assert code == 0
    assert captured.out == "", "nothing was asked to be printed"
    for name in ("leaderboard.csv", "guardrails.csv", "forecast.csv", "forecast.html", "report.md"):
        assert (out / name).stat().st_size > 0
        assert str(out / name) in captured.err
    assert (out / "job.yml").read_text() == (place / "job.yml").read_text()
    board = pd.read_csv(out / "leaderboard.csv")
    assert set(board.loc[board["status"] != "skipped", "model"]) == {"Naive", "SeasonalNaive"}
    assert board.loc[board["status"] == "skipped", "reason"].notna().all()
    assert "SeasonalNaive" in captured.err
    forecast = read(out / "forecast.csv")
    assert list(forecast.columns) == ["shop", "item", "week", "yhat", "yhat-q-0.1", "yhat-q-0.5", "yhat-q-0.9"]
    assert sorted(set(zip(forecast["shop"], forecast["item"], strict=True))) == [
        ("007", "coffee"), ("007", "tea"), ("12", "tea"),
    ]  # fmt: skip
    test = read(place / "test.csv")
    assert sorted(set(forecast["week"])) == sorted(set(test["week"]))
    assert forecast["yhat"].notna().all()
    assert Run.open(out).state == "completed"


def test_the_same_seed_gives_the_same_file(place, tmp_path):
    assert main(["fit", str(place / "train.csv"), "--job", str(place / "job.yml"), "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "forecast.csv").read_bytes() == (place / "run" / "forecast.csv").read_bytes()


def test_training_and_test_data_may_stand_in_the_job_file(place, tmp_path):
    text = (place / "job.yml").read_text()
    data = f"target_column_name: sold, training_data: {place / 'train.csv'}, test_data: {place / 'test.csv'}"
    job = write_job(tmp_path, text.replace("target_column_name: sold", data))
    assert main(["fit", "--job", str(job), "--out", str(tmp_path / "run")]) == 0
    assert len(read(tmp_path / "run" / "test" / "predictions.csv")) == 12


def test_fit_without_a_job_recognises_the_usual_columns(tmp_path):
    y = np.random.default_rng(0).integers(3, 9, 40)
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2020-01-01", periods=40), "y": y})
    frame.to_parquet(tmp_path / "d.parquet")
    job = write_job(tmp_path, "{limits: {max_trials: 1}, allowed_models: [Naive]}")
    command = ["fit", str(tmp_path / "d.parquet"), "--horizon", "3", "--job", str(job), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    forecast = pd.read_csv(tmp_path / "run" / "forecast.csv")
    assert forecast["ds"].tolist() == ["2020-02-10", "2020-02-11", "2020-02-12"]
    assert (forecast["yhat"] == y[-1]).all()


# -- predict, evaluate, backtest -------------------------------------------------------------------------------------


def test_predict_with_known_covariates_quantiles_and_levels(place, priced, tmp_path, capsys):
    assert "--future" in (priced / "log.txt").read_text() or (priced / "future.csv").is_file()
    plan = read(priced / "future.csv")
    assert list(plan.columns) == ["shop", "item", "week", "price"]
    assert plan["price"].isna().all()
    plan.assign(price=3).to_csv(tmp_path / "plan.csv", index=False)
    out = tmp_path / "deep" / "f.parquet"
    command = ["predict", str(priced), "--future", str(tmp_path / "plan.csv"), "--out", str(out)]
    assert main([*command, "--quantiles", "0.05,0.95", "--level", "80"]) == 0
    assert capsys.readouterr().out == ""
    forecast = pd.read_parquet(out)
    wanted = ["shop", "item", "week", "yhat", "yhat-q-0.05", "yhat-q-0.95", "yhat-lo-80", "yhat-hi-80"]
    assert list(forecast.columns) == wanted
    assert len(forecast) == 12
    assert (forecast["yhat-q-0.05"] <= forecast["yhat-lo-80"]).all()
    assert (forecast["yhat-lo-80"] <= forecast["yhat-hi-80"]).all()


def test_predict_from_newer_history_starts_after_it(place, tmp_path):
    out = tmp_path / "f.csv"
    assert main(["predict", str(place / "run"), "--history", str(place / "test.csv"), "--out", str(out)]) == 0
    assert read(out)["week"].min() > read(place / "test.csv")["week"].max()


def test_predict_by_another_entry_of_the_leaderboard(place, tmp_path):
    files = [tmp_path / f"{name}.csv" for name in ("Naive", "SeasonalNaive")]
    for file in files:
        assert main(["predict", str(place / "run"), "--model", file.stem, "--out", str(file)]) == 0
    naive = read(files[0])
    last = read(place / "train.csv").groupby(["shop", "item"])["sold"].last()
    assert (
        naive.set_index(["shop", "item"])["yhat"] == last.loc[list(zip(naive["shop"], naive["item"], strict=True))]
    ).all()
    assert not np.allclose(naive["yhat"], read(files[1])["yhat"])


def test_incomplete_or_missing_covariates_are_refused(priced, tmp_path, capsys):
    refused(capsys, ["predict", priced, "--out", tmp_path / "f.csv"], "price")
    read(priced / "future.csv").to_csv(tmp_path / "plan.csv", index=False)
    refused(capsys, ["predict", priced, "--future", tmp_path / "plan.csv", "--out", tmp_path / "f.csv"], "price")
    assert not (tmp_path / "f.csv").exists()


def test_evaluate_writes_predictions_and_the_metrics_that_follow_from_them(place, tmp_path, capsys):
    out = tmp_path / "scores"
    assert main(["evaluate", str(place / "run"), str(place / "test.csv"), "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    predictions = read(out / "predictions.csv")
    actual = read(place / "test.csv").set_index(["shop", "item", "week"])["sold"]
    keyed = predictions.set_index(["shop", "item", "week"])
    assert len(keyed) == 12
    assert (keyed["sold"] == actual.loc[keyed.index]).all()
    metrics = json.loads((out / "metrics.json").read_text())
    error = (keyed["yhat"] - keyed["sold"]).abs()
    assert metrics["wape"] == pytest.approx(error.sum() / keyed["sold"].sum())
    assert metrics["mean_absolute_error"] == pytest.approx(error.mean())
    assert (metrics["series"], metrics["series_without_training_range"]) == (3, 0)
    spread = keyed["sold"].groupby(level=[0, 1]).agg(np.ptp)
    train = read(place / "train.csv").groupby(["shop", "item"])["sold"].agg(np.ptp)
    own = error.groupby(level=[0, 1]).mean()
    assert metrics["normalized_mean_absolute_error"] == pytest.approx((own / train).mean())
    assert metrics["normalized_mean_absolute_error_test_range"] == pytest.approx((own / spread).mean())
    for name in ("charts.html", "horizon.png", "residuals.png", "predicted_vs_true.png"):
        assert (out / name).stat().st_size > 5_000
    by_series = read(out / "metrics_by_series.csv")
    assert by_series["mean_absolute_error"].mean() == pytest.approx(error.mean())


def test_a_test_without_the_target_is_only_forecast(place, tmp_path, capsys):
    test = read(place / "test.csv").drop(columns="sold")
    test.to_csv(tmp_path / "test.csv", index=False)
    assert main(["evaluate", str(place / "run"), str(tmp_path / "test.csv"), "--out", str(tmp_path / "scores")]) == 0
    assert "no column 'sold'" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "scores").iterdir()] == ["predictions.csv"]
    predictions = read(tmp_path / "scores" / "predictions.csv")
    assert (predictions[["shop", "item", "week"]] == test[["shop", "item", "week"]]).all(axis=None)
    assert predictions["yhat-q-0.9"].notna().all()


def test_backtest_keeps_the_truth_and_the_origin(place, tmp_path):
    out = tmp_path / "b.csv"
    assert main(["backtest", str(place / "run"), "--windows", "3", "--step", "2", "--out", str(out)]) == 0
    frame = read(out)
    assert frame["cutoff"].nunique() == 3
    assert (frame["week"] > frame["cutoff"]).all()
    assert len(frame) == 3 * 3 * 4
    truth = read(place / "train.csv").set_index(["shop", "item", "week"])["sold"]
    keyed = frame.set_index(["shop", "item", "week"])
    assert (keyed["sold"] == truth.loc[keyed.index]).all()


@pytest.mark.parametrize("mode", ["model", "automl"])
def test_backtest_into_a_folder_leaves_forecasts_scores_and_pictures(place, tmp_path, capsys, mode):
    out = tmp_path / "backtest"
    command = ["backtest", str(place / "run"), "--mode", mode, "--windows", "2", "--step", "2", "--out", str(out)]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"backtest: {out}" in captured.err
    frame = read(out / "forecast.csv")
    assert frame["backtest_iteration"].nunique() == 2
    assert {"actual_level", "predicted_level", "yhat-q-0.5"} <= set(frame.columns)
    scores = pd.read_csv(out / "scores.csv")
    assert {"all_sets", "007/tea", f"007/tea|{frame['backtest_iteration'][0]}"} <= set(scores["time_series_id"])
    assert (out / "plots_fcst_vs_actual.pdf").read_bytes().startswith(b"%PDF")
    assert len(pd.read_csv(out / "models.csv")) == 2
    runs = sorted((out / "runs").iterdir()) if mode == "automl" else []
    assert [Run.open(run).state for run in runs] == ["completed"] * (2 if mode == "automl" else 0)


def test_a_whole_search_at_each_cut_needs_a_folder(place, tmp_path, capsys):
    refused(capsys, ["backtest", place / "run", "--mode", "automl", "--out", tmp_path / "b.csv"], "folder")
    refused(capsys, ["backtest", place / "run", "--mode", "both", "--out", tmp_path / "b"], "'model' or 'automl'")
    refused(capsys, ["backtest", place / "run", "--out", tmp_path / "b.xlsx"], "CSV nor Parquet")


def test_a_function_of_ones_own_chooses_by_job_file(place, tmp_path, capsys):
    known = "primary_metric: tests.forecasting.own_metrics:too_low"
    job = write_job(tmp_path, known + "\n" + JOB.replace("KNOWN", ""))
    run = tmp_path / "run"
    assert main(["fit", str(place / "train.csv"), "--job", str(job), "--out", str(run)]) == 0
    board = pd.read_csv(run / "leaderboard.csv")
    assert (board["metric"] == "too_low").all()
    assert board["score"].dropna().is_monotonic_increasing
    assert main(["evaluate", str(run), str(place / "test.csv"), "--out", str(tmp_path / "scores")]) == 0
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["too_low"] >= 0
    capsys.readouterr()
    assert main(["leaderboard", str(run), "--metric", "too_low"]) == 0
    assert "SeasonalNaive" in capsys.readouterr().out
    job = write_job(tmp_path, "primary_metric: no_such_package:mine\n" + JOB.replace("KNOWN", ""))
    refused(
        capsys, ["fit", place / "train.csv", "--job", job, "--out", tmp_path / "r"], "no_such_package", "PYTHONPATH"
    )


# -- looking and steering --------------------------------------------------------------------------------------------


def test_leaderboard_and_summary_print_csv_into_a_pipe(place, capsys):
    from io import StringIO

    for metric in ("wape", "MAE", "r2"):
        capsys.readouterr()
        assert main(["leaderboard", str(place / "run"), "--metric", metric]) == 0
        board = pd.read_csv(StringIO(capsys.readouterr().out))
        board = board[board["status"] != "skipped"]
        assert set(board["model"]) == {"Naive", "SeasonalNaive"}
        assert board["score"].is_monotonic_increasing or metric == "r2"
        assert board["score"].is_monotonic_decreasing or metric != "r2"
    assert main(["summary", str(place / "run")]) == 0
    rows = pd.read_csv(StringIO(capsys.readouterr().out))
    assert sorted(rows["learner"]) == ["Naive", "SeasonalNaive"]
    assert (rows["trials"] == 1).all()
    refused(capsys, ["leaderboard", place / "run", "--metric", "wappe"], "wape")


def test_guardrails_and_report_are_printed(place, capsys):
    assert main(["guardrails", str(place / "run")]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table.columns.tolist() == ["name", "status", "message", "series", "example"]
    assert "Structural break" in set(table["name"])
    assert main(["report", str(place / "run")]) == 0
    assert capsys.readouterr().out == (place / "run" / "report.md").read_text()


def test_predict_until_a_date(place, tmp_path):
    assert main(["predict", str(place / "run"), "--until", "2022-09-26", "--out", str(tmp_path / "f.csv")]) == 0
    assert sorted(read(tmp_path / "f.csv")["week"].unique()) == ["2022-09-12", "2022-09-19", "2022-09-26"]


def test_commands_to_a_run_nobody_works_on_are_refused(place, capsys):
    for command in (["pause"], ["cancel"]):
        refused(capsys, ["run", *command, place / "run"], "completed", "no process")
    refused(capsys, ["run", "cancel-trial", "1", place / "run"], "no process")
    refused(capsys, ["run", "continue", place / "run"], "--more-trials")
    refused(capsys, ["run", "pause", place], "no run directory")


def test_continue_adds_trials_and_keeps_the_old_ones(place, tmp_path):
    job = write_job(tmp_path, JOB.replace("max_trials: 2", "max_trials: 1").replace("KNOWN", ""))
    run = tmp_path / "run"
    assert main(["fit", str(place / "train.csv"), "--job", str(job), "--out", str(run)]) == 0
    first = Run.open(run).trials()
    assert len(first) == 1
    stamp = first[0].path.stat().st_mtime_ns
    assert main(["run", "continue", str(run), "--more-trials", "1"]) == 0
    trials = Run.open(run).trials()
    assert len(trials) == 2
    assert trials[0].path.stat().st_mtime_ns == stamp, "the finished trial was not run again"
    assert main(["predict", str(run), "--out", str(tmp_path / "f.csv")]) == 0


def start(*argv):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", START, *map(str, argv)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(what, process=None, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the process ended with {process.returncode}: {process.stderr.read()}")
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def searching(place, folder):
    """A live search in another process, with at least two finished trials."""
    run = folder / "run"
    process = start("fit", place / "train.csv", "--job", write_job(folder, SLOW), "--out", run)
    wait_for(lambda: (run / "run.json").exists() and len(Run.open(run).trials()) >= 2, process)
    return run, process


@pytest.mark.long
def test_pause_resume_and_cancel_reach_a_live_run(place, tmp_path, capsys):
    run, process = searching(place, tmp_path)
    try:
        assert main(["run", "pause", str(run)]) == 0
        wait_for(lambda: Run.open(run).state == "paused", process)
        wait_for(lambda: still(run), process)
        refused(capsys, ["run", "continue", run, "--more-trials", "1"], "another live process")
        before = len(Run.open(run).trials())
        assert main(["leaderboard", str(run)]) == 0
        assert "SeasonalNaive" in capsys.readouterr().out
        assert main(["run", "resume", str(run)]) == 0
        wait_for(lambda: len(Run.open(run).trials()) > before, process)
        assert main(["run", "cancel", str(run)]) == 0
        out, err = process.communicate(timeout=60)
    finally:
        kill(process)
    assert (process.returncode, out) == (0, ""), err
    assert Run.open(run).state == "cancelled"
    assert main(["predict", str(run), "--out", str(tmp_path / "f.csv")]) == 0


def still(run):
    """Whether no trial ends within a second and a half."""
    before = len(Run.open(run).trials())
    time.sleep(1.5)
    return len(Run.open(run).trials()) == before


def kill(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.long
def test_ctrl_c_leaves_a_usable_model_and_ends_with_130(place, tmp_path):
    run, process = searching(place, tmp_path)
    try:
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group, workers included
        out, err = process.communicate(timeout=60)
    finally:
        kill(process)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert main(["predict", str(run), "--out", str(tmp_path / "f.csv")]) == 0
    assert read(tmp_path / "f.csv")["yhat"].notna().all()


@pytest.mark.long
def test_a_killed_run_is_taken_up_by_resume_in_this_process(place, tmp_path):
    run, process = searching(place, tmp_path)
    kill(process)
    done = {t.number: t.path.stat().st_mtime_ns for t in Run.open(run).trials() if t.usable}
    wait_for(lambda: not Run.open(run).is_live())
    process = start("run", "resume", run)
    try:
        wait_for(lambda: len([t for t in Run.open(run).trials() if t.usable]) > len(done), process)
        assert main(["run", "cancel", str(run)]) == 0
        _, err = process.communicate(timeout=60)
    finally:
        kill(process)
    assert process.returncode == 0, err
    after = {t.number: t.path.stat().st_mtime_ns for t in Run.open(run).trials()}
    assert {n: after[n] for n in done} == done, "no finished trial was run again"
    assert main(["predict", str(run), "--out", str(tmp_path / "f.csv")]) == 0


# -- bad input -------------------------------------------------------------------------------------------------------


def spoiled(frame, how):
    text = frame.astype({"week": str, "sold": object})
    if how == "no time column":
        return frame.drop(columns="week"), "week"
    if how == "unparsable dates":
        text.loc[5, "week"] = "soon"
        return text, "soon"
    if how == "text target":
        text.loc[5, "sold"] = "many"
        return text, "many|sold"
    if how == "all targets missing":
        return frame.assign(sold=np.nan), "target is missing in every row"
    if how == "duplicate stamps":
        return pd.concat([frame, frame.iloc[[3]]]), r"repeat a timestamp.*007/tea.*2022-01-24"
    if how == "one row":
        return frame.iloc[[0]], "007|row"
    raise AssertionError(how)


@pytest.mark.parametrize(
    "how", ["no time column", "unparsable dates", "text target", "all targets missing", "duplicate stamps", "one row"]
)
def test_data_that_cannot_be_used_is_refused_with_the_reason(how, place, tmp_path, capsys):
    frame, needle = spoiled(sales(), how)
    frame.to_csv(tmp_path / "bad.csv", index=False)
    command = ["fit", tmp_path / "bad.csv", "--job", place / "job.yml", "--out", tmp_path / "run"]
    refused(capsys, command, needle)
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("old", "new", "needle"),
    [
        ("forecast_horizon", "forecast_horizn", r"job\.yml: unknown key forecasting\.forecast_horizn; did you mean"),
        ("forecast_horizon: 4", "forecast_horizon: 0", "horizon"),
        ("[Naive, SeasonalNaive]", "[Naiv]", "Naive"),
        ("W-MON", "fortnightly", "fortnightly"),
        ("task: forecasting", "task: [", "no valid YAML"),
        ("target_column_name: sold", "target_column_name: slod", "slod"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(old, new, needle, place, tmp_path, capsys):
    text = (place / "job.yml").read_text()
    assert old in text
    job = write_job(tmp_path, text.replace(old, new))
    refused(capsys, ["fit", place / "train.csv", "--job", job, "--out", tmp_path / "run"], needle)
    assert not (tmp_path / "run" / "run.json").exists()


def test_an_unwritable_folder_is_found_before_any_search(place, tmp_path, capsys, monkeypatch):
    import forecasting.forecaster

    def never(*_args, **_kwargs):
        raise AssertionError("the search was started")

    monkeypatch.setattr(forecasting.forecaster.Forecaster, "fit", never)
    monkeypatch.setattr(forecasting.forecaster.Forecaster, "predict", never)
    (tmp_path / "file").write_text("in the way")
    blocked = tmp_path / "file" / "run"
    refused(capsys, ["fit", place / "train.csv", "--job", place / "job.yml", "--out", blocked], "cannot be written")
    refused(capsys, ["predict", place / "run", "--out", blocked / "f.csv"], "cannot be written")
    refused(capsys, ["predict", place / "run", "--out", tmp_path / "f.xlsx"], "neither CSV nor Parquet")
    refused(capsys, ["evaluate", place / "run", place / "test.csv", "--out", blocked], "cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_existing_run_is_not_overwritten(place, capsys):
    before = (place / "run" / "forecast.csv").read_bytes()
    refused(capsys, ["fit", place / "train.csv", "--job", place / "job.yml", "--out", place / "run"], "already")
    assert (place / "run" / "forecast.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("argv", "needle"),
    [
        (["fit", "none.csv", "--out", "run"], "none.csv"),
        (["fit", "data.xlsx", "--out", "run"], "neither CSV nor Parquet"),
        (["fit", "--out", "run"], "no training data"),
        (["fit", "none.csv", "--job", "none.yml", "--out", "run"], "none.yml"),
        (["predict", "nowhere", "--out", "f.csv"], "nowhere"),
        (["leaderboard", "nowhere"], "nowhere"),
        (["summary", "nowhere"], "nowhere"),
    ],
)
def test_missing_files_and_runs(argv, needle, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(capsys, argv, needle)


def test_a_tampered_or_truncated_model_is_refused(place, tmp_path, capsys):
    import shutil

    files = sorted(p.relative_to(place / "run") for p in (place / "run" / "model").rglob("*") if p.is_file())
    assert files
    for k, name in enumerate(files):
        copy = tmp_path / str(k)
        shutil.copytree(place / "run", copy)
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        refused(capsys, ["predict", copy, "--out", tmp_path / "f.csv"])
    assert not (tmp_path / "f.csv").exists()


def test_usage(capsys):
    assert main(["--help"]) == 0
    assert "leaderboard" in capsys.readouterr().out
    assert main(["predict", "run"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["predic"]) == 2
    assert main(["predict", "x", "--out", "f.csv", "--horizon", "two"]) == 2


def test_numbers_of_options_are_checked(place, tmp_path, capsys):
    refused(capsys, ["predict", place / "run", "--out", tmp_path / "f.csv", "--quantiles", "0.1;0.9"], "--quantiles")
    refused(capsys, ["predict", place / "run", "--out", tmp_path / "f.csv", "--level", "180"], "180")
    refused(capsys, ["predict", place / "run", "--out", tmp_path / "f.csv", "--model", "Naiv"], "Naive")


@pytest.mark.long
def test_demo_ends_with_everything_on_disk(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--time-limit", "10"]) == 0
    err = capsys.readouterr().err
    for name in ("data.csv", "run/leaderboard.csv", "run/forecast.csv", "run/forecast.html"):
        path = tmp_path / "demo" / name
        assert path.stat().st_size > 0
        assert str(path) in err
    forecast = pd.read_csv(tmp_path / "demo" / "run" / "forecast.csv")
    assert forecast.groupby("unique_id").size().tolist() == [12] * 4
    assert main(["demo", "--out", str(tmp_path / "demo"), "--time-limit", "3"]) == 0, "it can be run again"


def test_explain_writes_table_and_chart(priced, tmp_path, capsys):
    out, chart = tmp_path / "why.csv", tmp_path / "why.png"
    assert main(["explain", str(priced), "--out", str(out), "--chart", str(chart), "--by-horizon"]) == 0
    table = pd.read_csv(out)
    assert table.columns.tolist() == ["feature", "importance", "std", "method", "horizon"]
    assert set(table["feature"]) == {"target", "time", "price"}
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == ""
    refused(capsys, ["explain", str(priced), "--out", str(out), "--local"], "cannot be split row by row")
    refused(capsys, ["explain", str(priced), "--out", str(out), "--method", "lime"], "auto, shap, permutation", "lime")
    refused(capsys, ["explain", str(priced), "--out", str(out), "--chart", "a.gif"], ".html, .png", "a.gif")
    refused(capsys, ["explain", str(priced), "--out", str(out), "--local", "--chart", str(chart)], "--chart")


def test_a_run_leaves_what_became_of_the_columns(priced):
    names = json.loads((priced / "engineered_feature_names.json").read_text())
    rows = json.loads((priced / "featurization_summary.json").read_text())
    assert names == ["target"]  # Naive and SeasonalNaive read nothing else
    assert {row["RawFeatureName"]: row["Dropped"] for row in rows} == {
        "shop": "No", "item": "No", "week": "No", "sold": "No", "price": "Yes",
    }  # fmt: skip
