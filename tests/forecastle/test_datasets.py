"""The generated sales hold what they promise; the shipped series are the published ones and need no network."""

import socket

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError
from forecasting.datasets import demo_sales, shipped_monthly


def test_every_series_is_complete_weekly_and_reproducible():
    frame = demo_sales(stores=2, products=3, weeks=60)
    again = demo_sales(stores=2, products=3, weeks=60)
    pd.testing.assert_frame_equal(frame, again)
    assert not frame.equals(demo_sales(stores=2, products=3, weeks=60, seed=8))
    assert frame.groupby(["store", "product"]).size().tolist() == [60] * 6
    for _, part in frame.groupby(["store", "product"]):
        assert (part["week"].diff().dropna() == pd.Timedelta(days=7)).all()
        assert (part["week"].dt.day_of_week == 0).all()
    assert frame.notna().all().all()
    assert (frame["units"] >= 0).all()
    assert (frame["price"] > 0).all()


def test_units_are_poisson_around_the_truth():
    frame = demo_sales(stores=20, products=6, weeks=100, truth=True)
    z = (frame["units"] - frame["expected"]) / np.sqrt(frame["expected"])
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert z.std() == pytest.approx(1, abs=0.03)


def test_promotion_holiday_and_price_work_as_written():
    frame = demo_sales(stores=4, products=6, weeks=150, truth=True)
    on = frame[frame["promotion"] == 1]
    assert 0.08 < len(on) / len(frame) < 0.16
    # demand of a promoted week over the two plain weeks around it: the lift times what the discount does at the price
    # elasticities of -2 to -1, exp(0.35) * 0.8 ** -[1, 2] = 1.8 to 2.2 where no holiday interferes
    by_series = frame.groupby(["store", "product"])
    before, after = by_series.shift(1), by_series.shift(-1)
    plain = (before["promotion"] == 0) & (after["promotion"] == 0) & (frame["promotion"] == 1)
    ratio = frame["expected"][plain] / np.sqrt(before["expected"][plain] * after["expected"][plain])
    assert 1.6 < ratio.median() < 2.3
    thanksgiving = frame["week"] == pd.Timestamp("2022-11-21")
    week_before = frame["week"] == pd.Timestamp("2022-11-14")
    calm = (frame["promotion"] == 0).to_numpy()
    lifted = frame["expected"][thanksgiving].to_numpy() / frame["expected"][week_before].to_numpy()
    both_calm = calm[thanksgiving.to_numpy()] & calm[week_before.to_numpy()]
    assert np.median(lifted[both_calm]) == pytest.approx(np.exp(0.15), abs=0.06)


@pytest.mark.parametrize("bad", [{"stores": 0}, {"products": 7}, {"weeks": 0}])
def test_sizes_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        demo_sales(**bad)


def test_shipped_series_are_the_published_ones_without_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a data set reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    frame = shipped_monthly()
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    by_id = {key: part.set_index("ds")["y"] for key, part in frame.groupby("unique_id")}
    assert {key: len(part) for key, part in by_id.items()} == {
        "airline_passengers": 144,
        "australian_wine": 176,
        "co2": 526,
        "electrical_equipment": 257,
    }
    for part in by_id.values():
        assert part.index.equals(pd.date_range(part.index[0], periods=len(part), freq="MS", unit="ns"))
    # published values: Box & Jenkins series G, and the sources' own first and last figures
    assert by_id["airline_passengers"]["1949-01-01"] == 112
    assert by_id["airline_passengers"]["1960-12-01"] == 432
    assert by_id["australian_wine"]["1980-01-01"] == 15136
    assert by_id["australian_wine"].index[-1] == pd.Timestamp("1994-08-01")
    assert by_id["electrical_equipment"]["1995-01-01"] == 66.19
    assert by_id["electrical_equipment"]["2016-05-01"] == 97.86
    assert by_id["co2"]["1958-04-01"] == pytest.approx(np.mean([317.3, 317.6, 317.5, 316.4]))
    assert by_id["co2"].isna().sum() == 5
    assert frame["y"].notna().sum() == len(frame) - 5
