"""Data every user has: generated weekly sales with a known truth, and real monthly series our dependencies ship."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from automl.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_PRODUCTS = ("coffee", "tea", "juice", "water", "cider", "cocoa")
_PRICES = (6.5, 4.0, 3.2, 1.1, 2.8, 5.4)
_PEAK_WEEK = (2, 4, 28, 30, 40, 50)
_DISCOUNT = 0.2
_PROMOTION_LIFT = 0.35
_HOLIDAY_LIFT = 0.15


def demo_sales(
    *,
    stores: int = 3,
    products: int = 3,
    weeks: int = 156,
    first_week: str = "2021-01-04",
    country: str = "US",
    seed: int = 7,
    truth: bool = False,
) -> DataFrame:
    """Generate weekly sales of some products in some stores, with price, promotion and public holidays at work.

    Mean demand is level x growth x yearly season x (price / list price) ^ elasticity x exp(0.35 in promotion weeks)
    x exp(0.15 a public holiday of the week); units are Poisson draws around it.

    Parameters
    ----------
    stores, products : how many of each, every store sells every product; at most 6 products.
    weeks : rows a series, one a week.
    first_week : the first week's Monday.
    country : ISO 3166 code of the holidays that lift demand.
    seed : the same seed gives the same frame.
    truth : whether to add the column `expected`, the mean demand behind the draw (units; the best possible forecast).

    Returns
    -------
    `store`, `product`, `week` (Mondays), `price` (money a unit), `promotion` (0 or 1), `units` (pieces a week).

    Examples
    --------
    >>> frame = demo_sales(stores=1, products=2, weeks=3)
    >>> frame[["store", "product", "week", "promotion"]].to_string(index=False, header=False).splitlines()[0].split()
    ['north', 'coffee', '2021-01-04', '0']
    """
    _check_sizes(stores, products, weeks)
    rng = np.random.default_rng(seed)
    week = pd.date_range(first_week, periods=weeks, freq="W-MON", unit="ns")
    holiday_days = _holidays_a_week(week, country)
    parts = []
    for s in range(stores):
        for p in range(products):
            promotion = rng.random(weeks) < 0.12
            list_price = _PRICES[p] * rng.uniform(0.95, 1.05) * np.cumprod(1 + 0.02 * (np.arange(weeks) % 52 == 51))
            price = np.round(list_price * (1 - _DISCOUNT * promotion), 2)
            level = rng.uniform(80, 240) * (1 - 0.15 * s / stores)
            growth = np.exp(rng.uniform(-0.05, 0.10) * np.arange(weeks) / 52)
            season = np.exp(0.3 * np.cos(2 * np.pi * (week.day_of_year.to_numpy() / 7 - _PEAK_WEEK[p]) / 52.18))
            elasticity = rng.uniform(-2.0, -1.0)
            lift = np.exp(_PROMOTION_LIFT * promotion + _HOLIDAY_LIFT * holiday_days)
            expected = level * growth * season * (price / list_price) ** elasticity * lift
            part = pd.DataFrame(
                {
                    "store": _store_name(s),
                    "product": _PRODUCTS[p],
                    "week": week,
                    "price": price,
                    "promotion": promotion.astype(np.int64),
                    "units": rng.poisson(expected),
                }
            )
            parts.append(part.assign(expected=expected) if truth else part)
    return pd.concat(parts, ignore_index=True)


def _check_sizes(stores: int, products: int, weeks: int) -> None:
    for name, value, most in (("stores", stores, 1000), ("products", products, len(_PRODUCTS)), ("weeks", weeks, 2000)):
        if not 1 <= value <= most:
            raise ConfigError(f"demo_sales: {name} must lie in 1..{most}, got {value!r}.")


def _store_name(number: int) -> str:
    names = ("north", "south", "west", "east")
    return names[number] if number < len(names) else f"store {number + 1}"


def _holidays_a_week(week: pd.DatetimeIndex, country: str) -> np.ndarray:
    """Public holidays in the seven days from each Monday, shape [weeks]."""
    from forecasting.features.holidays import check_country, holiday_days

    days, _ = holiday_days(check_country(country), int(week[0].year) - 1, int(week[-1].year) + 1)
    monday = week.to_numpy().astype("datetime64[D]").astype(np.int64)
    return np.asarray(np.searchsorted(days, monday + 7) - np.searchsorted(days, monday))


def shipped_monthly() -> DataFrame:
    """Four real monthly series that installed packages ship; nothing is fetched.

    Returns
    -------
    Long frame `unique_id`, `ds` (first of the month), `y`, 1103 rows:

    * `airline_passengers`, thousands, 1949-1960 (Box & Jenkins; from pmdarima);
    * `australian_wine`, thousand litres sold, 1980-1994 (from pmdarima);
    * `co2`, parts per million at Mauna Loa, 1958-2001, mean of each month's weekly values, 5 months missing
      (Keeling & Whorf; from statsmodels);
    * `electrical_equipment`, turnover index of the euro area, 1995-2016 (Eurostat; from statsmodels).
    """
    from pmdarima.datasets import load_airpassengers, load_wineind
    from statsmodels.datasets import co2, elec_equip

    weekly = co2.load_pandas().data["co2"]
    index = elec_equip.load_pandas().data.iloc[:, 0]
    return pd.concat(
        [
            _long("airline_passengers", load_airpassengers(), "1949-01-01"),
            _long("australian_wine", load_wineind(), "1980-01-01"),
            _long("co2", _monthly_mean(weekly), f"{weekly.index[0]:%Y-%m-01}"),
            _long("electrical_equipment", index.to_numpy(), f"{index.index[0]:%Y-%m-01}"),
        ],
        ignore_index=True,
    )


def _monthly_mean(weekly: Series) -> np.ndarray:
    return weekly.resample("MS").mean().to_numpy()


def _long(name: str, values: np.ndarray, start: str) -> DataFrame:
    stamps = pd.date_range(start, periods=len(values), freq="MS", unit="ns")
    return pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.asarray(values, dtype=float)})
