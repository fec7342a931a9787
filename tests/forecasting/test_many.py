"""Many models: one choice a group, whatever the pieces, the backend and the faults."""

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

from automl.budget import ExitCriteria
from automl.errors import ConfigError, DataError, RunError
from automl.locks import owned
from forecasting import Columns, Forecaster, ManyModels
from forecasting.config import SearchSettings, Settings
from forecasting.many.choice import RULES, Rule, apart, group_errors, shares
from forecasting.many.pieces import hash_of, piece_of, read_groups, text_of
from forecasting.many.source import Source

COLUMNS = Columns(id=("store", "brand"), time="week", target="sold")
QUICK = Settings(search=SearchSettings(allowed=["SeasonalNaive", "Theta", "LightGBM"]))


def sales(stores=8, weeks=60, seed=0):
    """Weekly sales of two brands a store that a price moves."""
    rng = np.random.default_rng(seed)
    parts = []
    for store in range(stores):
        for brand in ("plain", "pulp"):
            price = 2 + rng.random(weeks)
            level = rng.lognormal(5, 0.5) * (1 + 0.2 * np.sin(np.arange(weeks) / 6))
            parts.append(
                pd.DataFrame(
                    {
                        "week": pd.date_range("2020-01-02", periods=weeks, freq="W-THU"),
                        "store": store,
                        "brand": brand,
                        "sold": np.rint(level * np.exp(-0.4 * price + 0.1 * rng.standard_normal(weeks))),
                        "price": price,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def split(frame, horizon=4):
    late = frame.groupby(["store", "brand"]).cumcount(ascending=False) < horizon
    return frame[~late].reset_index(drop=True), frame[late].reset_index(drop=True)


def many(**changes):
    asked = {"by": ["store", "brand"], "columns": COLUMNS, "known": ["price"], "settings": QUICK, "workers": 1}
    return ManyModels(4, **(asked | changes))


@pytest.fixture(scope="module")
def frames():
    return split(sales())


@pytest.fixture(scope="module")
def fitted(frames, tmp_path_factory):
    return many(piece_rows=300).fit(frames[0], path=tmp_path_factory.mktemp("many") / "job")


# -- hashes and pieces ------------------------------------------------------------------------------------------------


def test_pieces_hold_ranges_of_the_hash():
    places = sorted(hash_of((str(i),)) for i in range(200))
    pieces = [piece_of(p, 7) for p in places]
    assert pieces == sorted(pieces)
    assert set(pieces) == set(range(7))
    assert piece_of(2**64 - 1, 7) == 6


def test_keys_are_text_whatever_the_type():
    assert text_of(pd.Series([1, 2])).tolist() == text_of(pd.Series([1.0, 2.0])).tolist() == ["1", "2"]
    with pytest.raises(DataError, match="'brand' holds 1 missing"):
        text_of(pd.Series(["a", None], name="brand"))


# -- the choice -------------------------------------------------------------------------------------------------------


def test_shares_follow_the_groups_own_errors_held_back_by_all():
    errors = np.full((2, 3, 2), 1.0)
    errors[0, :, 0], errors[1, :, 1] = 0.2, 0.2
    weights = shares(errors, np.array([1.0, 1.0]), Rule(1, 0.0))
    assert weights.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    unseen = shares(np.full((2, 3, 1), np.nan), np.array([1.0, 3.0]), Rule(1, 0.0))
    assert unseen.tolist() == [[1.0, 0.0]]
    for rule in RULES:
        assert shares(errors, np.array([1.0, 2.0]), rule).sum(axis=1) == pytest.approx(1.0)


def test_weights_of_a_window_do_not_know_it():
    rng = np.random.default_rng(0)
    errors = rng.random((3, 3, 5))
    before = apart(errors, np.ones(3), RULES[1])
    errors[:, 1] = 99.0
    assert apart(errors, np.ones(3), RULES[1])[1] == pytest.approx(before[1])


def test_errors_of_a_group_are_means_of_its_series():
    errors = np.array([[[1.0, 3.0, np.nan]]])
    assert group_errors(errors, np.array([0, 0, 1]), 2).tolist() == [[[2.0, pytest.approx(np.nan, nan_ok=True)]]]


# -- the whole way ----------------------------------------------------------------------------------------------------


def test_every_group_has_a_choice_and_a_forecast(fitted, frames):
    status = fitted.status()
    assert len(status) == 16
    assert set(status["status"]) == {"done"}
    assert set(status["learner"]) <= {"SeasonalNaive", "Theta", "LightGBM", "LightGBM_2"}
    assert status["mase"].notna().all()
    future = frames[1].drop(columns="sold")
    out = fitted.predict(future, level=[80], quantiles=[0.1])
    assert list(out.columns) == ["store", "brand", "week", "yhat", "yhat-q-0.1", "yhat-lo-80", "yhat-hi-80"]
    assert len(out) == len(future)
    assert (out["yhat-lo-80"] <= out["yhat"]).all()
    both = out.merge(frames[1])
    assert len(both) == len(future)
    assert (both["yhat"] - both["sold"]).abs().sum() < 0.35 * both["sold"].sum()


def test_forecasts_depend_on_no_piece(fitted, frames):
    future = frames[1].drop(columns="sold")
    shuffled = frames[0].sample(frac=1.0, random_state=1)
    one = many().fit(shuffled)
    first, second = fitted.predict(future, level=[80]), one.predict(future, level=[80])
    assert read_groups(fitted.path / "pieces")[0] > 2
    assert read_groups(one.path / "pieces")[0] == 1
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_some_groups_alone_are_forecast_as_among_all(fitted, frames):
    future = frames[1].drop(columns="sold")
    whole = fitted.predict(future, level=[80])
    some = fitted.predict(future, level=[80], groups=[(3, "pulp"), (5, "plain")])
    wanted = whole.merge(pd.DataFrame({"store": [3, 5], "brand": ["pulp", "plain"]}))
    pd.testing.assert_frame_equal(some, wanted, check_exact=True)
    with pytest.raises(DataError, match="no group 99/pulp"):
        fitted.predict(future, groups=[(99, "pulp")])


def test_history_moves_the_origin_and_rolls(fitted, frames):
    test = frames[1]
    newer = test[test["week"] == test["week"].min()]
    out = fitted.predict(test.drop(columns="sold"), history=newer)
    first = out[out["week"] == newer["week"].iloc[0]]
    merged = first.merge(newer, on=["store", "brand", "week"])
    assert (merged["yhat"] == merged["sold"]).all()
    rolled = fitted.rolling_forecast(test, step=2, quantiles=[0.5])
    assert set(rolled.groupby(["store", "brand"])["cutoff"].nunique()) == {1}
    with pytest.raises(DataError, match="price"):
        fitted.predict()


def test_backtest_is_made_of_weights_that_do_not_know_the_window(fitted, frames):
    back = fitted.backtest(quantiles=[0.1, 0.9])
    cutoffs = back.groupby(["store", "brand"])["cutoff"].nunique()
    assert set(cutoffs) == {3}
    assert (back["yhat-q-0.1"] <= back["yhat-q-0.9"]).all()
    joined = back.merge(frames[0], on=["store", "brand", "week"])
    assert (joined["sold_x"] == joined["sold_y"]).all()
    assert fitted.backtest(groups=[(1, "pulp")])["store"].unique().tolist() == [1]


def test_a_saved_job_forecasts_the_same(fitted, frames):
    future = frames[1].drop(columns="sold")
    again = ManyModels.load(fitted.path, workers=1)
    pd.testing.assert_frame_equal(again.predict(future), fitted.predict(future), check_exact=True)
    assert again.leaderboard()["model"].iloc[0] == "GroupChoice"
    with pytest.raises(RunError, match="holds no many-models job"):
        ManyModels.load(fitted.path / "pieces")


def test_predicting_into_a_folder_goes_on_where_it_was(fitted, frames, tmp_path):
    future = frames[1].drop(columns="sold")
    rows = fitted.predict_into(tmp_path / "out", future)
    files = sorted((tmp_path / "out").glob("part-*.parquet"))
    stamps = [f.stat().st_mtime_ns for f in files]
    files[1].unlink()
    (tmp_path / "out" / f".done-{files[1].stem[5:]}").unlink()
    assert fitted.predict_into(tmp_path / "out", future) == rows == len(future)
    assert files[0].stat().st_mtime_ns == stamps[0]
    assert pd.read_parquet(tmp_path / "out").groupby(["store", "brand"]).size().max() == 4
    with pytest.raises(RunError, match="another answer"):
        fitted.predict_into(tmp_path / "out", future, level=[80])


# -- sources ----------------------------------------------------------------------------------------------------------


def test_files_give_what_the_frame_gives(fitted, frames, tmp_path):
    train, test = frames
    train.to_csv(tmp_path / "train.csv", index=False)
    for name, part in train.groupby("brand"):
        folder = tmp_path / "hive" / f"brand={name}"
        folder.mkdir(parents=True)
        part.drop(columns="brand").to_parquet(folder / "rows.parquet", index=False)
    test.drop(columns="sold").to_parquet(tmp_path / "future.parquet", index=False)
    expected = fitted.predict(test.drop(columns="sold"))
    for source in ("train.csv", "hive"):
        got = many().fit(tmp_path / source).predict(tmp_path / "future.parquet")
        assert got["yhat"].to_numpy() == pytest.approx(expected["yhat"].to_numpy(), rel=1e-9)


def test_a_source_says_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        Source(tmp_path / "nothing.parquet").names()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="cannot be read"):
        Source(tmp_path / "broken.parquet").names()
    with pytest.raises(DataError, match="no column 'sold'"):
        list(Source(pd.DataFrame({"a": [1]})).batches(["sold"]))


# -- faults -----------------------------------------------------------------------------------------------------------


def test_no_more_is_read_than_is_used(tmp_path):
    pa = pytest.importorskip("pyarrow")
    for k in range(30):
        pd.DataFrame({"x": np.random.default_rng(k).random(100_000)}).to_parquet(tmp_path / f"{k}.parquet")
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for batch in Source(tmp_path).batches(["x"]):
        time.sleep(0.01)
        most = max(most, pa.total_allocated_bytes() - before)
        rows += len(batch)
    assert rows == 3_000_000
    assert most < 6 * 800_000


def poisoned(frame):
    """One group with text, one of a single row, one without any value."""
    frame = frame.astype({"sold": object})
    frame.loc[frame.index[(frame["store"] == 1) & (frame["brand"] == "pulp")][7], "sold"] = "n/a"
    frame.loc[(frame["store"] == 2) & (frame["brand"] == "pulp"), "sold"] = np.nan
    single = frame[(frame["store"] == 3) & (frame["brand"] == "pulp")].index[:-1]
    return frame.drop(single).reset_index(drop=True)


def test_poisoned_groups_are_told_and_spoil_no_other(fitted, frames):
    train, test = frames
    bad = many(piece_rows=200).fit(poisoned(train))
    status = bad.status().set_index(["store", "brand"])
    assert (status["status"] == "done").sum() == 13
    text, empty, single = (status.loc[(k, "pulp")] for k in (1, 2, 3))
    assert (text["status"], empty["status"], single["status"]) == ("fallback", "failed", "fallback")
    assert "'sold' is no number in 1 of 56 rows, first 'n/a'" in text["error"]
    assert "no target value at all" in empty["error"]
    assert "1 rows" in single["error"]
    out = bad.predict(test.drop(columns="sold"), level=[80]).set_index(["store", "brand"])
    assert out.loc[(2, "pulp"), "yhat"].isna().all()
    assert out.drop((2, "pulp"))["yhat"].notna().all()


def test_a_key_that_splits_a_series_is_an_error(frames):
    months = frames[0].assign(month=frames[0]["week"].dt.month)
    with pytest.raises(DataError, match=r"lies in two groups .* split it"):
        many(by=["month"]).fit(months)


def test_groups_of_several_series_choose_together(frames):
    by_store = many(by="store").fit(frames[0])
    status = by_store.status()
    assert len(status) == 8
    assert set(status["series"]) == {2}
    out = by_store.predict(frames[1].drop(columns="sold"))
    assert len(out) == len(frames[1])


def test_arguments_and_folders_are_checked(frames, tmp_path):
    with pytest.raises(ConfigError, match="search must be one of"):
        many(search="fast")
    with pytest.raises(ConfigError, match="search='each'"):
        many(time_limit=5)
    with pytest.raises(ConfigError, match="Prophet is no learner that groups can share"):
        many(settings=Settings(search=SearchSettings(allowed=["Prophet"]))).fit(frames[0])
    with pytest.raises(DataError, match="by names 'shop'"):
        many(by="shop").fit(frames[0])
    (tmp_path / "other.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="holds other files"):
        many().fit(frames[0], path=tmp_path)
    job = tmp_path / "job"
    many().fit(frames[0], path=job)
    with owned(job / ".owner.lock", "it"), pytest.raises(RunError, match="another live process works on the job in"):
        many().fit(frames[0], path=job)
    with pytest.raises(RunError, match="a job with other source"):
        many().fit(frames[0].iloc[:-1], path=job)
    with pytest.raises(DataError, match="groups that training did not have, first 77/plain"):
        ManyModels.load(job, workers=1).predict(frames[1].drop(columns="sold").replace({"store": {1: 77}}))


def test_killed_at_any_time_nothing_is_lost_or_doubled(fitted, frames, tmp_path):
    train, test = frames
    train.to_parquet(tmp_path / "train.parquet", index=False)
    script = tmp_path / "fit.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from tests.forecasting.test_many import many
            if __name__ == "__main__":
                many(piece_rows=100).fit(r"{tmp_path / "train.parquet"}", path=r"{tmp_path / "job"}")
            """
        ),
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    for seconds in (1.0, 4.0):
        process = subprocess.Popen([sys.executable, str(script)], env=environment, start_new_session=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, str(script)], env=environment, check=True, timeout=120)
    resumed = ManyModels.load(tmp_path / "job", workers=1)
    assert len(resumed.status()) == 16
    future = test.drop(columns="sold")
    assert resumed.predict(future)["yhat"].to_numpy() == pytest.approx(
        fitted.predict(future)["yhat"].to_numpy(), rel=1e-9
    )
    kept = sorted(p.name for p in (tmp_path / "job").iterdir() if not p.name.startswith("."))
    assert kept == ["forecasts", "many.json", "models", "pieces", "shared", "status"]


# -- a search for each ------------------------------------------------------------------------------------------------


def test_a_search_for_each_group(frames):
    train, test = split(sales(stores=2))
    settings = Settings(search=SearchSettings(limits=ExitCriteria(max_trials=2), allowed=["SeasonalNaive", "Theta"]))
    each = many(search="each", settings=settings).fit(train)
    status = each.status()
    assert set(status["status"]) == {"done"}
    assert status["seconds"].gt(0).all()
    assert len(list((each.path / "models").iterdir())) == 1
    out = each.predict(test.drop(columns="sold"), level=[80])
    assert len(out) == len(test)
    one = train[(train["store"] == 1) & (train["brand"] == "pulp")]
    alone = Forecaster(4, columns=COLUMNS, known=["price"], settings=settings).fit(one)
    future = test[(test["store"] == 1) & (test["brand"] == "pulp")].drop(columns="sold")
    expected = alone.predict(future, level=[80])["yhat"].to_numpy()
    assert out.merge(future)["yhat"].to_numpy() == pytest.approx(expected)
    assert len(each.backtest()) > 0
    assert len(each.rolling_forecast(test)) == len(test)
    with pytest.raises(ConfigError, match="is of search='shared'"):
        each.leaderboard()
