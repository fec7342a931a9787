"""The accuracy benchmark: its scores by hand, and a small run of it from the command line."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import accuracy
from benchmarks.accuracy import Task, read_tasks, table
from benchmarks.scores import naive_error, scores

ROOT = Path(__file__).parents[2]
LEVELS = tuple(k / 10 for k in range(1, 10))


def rows(key, values, first="2020-01-01"):
    return pd.DataFrame({"unique_id": key, "ds": pd.date_range(first, periods=len(values), freq="MS"), "y": values})


def answer(test, point, spread=1.0):
    quantiles = {f"{q:g}": point + spread * (q - 0.5) for q in LEVELS}
    return test[["unique_id", "ds"]].assign(mean=point, **quantiles)


def test_scores_by_hand():
    train = pd.concat([rows("a", [1.0, 2, 4, 7]), rows("still", [5.0, 5, 5, 5])])
    test = pd.concat([rows("a", [8.0, 10], "2020-05-01"), rows("still", [5.0, 6], "2020-05-01")])
    found = scores(train, test, answer(test, np.array([8.0, 9, 5, 5])), season=1, levels=LEVELS)
    # a: mean change 2, errors 0 and 1; the series that stands still has no scale
    assert found["MASE"] == pytest.approx(0.25)
    assert found["sMAPE"] == pytest.approx(np.mean([0, 2 / 19, 0, 2 / 11]))
    assert found["coverage80"] == 0.5
    pinball = [max(q * e, (q - 1) * e) for q in LEVELS for e in np.array([0.0, 1, 0, 1]) - (q - 0.5)]
    assert found["WQL"] == pytest.approx(2 * np.sum(pinball) / 9 / 29)


def test_a_missing_forecast_is_an_error():
    train, test = rows("a", [1.0, 2, 3]), rows("a", [4.0, 5], "2020-04-01")
    with pytest.raises(ValueError, match="1 of 2 forecasts are missing"):
        scores(train, test, answer(test, np.array([4.0, 5.0])).head(1), season=1, levels=LEVELS)


def test_a_system_that_forecasts_too_little_gets_a_row_with_its_error(tmp_path, monkeypatch):
    (task,) = read_tasks(tasks(tmp_path), [])
    short = accuracy.scores
    monkeypatch.setattr(
        accuracy, "scores", lambda train, test, found, **more: short(train, test, found.head(5), **more)
    )
    options = argparse.Namespace(time_limit=8.0, keep=None, logs=None, patience=3.0)
    row = accuracy.run("seasonalnaive", task, tmp_path, options)
    assert row["error"] == "7 of 12 forecasts are missing"
    assert row["MASE"] is None
    assert row["fit_s"] >= 0


def test_naive_error_falls_back_on_one_step():
    assert naive_error(np.array([1.0, 3, 1, 3, 1]), 2) == 2.0
    assert np.isnan(naive_error(np.array([2.0, 2, 2]), 2))


def tasks(folder):
    rng = np.random.default_rng(1)
    parts = []
    for key in ("a", "b"):
        y = 10 + np.arange(48) / 10 + 3 * np.sin(np.arange(48) * np.pi / 6) + rng.normal(0, 0.3, 48)
        parts.append(pd.DataFrame({"unique_id": key, "ds": np.arange(48), "y": y, "price": 1.0 + (np.arange(48) % 5)}))
    frame = pd.concat(parts, ignore_index=True)
    frame["split"] = np.where(frame["ds"] < 42, "train", "test")
    frame.to_parquet(folder / "toy.parquet")
    entry = {"name": "toy", "file": "toy.parquet", "horizon": 6, "season": 12, "nominal_freq": "MS", "known": ["price"]}
    (folder / "tasks.yaml").write_text(yaml.safe_dump([entry]))
    return folder / "tasks.yaml"


def test_task_frames_hold_dates_and_only_scored_rows(tmp_path):
    (task,) = read_tasks(tasks(tmp_path), [])
    train, test = task.frames(tmp_path)
    assert list(train) == ["unique_id", "ds", "y", "price"]
    assert train["ds"].max() == pd.Timestamp("1973-06-01")
    assert test.groupby("unique_id").size().tolist() == [6, 6]
    with pytest.raises(SystemExit, match="has no task nothing"):
        read_tasks(tmp_path / "tasks.yaml", ["nothing"])


def test_small_run_writes_a_line_a_task_and_system(tmp_path):
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "benchmarks.accuracy", "--tasks", str(tasks(tmp_path)), "--time-limit", "8"]
    command += ["--peer", "seasonalnaive", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["system"] for line in lines] == ["forecastle", "seasonalnaive"]
    for line in lines:
        assert line["error"] is None
        assert {"task", "MASE", "sMAPE", "WQL", "coverage80", "fit_s", "predict_s", "peak_mb"} <= set(line)
    assert lines[0]["MASE"] <= lines[1]["MASE"]
    assert "| seasonalnaive | 1 |" in done.stdout


def test_table_says_which_system_failed():
    bad = {"task": "toy", "system": "other", **dict.fromkeys(("MASE", "sMAPE", "WQL")), "error": "exit 1: no memory"}
    good = {"task": "toy", "system": "forecastle", "error": None} | dict.fromkeys(
        ("MASE", "sMAPE", "WQL", "coverage80", "fit_s", "predict_s", "peak_mb"), 0.5
    )
    text = table([good, bad], "forecastle")
    assert "| toy | other | exit 1: no memory |" in text
    assert "| other | 1 |" not in text


def test_unknown_keys_of_a_task_are_an_error(tmp_path):
    (tmp_path / "tasks.yaml").write_text("- {name: a, file: b, horizon: 1, season: 1, colour: red}")
    with pytest.raises(TypeError, match="colour"):
        read_tasks(tmp_path / "tasks.yaml", [])
    assert Task("a", "b", 1, 1).known == []
