"""`forecastle many`: the job file, the three commands, and what they say."""

import pandas as pd
import pytest

from automl.errors import ConfigError
from forecastle.cli import main
from forecastle.jobs import parse_job
from tests.forecasting.test_many import poisoned, sales, split

JOB = """
data: {target_column_name: sold}
forecasting:
  time_column_name: week
  forecast_horizon: 4
  known_covariates: price
  quantiles: [0.1, 0.9]
training:
  allowed_training_algorithms: [SeasonalNaive, Theta, LightGBM]
limits: {max_concurrent_trials: 1}
many:
  partition_column_names: [store, brand]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many-cli")
    train, test = split(sales(stores=4))
    (folder / "job.yml").write_text(JOB, encoding="utf-8")
    poisoned(train).replace({"sold": {"n/a": "eleven"}}).to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    test.drop(columns="sold").to_csv(folder / "future.csv", index=False)
    named = {"--job": "job.yml", "--data": "train.csv", "--out": "job"}
    code = main(["many", "fit", *(part for name, file in named.items() for part in (name, str(folder / file)))])
    assert code == 0
    return folder


def run(place, *words, **options):
    named = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return main(["many", *words, *named])


def test_fitting_leaves_a_table_of_groups(place):
    groups = pd.read_csv(place / "job" / "groups.csv")
    assert groups["status"].tolist().count("done") == 5
    assert groups["error"].notna().sum() == 3
    assert (place / "job" / "job.yml").read_text(encoding="utf-8") == JOB


def test_forecasts_are_one_dataset_with_the_jobs_quantiles(place):
    assert run(place, "predict", data=place / "future.csv", out=place / "job") == 0
    out = pd.read_parquet(place / "job" / "forecasts")
    assert list(out.columns) == ["store", "brand", "week", "yhat", "yhat-q-0.1", "yhat-q-0.9"]
    assert len(out) == 32
    assert not out.duplicated(["store", "brand", "week"]).any()


def test_rolling_forecasts_and_backtests(place, capsys):
    assert run(place, "predict", data=place / "test.csv", run=place / "job", out=place / "roll", mode="rolling") == 0
    assert len(pd.read_parquet(place / "roll")) > 0
    assert run(place, "backtest", run=place / "job", out=place / "back", quantiles="0.5") == 0
    assert "yhat-q-0.5" in pd.read_parquet(place / "back").columns
    assert run(place, "backtest", run=place / "job", out=place / "back", quantiles="0.3") == 2
    assert "another answer" in capsys.readouterr().err
    assert run(place, "backtest", "--overwrite", run=place / "job", out=place / "back", quantiles="0.3") == 0


def test_what_is_wrong_is_said(place, capsys):
    assert run(place, "predict", run=place / "job", out=place / "none") == 2
    assert "known covariates were declared (price)" in capsys.readouterr().err
    assert run(place, "predict", data=place / "future.csv", run=place, out=place / "none") == 2
    assert "holds no many-models job" in capsys.readouterr().err
    assert run(place, "fit", job=place / "job.yml", out=place / "other") == 2
    assert "no training data" in capsys.readouterr().err
    assert main(["fit", str(place / "train.csv"), "--job", str(place / "job.yml"), "--out", str(place / "one")]) == 2
    assert "forecastle many fit --job" in capsys.readouterr().err


def test_limits_belong_to_a_search_for_each_group():
    with pytest.raises(ConfigError, match=r"limits\.max_trials is of each group's own search"):
        parse_job({"max_trials": 3, "many": {"partition_column_names": "store"}}).many_block()
    assert parse_job({"max_trials": 3, "many": {"search": "each"}}).many_block().search == "each"
    with pytest.raises(ConfigError, match=r"unknown key many\.partition_column"):
        parse_job({"many": {"partition_column": "store"}})
