"""The benchmark of large tables, on a small one: the table is as large as it says, and a row tells what came of it."""

import json
import sys

import pandas as pd
import pytest

from benchmarks import large


def test_a_small_table_is_written_and_fitted(tmp_path, monkeypatch, capsys):
    out, folder = tmp_path / "rows.jsonl", tmp_path / "table"
    command = [
        "large",
        "--gb",
        "0.0005",
        "--memory",
        "4000",
        "--time-limit",
        "12",
        "--out",
        str(out),
        "--keep",
        str(folder),
    ]
    monkeypatch.setattr(sys, "argv", command)
    large.main()
    row = json.loads(out.read_text())
    assert len(pd.read_parquet(folder)) == row["rows"] == 2083
    assert "failure" not in row, row["failure"]
    assert row["rmse"] < 2.5
    assert row["peak_mb"] > 50
    assert json.loads(capsys.readouterr().out) == row
    pd.testing.assert_frame_equal(large.generated(50, 3), large.generated(50, 3))
    assert large.generated(500, 3, categories=9)["shop"].nunique() == pytest.approx(9)
