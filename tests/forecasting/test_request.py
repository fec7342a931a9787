"""What a request for forecasts means: its rows, their order, origins, gaps, known values, strangers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, DataError
from forecasting.config import Covariates
from forecasting.forecaster import Forecaster
from tests.forecasting.frames import monthly, quick

HORIZON = 6


def later(frame, steps, ids=("s0", "s1", "s2"), skip=0):
    """Rows `skip`+1..`skip`+`steps` after the end of the frame."""
    days = pd.date_range(frame["ds"].max(), periods=skip + steps + 1, freq="MS")[1 + skip :]
    return pd.concat([pd.DataFrame({"unique_id": key, "ds": days}) for key in ids], ignore_index=True)


@pytest.fixture(scope="module")
def plain():
    frame = monthly()
    return Forecaster(HORIZON, settings=quick(4)).fit(frame), frame


@pytest.fixture(scope="module")
def priced():
    frame = monthly(extra=True)
    return Forecaster(HORIZON, known=["price"], settings=quick(4)).fit(frame), frame


def test_the_users_rows_come_back_in_their_order(plain):
    model, frame = plain
    rows = later(frame, HORIZON).sample(frac=1, random_state=0).assign(note="x")
    out = model.predict(rows, level=[80])
    pd.testing.assert_frame_equal(out[["unique_id", "ds"]], rows[["unique_id", "ds"]].reset_index(drop=True))
    whole = model.predict(level=[80]).set_index(["unique_id", "ds"]).sort_index()
    pd.testing.assert_frame_equal(out.set_index(["unique_id", "ds"]).sort_index(), whole, check_dtype=False)


def test_some_series_and_steps_alone(plain):
    model, frame = plain
    rows = later(frame, HORIZON, ids=["s1"]).iloc[[4, 1]]
    out = model.predict(rows)
    whole = model.predict().set_index(["unique_id", "ds"])["yhat"]
    np.testing.assert_allclose(out["yhat"], [whole["s1", d] for d in out["ds"]])


def test_a_gap_after_training_is_bridged(plain):
    model, frame = plain
    out = model.predict(later(frame, 3, skip=3))
    whole = model.predict().groupby("unique_id").tail(3)
    np.testing.assert_allclose(out["yhat"], whole["yhat"])


def test_a_gap_with_known_covariates_is_told_and_filled(priced, caplog):
    model, frame = priced
    rows = later(frame, 3, skip=3).assign(price=1.5)
    assert model.predict(rows)["yhat"].notna().all()
    assert "3 of 3 series have gaps; s0 lacks 3 of 6 steps" in caplog.text
    whole = later(frame, 6).assign(price=1.5)
    np.testing.assert_allclose(
        model.predict(whole)["yhat"].to_numpy().reshape(3, 6)[:, 3:].ravel(),
        model.predict(whole, history=None)["yhat"].to_numpy().reshape(3, 6)[:, 3:].ravel(),
    )


def test_series_may_ask_for_different_numbers_of_steps(priced):
    model, frame = priced
    rows = pd.concat([later(frame, 6, ids=["s0"]), later(frame, 2, ids=["s2"])]).assign(price=1.5)
    out = model.predict(rows)
    assert out["yhat"].notna().all()
    assert len(out) == 8


def test_history_keeps_known_values_and_fills_the_missing_ones(plain):
    model, frame = plain
    history = later(frame, 4).assign(y=np.tile([11.0, np.nan, 13.0, np.nan], 3))
    out = model.predict(later(frame, 6), history=history, level=[80])
    table = out["yhat"].to_numpy().reshape(3, 6)
    assert (table[:, 0] == 11.0).all()
    assert (table[:, 2] == 13.0).all()
    assert (out["yhat-lo-80"].to_numpy().reshape(3, 6)[:, 0] == 11.0).all()
    assert np.isfinite(table).all()
    # the missing value before the origin is forecast from the end of training
    np.testing.assert_allclose(table[:, 1], model.predict()["yhat"].to_numpy().reshape(3, 6)[:, 1])
    # what comes after the last known value starts from there
    moved = model.predict(history=history[history["ds"] <= history["ds"].unique()[2]], horizon=3)
    np.testing.assert_allclose(table[:, 3:], moved["yhat"].to_numpy().reshape(3, 3))


def test_known_values_in_the_request_are_kept_and_serve_as_history(plain):
    model, frame = plain
    rows = later(frame, 6).assign(y=np.tile([11.0, np.nan, 13.0, np.nan, np.nan, np.nan], 3))
    asked = rows.sample(frac=1, random_state=1)
    out = model.predict(asked, level=[80])
    assert out["ds"].tolist() == asked["ds"].tolist()
    by_history = model.predict(asked.drop(columns="y"), history=rows[rows["y"].notna()], level=[80])
    pd.testing.assert_frame_equal(out, by_history)
    given = asked["y"].notna().to_numpy()
    np.testing.assert_array_equal(out.loc[given, "yhat"], asked["y"].to_numpy()[given])
    assert out.loc[~given, "yhat"].notna().all()
    # a column without any value is the same as no column
    pd.testing.assert_frame_equal(model.predict(rows.assign(y=np.nan)), model.predict(rows.drop(columns="y")))


def test_context_rows_move_the_origin_of_each_series_by_itself(plain):
    model, frame = plain
    rows = later(frame, 6)
    known = {"s0": 0, "s1": 2, "s2": 4}
    at = rows.groupby("unique_id").cumcount()
    rows["y"] = np.where(at < rows["unique_id"].map(known), 20.0 + at, np.nan)
    whole = model.predict(rows).set_index("unique_id")["yhat"]
    for key, count in known.items():
        mine = rows[rows["unique_id"] == key]
        alone = model.predict(mine.iloc[count:].drop(columns="y"), history=mine.iloc[:count] if count else None)
        np.testing.assert_allclose(whole[key].iloc[count:], alone["yhat"])
        np.testing.assert_array_equal(whole[key].iloc[:count], mine["y"].iloc[:count])


def test_context_may_begin_inside_the_training_period_and_then_holds(plain):
    model, frame = plain
    context = frame.groupby("unique_id").tail(3)
    revised = context.assign(y=context["y"] + 5)
    rows = pd.concat([context, later(frame, 2)])
    out = model.predict(rows, model="ElasticNet")
    np.testing.assert_allclose(out["yhat"].iloc[:9], context["y"])
    np.testing.assert_allclose(out["yhat"].iloc[9:], model.predict(later(frame, 2), model="ElasticNet")["yhat"])
    moved = model.predict(pd.concat([revised, later(frame, 2)]), model="ElasticNet")
    assert (moved["yhat"].iloc[9:] > out["yhat"].iloc[9:]).all()
    with pytest.raises(DataError, match="9 rows lie inside the training period"):
        model.predict(rows.assign(y=np.nan))


def test_request_and_history_must_not_disagree(plain):
    model, frame = plain
    rows = later(frame, 2).assign(y=[11.0, np.nan] * 3)
    model.predict(rows, history=rows)
    with pytest.raises(DataError, match=r"disagree about series s1 at 2023-01-01T00:00:00: 12 against 11"):
        model.predict(rows, history=rows[rows["unique_id"] == "s1"].assign(y=12.0))


def test_a_request_whose_every_target_is_known_asks_for_nothing(plain):
    model, frame = plain
    with pytest.raises(DataError, match=r"'y' already, so there is nothing to forecast. Fix: .*drop\(columns='y'\)"):
        model.predict(later(frame, 2).assign(y=1.0))


def test_known_values_with_known_covariates_need_no_rows_before_them(priced):
    model, frame = priced
    rows = later(frame, 4).assign(price=1.5, y=np.tile([9.0, 8.0, np.nan, np.nan], 3))
    out = model.predict(rows)
    np.testing.assert_array_equal(out["yhat"].to_numpy().reshape(3, 4)[:, :2], [[9.0, 8.0]] * 3)
    assert out["yhat"].notna().all()


def test_trailing_rows_without_known_covariates_are_listed(priced, caplog):
    model, frame = priced
    rows = later(frame, 6).assign(price=[1.5] * 4 + [np.nan] * 2 + [1.5] * 12)
    out = model.predict(rows)
    assert "1 of 3 series have gaps; s0 lacks 2 of 6 steps, first 2023-05-01" in caplog.text
    # the others only see it in the mean price
    whole = model.predict(later(frame, 6).assign(price=1.5))
    np.testing.assert_allclose(out["yhat"].to_numpy()[6:], whole["yhat"].to_numpy()[6:], rtol=1e-3)


def test_a_series_with_nothing_given_is_an_error(priced):
    model, frame = priced
    rows = later(frame, 6).assign(price=[np.nan] * 6 + [1.5] * 12)
    with pytest.raises(DataError, match=r"1 of 3 series have gaps; s0 lacks 6 of 6 steps"):
        model.predict(rows)


def test_a_category_missing_in_training_may_be_missing_ahead(caplog):
    frame = monthly().assign(event=lambda f: np.where(f["ds"].dt.month == 12, "sale", None))
    model = Forecaster(3, known=["event"], settings=quick(1, allowed=["ElasticNet"])).fit(frame)
    out = model.predict(later(frame, 3).assign(event=None))
    assert out["yhat"].notna().all()
    assert not [m for m in caplog.messages if "covariates" in m]


def test_feeding_forecasts_back_is_logged(plain, caplog):
    model, frame = plain
    with caplog.at_level("WARNING", logger="forecasting"):
        model.predict(later(frame, HORIZON))
        assert not caplog.messages
        model.predict(later(frame, HORIZON + 2, ids=["s0"]))
        model.predict(horizon=HORIZON + 1)
    assert [text.split(",")[0] for text in caplog.messages] == [
        "1 series are forecast 8 steps ahead", "3 series are forecast 7 steps ahead",
    ]  # fmt: skip


def test_past_covariates_need_not_stand_in_a_request():
    frame = monthly(extra=True)
    model = Forecaster(3, past=["price"], settings=quick(2, allowed=["Naive", "ElasticNet"])).fit(frame)
    rows = later(frame, 3).assign(y=np.tile([9.0, np.nan, np.nan], 3))
    out = model.predict(rows, model="Naive")
    assert (out["yhat"] == 9.0).all()
    assert model.predict(rows, model="ElasticNet")["yhat"].notna().all()


def test_twice_the_horizon_equals_feeding_forecasts_back(plain):
    model, frame = plain
    long = model.predict(later(frame, 2 * HORIZON), model="ElasticNet")
    first = model.predict(model="ElasticNet")
    fed = first.rename(columns={"yhat": "y"})
    second = model.predict(later(frame, HORIZON, skip=HORIZON), history=fed, model="ElasticNet")
    table = long["yhat"].to_numpy().reshape(3, 2 * HORIZON)
    np.testing.assert_allclose(table[:, :HORIZON].ravel(), first["yhat"])
    np.testing.assert_allclose(table[:, HORIZON:].ravel(), second["yhat"], rtol=1e-9)


def test_quantiles_past_the_horizon_are_finite_and_wider(plain):
    model, _ = plain
    out = model.predict(horizon=3 * HORIZON, level=[80])
    width = (out["yhat-hi-80"] - out["yhat-lo-80"]).to_numpy().reshape(3, -1)
    assert np.isfinite(width).all()
    assert (width[:, -1] > width[:, HORIZON - 1]).all()


def test_until_a_date(plain):
    model, frame = plain
    end = frame["ds"].max() + pd.DateOffset(months=4)
    assert (
        model.predict(until=end).groupby("unique_id")["ds"].agg(["size", "max"]).to_numpy().tolist() == [[4, end]] * 3
    )
    assert len(model.predict(later(frame, 12), until=end)) == 12
    with pytest.raises(ConfigError, match="before the first step"):
        model.predict(until=frame["ds"].min())
    with pytest.raises(ConfigError, match="same thing twice"):
        model.predict(until=end, horizon=3)
    with pytest.raises(DataError, match="between two points"):
        model.predict(until=end + pd.Timedelta(days=3))


def test_series_end_at_different_times_and_until_reaches_each():
    frame = monthly()
    cut = frame.drop(frame[frame["unique_id"] == "s1"].index[-4:])
    model = Forecaster(3, settings=quick(2)).fit(cut)
    out = model.predict(until=frame["ds"].max() + pd.DateOffset(months=1))
    assert out.groupby("unique_id").size().to_dict() == {"s0": 1, "s1": 5, "s2": 1}


def test_an_unseen_series_starts_cold_or_from_its_own_history(plain):
    model, frame = plain
    rows = later(frame, HORIZON, ids=["s0", "stranger"])
    out = model.predict(rows, level=[80])
    assert out.groupby("unique_id")["cold_start"].all().to_dict() == {"s0": False, "stranger": True}
    assert out[["yhat", "yhat-lo-80", "yhat-hi-80"]].notna().all().all()
    known = model.predict(rows[rows["unique_id"] == "s0"], level=[80])
    np.testing.assert_allclose(out.loc[out["unique_id"] == "s0", "yhat"], known["yhat"])
    own = frame[frame["unique_id"] == "s2"].assign(unique_id="stranger").tail(24)
    warm = model.predict(rows, history=own, model="ElasticNet")
    assert "cold_start" not in warm
    near = frame.loc[frame["unique_id"] == "s2", "y"].tail(12)
    assert near.min() - 9 < warm.loc[warm["unique_id"] == "stranger", "yhat"].mean() < near.max() + 9


def test_a_stranger_of_a_known_shop_looks_like_its_shop():
    parts = [
        frame.assign(shop=shop, item=item, y=frame["y"] * factor)
        for shop, factor in (("small", 1.0), ("large", 100.0))
        for item, frame in monthly().groupby("unique_id")
    ]
    frame = pd.concat(parts).drop(columns="unique_id")
    from forecasting.config import Columns

    model = Forecaster(3, columns=Columns(id=["shop", "item"], time="ds", target="y"), settings=quick(4)).fit(frame)
    days = pd.date_range(frame["ds"].max(), periods=4, freq="MS")[1:]
    rows = pd.concat([pd.DataFrame({"shop": shop, "item": "new", "ds": days}) for shop in ("small", "large")])
    out = model.predict(rows).groupby("shop")["yhat"].mean()
    assert out["large"] > 20 * out["small"]


@pytest.mark.parametrize("fault", ["twice", "training", "grid", "column"])
def test_requests_that_make_no_sense_are_errors(plain, fault):
    model, frame = plain
    rows = later(frame, 2)
    bad, message = {
        "twice": (pd.concat([rows, rows.tail(1)]), r"1 rows ask for a step of their series twice, first: s2 in row 6"),
        "training": (pd.concat([rows, frame.tail(1)[["unique_id", "ds"]]]), r"1 rows lie inside the training period"),
        "grid": (rows.assign(ds=rows["ds"] + pd.Timedelta(days=1)), r"6 rows lie between two points"),
        "column": (rows.rename(columns={"ds": "when"}), r"no time column 'ds'"),
    }[fault]
    with pytest.raises(DataError, match=message):
        model.predict(bad)


def test_dropped_series_are_missing_values_in_the_users_order():
    frame = monthly()
    short = frame[frame["unique_id"] == "s0"].tail(4).assign(unique_id="short")
    model = Forecaster(HORIZON, settings=quick(2)).fit(pd.concat([frame, short]))
    rows = later(frame, 2, ids=["s1", "short", "s0"])
    out = model.predict(rows)
    assert out["unique_id"].tolist() == rows["unique_id"].tolist()
    assert out.set_index("unique_id")["yhat"].isna().groupby(level=0).all().to_dict() == {
        "s0": False, "s1": False, "short": True,
    }  # fmt: skip
    told = model.predict(rows, history=short)
    pd.testing.assert_frame_equal(told[["unique_id", "ds"]], out[["unique_id", "ds"]])
    assert told["yhat"].notna().all()


def test_fitted_values_stand_beside_the_truth(plain):
    model, frame = plain
    out = model.fitted_values(5)
    assert out.columns.tolist() == ["unique_id", "ds", "y", "yhat"]
    want = frame.groupby("unique_id").tail(5).reset_index(drop=True)
    pd.testing.assert_frame_equal(out[["unique_id", "ds", "y"]], want, check_dtype=False)
    assert np.abs(out["yhat"] - out["y"]).mean() < 2
    with pytest.raises(ConfigError, match="at least 1"):
        model.fitted_values(0)


def test_whole_numbers_and_the_floor_are_settings():
    frame = monthly()
    frame["y"] = frame["y"].mean() - frame["y"]
    settings = replace(quick(4), integer=True, non_negative=True, quantiles=(0.05, 0.95))
    model = Forecaster(HORIZON, settings=settings).fit(frame)
    free = Forecaster(HORIZON, settings=replace(settings, integer=False, non_negative=None)).fit(frame)
    rows = later(frame, 2 * HORIZON)
    ours, exact = (m.predict(rows).filter(like="yhat").to_numpy() for m in (model, free))
    np.testing.assert_array_equal(ours, np.rint(ours))
    assert (ours >= 0).all()
    assert (exact < 0).any()
    assert (np.diff(ours[:, 1:], axis=1) >= 0).all()
    first = np.tile(np.arange(2 * HORIZON) < HORIZON, 3)
    np.testing.assert_array_equal(ours[first], np.rint(np.maximum(exact[first], 0)))


def test_a_number_can_be_read_as_a_category():
    frame = monthly(extra=True)
    frame["kind"] = frame.groupby("unique_id").cumcount() % 3
    data = replace(quick(4).data, covariates=Covariates(known=["kind"]), kinds={"kind": "category"})
    model = Forecaster(HORIZON, settings=replace(quick(4), data=data)).fit(frame)
    assert model._schema.kinds == (("kind", "category"),)
    assert dict(model._schema.vocabulary)["kind"] == ("0", "1", "2")
    with pytest.raises(ConfigError, match=r"kinds\['kind'\] must be one of"):
        replace(data, kinds={"kind": "text"})
