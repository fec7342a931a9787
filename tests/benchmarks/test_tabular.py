"""The tabular benchmark on a table made here: one line a task and system, errors by hand, failures told."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import tabular
from benchmarks.tabular import Task, error_of, read_tasks, systems, table


def test_errors_are_those_of_the_metrics():
    truth = pd.Series(["no", "yes", "no", "yes"])
    answer = pd.DataFrame({"yes": [0.1, 0.8, 0.4, 0.3], "no": [0.9, 0.2, 0.6, 0.7]})
    assert error_of(answer, truth, "roc_auc") == pytest.approx(0.25)
    assert error_of(answer, truth, "log_loss") == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.6, 0.3])))
    assert error_of(pd.DataFrame({"value": [1.0, 3.0]}), pd.Series([1, 1]), "rmse") == pytest.approx(np.sqrt(2))
    with pytest.raises(ValueError, match="3 predictions for 4 rows, 0 not finite"):
        error_of(answer[:3], truth, "roc_auc")


def test_splits_are_the_files_own_or_a_quarter(tmp_path):
    frame = pd.DataFrame(
        {"a": range(80), "y": ["x", "z"] * 40, "split": ["train"] * 50 + ["valid"] * 10 + ["test"] * 20}
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    train, test = Task("t", "rows.parquet", "y", "binary", "roc_auc", split=True).frames(tmp_path)
    assert (len(train), len(test), list(train)) == (60, 20, ["a", "y"])
    train, test = Task("t", "rows.parquet", "y", "binary", "roc_auc", drop=["split"]).frames(tmp_path)
    assert (len(train), len(test)) == (60, 20)
    assert test["y"].value_counts().tolist() == [10, 10]


def test_a_task_is_run_and_a_failure_is_told(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(x[:, 0] + 0.3 * x[:, 1] > 0, "up", "down")})
    frame.to_parquet(tmp_path / "rows.parquet")
    entry = {"name": "made", "file": "rows.parquet", "target": "y", "task": "binary", "metric": "roc_auc"}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump([entry]))
    assert {"forecastle", "flaml", "autogluon"} == set(systems())
    assert [t.name for t in read_tasks(tmp_path / "tasks.yaml", ["made"])] == ["made"]
    with pytest.raises(SystemExit, match="has no task other"):
        read_tasks(tmp_path / "tasks.yaml", ["other"])
    broken = tmp_path / "tabular_broken.py"
    broken.write_text("raise SystemExit('no luck')")
    monkeypatch.setattr(tabular, "systems", lambda: {**systems(), "broken": broken})
    out = tmp_path / "out.jsonl"
    argv = [
        "tabular",
        "--tasks",
        str(tmp_path / "tasks.yaml"),
        "--time-limit",
        "30",
        "--peer",
        "broken",
        "--out",
        str(out),
    ]
    monkeypatch.setattr(sys, "argv", argv)
    tabular.main()
    ours, failed = (json.loads(line) for line in out.read_text().splitlines())
    assert {"task", "system", "metric", "error", "fit_s", "first_model_s", "predict_s", "peak_mb"} <= set(ours)
    assert ours["failure"] is None
    assert ours["error"] < 0.05
    assert 0 < ours["first_model_s"] < ours["fit_s"]
    assert "no luck" in failed["failure"]
    assert "| made | broken | roc_auc | exit 1: no luck |" in capsys.readouterr().out
    assert table([ours, failed]).count("| made |") == 2
