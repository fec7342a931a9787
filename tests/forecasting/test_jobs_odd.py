"""Jobs that go another way than they usually do: odd rows, ids and files, bad groups, dead workers, second callers."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automl.budget import ExitCriteria
from automl.compute import executor
from automl.errors import ConfigError, DataError, RunError
from automl.locks import owned
from forecasting import Columns, DataSettings, Forecaster, HierarchicalForecaster, ManyModels, SearchSettings, Settings
from forecasting.many import shared
from forecasting.many.driver import run_pieces
from forecasting.many.output import LOCK
from forecasting.many.pieces import hash_of
from forecasting.many.source import Source
from forecastle.cli import main
from forecastle.jobs import load_job, parse_job
from forecastle.tables import read_table

COLUMNS = Columns(id="store", time="ds", target="y")
SHARED = SearchSettings(allowed=["SeasonalNaive"])
ONE = SearchSettings(allowed=["SeasonalNaive"], workers=0, limits=ExitCriteria(max_trials=1))
ENDS = pd.Timestamp("2022-07-25")
"""Last time of `rows` as they are."""


def rows(ids=("a", "b", "c"), n=30, start="2022-01-03", name="store", freq="W-MON"):
    """Rows of some series, each at its own level."""
    when = pd.date_range(start, periods=n, freq=freq)
    parts = [pd.DataFrame({name: i, "ds": when, "y": np.arange(n) % 7 + 10.0 * (k + 1)}) for k, i in enumerate(ids)]
    return pd.concat(parts, ignore_index=True)


def later(ids=("a", "b", "c"), n=2):
    return rows(ids, n, "2022-08-01")


def many(data=None, path=None, *, search="shared", **changes):
    own = {"columns": COLUMNS, "workers": 1, "compute": "inline", "search": search}
    settings = changes.pop("settings", Settings(search=SHARED if search == "shared" else ONE))
    return ManyModels(2, settings=settings, **(own | changes)).fit(rows() if data is None else data, path=path)


def series(frame):
    return frame.groupby("store").size().to_dict()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return many(path=tmp_path_factory.mktemp("jobs") / "job")


@pytest.fixture(scope="module", params=["shared", "each"])
def regions(request):
    """Models of one group of three series."""
    return many(rows().assign(region="R"), by="region", search=request.param)


# -- rows that are put together by period -----------------------------------------------------------------------------

WEEKS = DataSettings(freq="W-MON", aggregate="sum")


def test_aggregated_rows_are_answered_as_they_are_asked():
    model = Forecaster(2, columns=COLUMNS, settings=Settings(search=ONE, data=WEEKS)).fit(pd.concat([rows(), rows()]))
    asked = pd.concat([later(("c",), 1), later(("a",), 3)])[["store", "ds"]]
    out = model.predict(asked)
    assert out[["store", "ds"]].to_numpy().tolist() == asked.to_numpy().tolist()
    days = pd.DataFrame({"store": "b", "ds": pd.date_range("2022-07-28", "2022-08-09")})
    assert model.predict(days)["ds"].tolist() == [pd.Timestamp("2022-08-01"), pd.Timestamp("2022-08-08")]
    with pytest.raises(DataError, match="inside the training period"):
        model.predict(days.head(3))


def test_many_models_put_later_rows_together_too():
    model = many(settings=Settings(search=SHARED, data=WEEKS))
    out = model.predict(history=pd.concat([later(), later()]))
    assert out["yhat"].tolist() == [22, 22, 42, 42, 62, 62]
    assert series(model.predict(later(("a",), 6)[["store", "ds"]])) == {"a": 6}


def test_a_group_outside_the_sample_is_put_together(monkeypatch):
    ids = sorted("abcdef", key=lambda name: hash_of([name]))
    monkeypatch.setattr(shared, "MOST_GROUPS", 3)
    data = pd.concat([rows(ids), rows(ids[-1:])]).assign(price=1.0 + np.arange(210) % 5)
    model = many(data, known=["price"], settings=Settings(search=SHARED, data=WEEKS))
    assert set(model.status()["status"]) == {"done"}


# -- hierarchies ------------------------------------------------------------------------------------------------------


def leaves(times, **values):
    parts = [pd.DataFrame({"store": int(s[1:]), "ds": times, "y": float(v)}) for s, v in values.items()]
    return pd.concat(parts, ignore_index=True)


def hierarchy(data, settings=None, **changes):
    model = HierarchicalForecaster(
        2, levels=["store"], time="ds", target="y", settings=settings or Settings(search=ONE), **changes
    )
    return model.fit(data)


@pytest.mark.parametrize("freq", ["MS", "ME"])
def test_a_hierarchy_of_aggregated_rows_gives_each_node_its_own(freq):
    days = pd.date_range("2022-01-01", "2023-04-20")
    data = leaves(days, s1=1, s10=10, s2=2)
    data["y"] *= 1 + 0.1 * (data["ds"].dt.month % 3)
    gone = data[~((data["store"] == 2) & (data["ds"] >= "2022-11-01"))]
    settings = Settings(search=ONE, data=DataSettings(freq=freq, aggregate="sum"))
    out = hierarchy(gone, settings, method="bottom_up").predict(level="store")
    assert set(out.groupby("store")["ds"].min()) == {pd.Timestamp("2023-05-01" if freq == "MS" else "2023-05-31")}
    mean = out.groupby("store")["yhat"].mean()
    assert mean[1] < mean[2] < mean[10]
    assert mean[10] == pytest.approx(10 * mean[1])


def test_a_hierarchy_keeps_its_zone_and_quantiles(tmp_path):
    for freq, first in (("D", "2022-05-15 00:00"), ("h", "2022-03-29 19:00")):
        times = pd.date_range("2022-03-26", periods=50 if freq == "D" else 90, freq=freq, tz="Europe/Berlin")
        model = hierarchy(leaves(times, s1=1, s2=2), quantiles=[0.1, 0.9])
        model.save(tmp_path / freq)
        for one in (model, HierarchicalForecaster.load(tmp_path / freq)):
            out = one.predict(level=None)
            assert list(out.columns) == ["ds", "yhat", "yhat-q-0.1", "yhat-q-0.9"]
            assert out["ds"].iloc[0] == pd.Timestamp(first, tz="Europe/Berlin")


def test_known_covariates_of_days_are_put_together_in_a_hierarchy(caplog):
    data = leaves(pd.date_range("2022-01-01", "2023-04-20"), s1=1, s2=2).assign(price=2.0)
    ahead = leaves(pd.date_range("2023-05-02", "2023-06-30"), s1=1, s2=2).drop(columns="y").assign(price=3.0)
    settings = Settings(search=ONE, data=DataSettings(freq="MS", aggregate="sum"))
    out = hierarchy(data, settings, known=["price"], method="bottom_up").predict(ahead, level="store")
    assert len(out) == 4
    assert out["yhat"].notna().all()
    assert "not given" not in caplog.text


def test_leaves_that_end_early_are_told():
    months = pd.date_range("2020-01-01", periods=36, freq="MS")
    data = leaves(months, s1=1, s2=2)
    model = hierarchy(data.iloc[:-1])
    notes = model.forecaster.guardrails().set_index("name")
    assert notes.loc["Late leaves", "status"] == "alerted"
    assert "the latest is 2, last seen at 2022-11-01" in notes.loc["Late leaves", "message"]
    assert "Late leaves" not in hierarchy(data).forecaster.guardrails()["name"].tolist()


# -- groups that cannot be answered ----------------------------------------------------------------------------------


def test_a_new_series_of_a_known_group_starts_cold(regions):
    asked = later(("a", "b", "c", "new"))[["store", "ds"]].assign(region="R")
    out = regions.predict(asked)
    assert series(out) == dict.fromkeys(["a", "b", "c", "new"], 2)
    assert out[out["store"] == "new"]["yhat"].tolist() == [21, 21]
    assert out["cold_start"].tolist() == (out["store"] == "new").tolist()
    history = pd.concat([later(), rows(("new",), 32)]).assign(region="R")
    assert series(regions.predict(history=history))["new"] == 2


@pytest.mark.parametrize("size", [30, 100_000])
@pytest.mark.parametrize("search", ["shared", "each"])
def test_a_bad_group_costs_no_other_its_forecast(search, size, caplog):
    model = many(search=search, piece_rows=size)
    for spoil in (
        lambda h: pd.concat([h, h[h["store"] == "a"]]),
        lambda h: h.assign(ds=h["ds"].where(h["store"] != "a", h["ds"] + pd.Timedelta("1D"))),
        lambda h: h.assign(y=h["y"].astype(object).where(h["store"] != "a", "closed")),
    ):
        caplog.clear()
        asked = later(n=4)[["store", "ds"]]
        out = model.predict(asked, history=spoil(later()))
        assert series(out) == {"a": 4, "b": 4, "c": 4}
        assert out["yhat"].isna().tolist() == (out["store"] == "a").tolist()
        assert "1 groups cannot be answered, first a: " in caplog.text
    with pytest.raises(DataError, match=r"none of 3 groups can be answered, first .*No-such"):
        model.predict(history=later().assign(y="No-such"))


def test_groups_without_a_model_are_answered_by_missing_values():
    data = rows().assign(y=lambda d: d["y"].where(d["store"] != "b"))
    for size in (30, 100_000):
        model = many(data, piece_rows=size)
        out = model.predict(groups=["b"])
        assert out["yhat"].isna().all()
        assert out["ds"].tolist() == [ENDS + pd.Timedelta(weeks=1), ENDS + pd.Timedelta(weeks=2)]
        assert series(model.predict()) == {"a": 2, "b": 2, "c": 2}
        assert model.predict(later()[["store", "ds"]])["yhat"].isna().sum() == 2
        with pytest.raises(RunError, match="no group asked for can be forecast"):
            model.backtest(groups=["b"])


@pytest.mark.parametrize("search", ["shared", "each"])
@pytest.mark.parametrize("size", [30, 100_000])
def test_what_is_asked_is_decided_over_all_groups(search, size):
    model = many(pd.concat([rows(("a", "b")), rows(("c",), 36)]), search=search, piece_rows=size)
    assert series(model.predict(until="2022-08-29")) == {"a": 5, "b": 5}
    with pytest.raises(ConfigError, match="before the first step"):
        model.predict(until="2022-07-04")
    told = pd.concat([later(("a", "b"), 3), later(("c",), 8)])
    out = model.predict(told.assign(y=told["y"].where(told["store"] == "a")))
    assert out[out["store"] == "a"]["yhat"].tolist() == [10, 11, 12]
    with pytest.raises(DataError, match="every row of future holds a value"):
        model.predict(told)


def test_told_rows_are_put_together():
    model = many(settings=Settings(search=SHARED, data=WEEKS), piece_rows=30)
    asked = pd.concat([later(), later()])
    out = model.predict(asked.assign(y=asked["y"].where(asked["store"] == "a")))
    assert series(out) == {"a": 2, "b": 2, "c": 2}
    assert out["yhat"].head(2).tolist() == [20, 22]


# -- workers and folders ----------------------------------------------------------------------------------------------


def dies_once(flag):
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "again"


def stumbles(flag):
    with Path(flag).open("a") as file:
        file.write("x")
    raise OSError("no such disk")


def test_a_dead_worker_is_tried_again_and_an_error_is_not(tmp_path):
    ended = []
    with executor("local", workers=1) as hired:
        run_pieces(hired, dies_once, {0: (str(tmp_path / "one"),)}, lambda k, r: ended.append((k, r)))
        assert ended == [(0, "again")]
        with pytest.raises(RunError, match="no such disk"):
            run_pieces(hired, stumbles, {0: (str(tmp_path / "two"),)}, lambda k, r: ended.append((k, r)))
    assert (tmp_path / "two").read_text() == "x"


def test_an_answer_has_one_writer(fitted, tmp_path):
    out = tmp_path / "out"
    assert fitted.predict_into(out) == 6
    with owned(out / LOCK, "it"), pytest.raises(RunError, match="another live process works on the answer in"):
        fitted.predict_into(out, horizon=1, overwrite=True)
    with pytest.raises(RunError, match="holds another answer"):
        fitted.predict_into(out, horizon=1)
    assert fitted.predict_into(out, horizon=1, overwrite=True) == 3
    assert set(pd.read_parquet(out)["ds"]) == {ENDS + pd.Timedelta(weeks=1)}


def test_a_fit_that_could_not_read_its_data_leaves_no_job(tmp_path):
    with pytest.raises(DataError, match="'store' holds 1 missing"):
        many(rows().assign(store=lambda d: d["store"].mask(d.index == 3)), tmp_path / "job")
    assert many(rows(), tmp_path / "job").status()["status"].tolist() == ["done"] * 3


def test_the_number_of_workers_is_of_a_call(tmp_path):
    many(path=tmp_path / "job")
    assert ManyModels.load(tmp_path / "job", workers=3).workers == 3
    assert ManyModels.load(tmp_path / "job").workers == ManyModels(2, columns=COLUMNS).workers
    alone = ManyModels(2, columns=COLUMNS, workers=0)
    assert (alone.workers, alone.compute) == (0, "inline")
    assert len(alone.fit(rows()).predict()) == 6


def mean_error(actual, forecast):
    return float(np.nanmean(np.abs(actual - forecast)))


def test_groups_share_a_search_by_a_metric_of_the_users():
    metric = Settings(search=SearchSettings(allowed=["SeasonalNaive"], metric=mean_error))
    assert many(settings=metric).leaderboard()["mean_error"].notna().all()


# -- ids and columns --------------------------------------------------------------------------------------------------


def test_keys_may_be_anything_a_column_holds():
    for values in (
        [True, False, True],
        [1, 2, 3],
        pd.to_datetime(["2020-01-01", "2020-02-01", "2020-03-01"]),
        [1.5, 2, 3],
    ):
        data = rows(("a", "b")) if values[0] is True else rows()
        own = data["store"].map(dict(zip("abc", values, strict=True)))
        model = many(data.assign(store=own))
        assert model.status()["store"].tolist() == sorted(own.unique())
        assert set(model.predict(groups=own.unique()[:1])["store"]) == {own.iloc[0]}


def test_a_time_that_is_a_numpy_number_is_one():
    data = rows().assign(ds=lambda d: d.groupby("store").cumcount())
    assert len(many(data).predict(until=np.int64(33))) == 12


def test_columns_that_cannot_be_used_are_named(fitted):
    with pytest.raises(DataError, match=r"history: the data has no id column 'store'.*shop"):
        fitted.predict(history=later().rename(columns={"store": "shop"}))
    with pytest.raises(DataError, match="history: the data has no target column 'y'"):
        fitted.predict(history=later().drop(columns="y"))
    with pytest.raises(DataError, match="future: the data has no time column 'ds'"):
        fitted.predict(later().drop(columns="ds"))
    with pytest.raises(DataError, match=r"'store' tells groups .* several types \(int, str\)"):
        many(rows().assign(store=lambda d: d["store"].astype(object).replace({"a": 1})))
    with pytest.raises(DataError, match="'status' has a name that the table of groups uses"):
        many(rows(name="status"), columns=Columns(id="status", time="ds", target="y"))


def test_covariates_that_mix_types_are_categories():
    mixed = rows().assign(size=np.resize(np.array(["S", 1, 2], dtype=object), 90))
    gaps = rows().assign(size=pd.Categorical.from_codes(np.resize([0, 1, -1], 90), categories=[1, 2]))
    for data in (mixed, gaps):
        assert set(many(data, known=["size"]).status()["status"]) == {"done"}


def test_a_group_that_never_changes_is_not_called_short():
    error = many(rows().assign(y=lambda d: d["y"].where(d["store"] != "a", 5.0))).status()["error"].iloc[0]
    assert "tells models apart" in error
    assert "are needed" not in error


# -- files ------------------------------------------------------------------------------------------------------------


def test_an_id_may_be_called_na(tmp_path):
    rows(("NA", "EU")).to_csv(tmp_path / "t.csv", index=False)
    assert many(tmp_path / "t.csv").status()["store"].tolist() == ["EU", "NA"]
    assert read_table(tmp_path / "t.csv", text=["store"])["store"].unique().tolist() == ["NA", "EU"]
    pd.DataFrame({"store": ["NA", None], "y": ["NA", 1]}).to_csv(tmp_path / "u.csv", index=False)
    assert read_table(tmp_path / "u.csv", text=["store"]).isna().to_numpy().tolist() == [[False, True], [True, False]]


def test_whole_numbers_of_time_stay_such(tmp_path):
    rows().assign(ds=lambda d: d.groupby("store").cumcount()).to_csv(tmp_path / "t.csv", index=False)
    assert many(tmp_path / "t.csv").predict()["ds"].dtype == np.int64


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_without_a_column_is_named(kind, tmp_path):
    data = rows().assign(price=1.0 + np.arange(90) % 5)
    for k, part in enumerate((data, data.drop(columns="price"))):
        getattr(part, f"to_{kind}")(tmp_path / f"{k}.{kind}", index=False)
    with pytest.raises(DataError, match=f"1.{kind} has no column 'price', which other files have"):
        list(Source(tmp_path).batches(["store", "ds", "y", "price"]))


def test_files_may_hold_whole_numbers_and_fractions(tmp_path):
    first, second = rows(n=15).astype({"y": int, "store": "category"}), rows(n=15, start="2022-04-18")
    first.to_parquet(tmp_path / "a.parquet", index=False)
    second.assign(y=second["y"] + 0.5).to_parquet(tmp_path / "b.parquet", index=False)
    read = pd.concat(Source(tmp_path).batches(["store", "y"]))
    assert read["y"].sum() == first["y"].sum() + second["y"].sum() + 0.5 * len(second)
    rows(("1",)).astype({"store": int}).to_parquet(tmp_path / "c.parquet", index=False)
    with pytest.raises(DataError, match="do not fit together"):
        list(Source(tmp_path).batches(["store", "y"]))


def test_the_last_suffix_counts(tmp_path):
    rows().to_parquet(tmp_path / "sales.csv.parquet", index=False)
    assert Source(tmp_path / "sales.csv.parquet").rows() == 90


# -- the command line -------------------------------------------------------------------------------------------------

JOB = """
limits: {max_concurrent_trials: 0, max_trials: 1}
training: {allowed_training_algorithms: [SeasonalNaive]}
data: {target_column_name: y}
forecasting: {forecast_horizon: 2, time_column_name: ds, time_series_id_column_names: store}
"""
MANY = """
limits: {max_concurrent_trials: 0}
training: {allowed_training_algorithms: [SeasonalNaive]}
many: {partition_column_names: region}
"""


def cli(*words):
    return main([str(word) for word in words])


def test_groups_of_a_job_file_hold_series(tmp_path, capsys):
    names = {"store": "unique_id"}
    data = rows().rename(columns=names).assign(region="N")
    data.to_csv(tmp_path / "t.csv", index=False)
    later().rename(columns=names).assign(region="N").to_csv(tmp_path / "test.csv", index=False)
    job = tmp_path / "job.yml"
    job.write_text(MANY + "forecasting: {forecast_horizon: 2}\ndata: {test_data: test.csv}\n")
    fit = ("many", "fit", "--data", tmp_path / "t.csv", "--out", tmp_path / "J", "--job")
    assert cli(*fit, job) == 0
    assert cli(*fit, tmp_path / "J" / "job.yml") == 0
    assert ManyModels.load(tmp_path / "J").status()["series"].tolist() == [3]
    assert cli("many", "predict", "--job", job, "--run", tmp_path / "J", "--out", tmp_path / "F") == 0
    assert pd.read_parquet(tmp_path / "F")["unique_id"].nunique() == 3
    job.write_text(MANY + "data: {validation_data: t.csv}\n")
    assert cli(*fit, job) == 2
    assert "data.validation_data is of" in capsys.readouterr().err


def test_group_columns_are_no_covariates():
    raw = {
        "many": {"partition_column_names": "region"},
        "forecasting": {"features_unknown_at_forecast_time": ["p"], "time_column_name": "ds"},
        "data": {"target_column_name": "y"},
    }
    assert parse_job(raw).covariates(["region", "ds", "y", "p", "q"]).known == ("q",)


def test_a_job_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "job.yml").write_bytes("description: Umsätze".encode("latin-1"))
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        load_job(tmp_path / "job.yml")
    entry = {"fields": ["y"], "parameters": {"strategy": "constant", "fill_value": "zero"}}
    job = parse_job(
        {"featurization": {"transformer_params": {"imputer": [entry]}}, "data": {"target_column_name": "y"}}
    )
    with pytest.raises(ConfigError, match="fill_value must be a number, got the text 'zero'"):
        job.settings(["unique_id", "ds", "y"])


@pytest.mark.parametrize(("train", "new"), [("csv", "parquet"), ("parquet", "csv"), ("categories", "csv")])
def test_ids_are_read_as_in_training(train, new, tmp_path, capsys):
    data, newer = rows((1, 2, 3)), rows((1, 2, 3), 3, "2022-08-01")
    file = tmp_path / f"t.{'csv' if train == 'csv' else 'parquet'}"
    if train == "csv":
        data.to_csv(file, index=False)
    else:
        (data.astype({"store": "category"}) if train == "categories" else data).to_parquet(file, index=False)
    (tmp_path / "job.yml").write_text(JOB)
    assert cli("fit", file, "--job", tmp_path / "job.yml", "--out", tmp_path / "R") == 0
    getattr(newer, f"to_{new}")(tmp_path / f"h.{new}", index=False)
    ask = ("predict", tmp_path / "R", "--out", tmp_path / "p.csv", "--history")
    assert cli(*ask, tmp_path / f"h.{new}") == 0
    out = pd.read_csv(tmp_path / "p.csv")
    assert len(out) == 6
    assert out["ds"].min() == "2022-08-22"
    if train == "parquet":
        pd.concat([newer, later(("X9",))]).to_csv(tmp_path / "h.csv", index=False)
        assert cli(*ask, tmp_path / "h.csv") == 2
        assert "'store' holds 'X9'" in capsys.readouterr().err


def test_a_year_is_a_time_and_a_point_makes_no_file(tmp_path):
    rows(freq="YS", start="1990-01-01").to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "job.yml").write_text(JOB)
    assert cli("fit", tmp_path / "t.csv", "--job", tmp_path / "job.yml", "--out", tmp_path / "R") == 0
    assert cli("predict", tmp_path / "R", "--until", "2023", "--out", tmp_path / "p.csv") == 0
    assert pd.read_csv(tmp_path / "p.csv")["ds"].max() == "2023-01-01"
    assert cli("backtest", tmp_path / "R", "--windows", 1, "--out", tmp_path / "of_2024.05") == 0
    assert (tmp_path / "of_2024.05" / "scores.csv").is_file()


def test_ids_that_hold_a_slash_are_scored_apart():
    data = pd.concat([rows(("a/b",)).assign(x="c"), rows(("a",)).assign(x="b/c")])
    model = Forecaster(2, columns=Columns(id=["store", "x"], time="ds", target="y"), settings=Settings(search=ONE))
    names = set(model.fit(data).backtest_report(windows=1).scores["time_series_id"])
    assert {'"a/b"/c', 'a/"b/c"'} <= names
