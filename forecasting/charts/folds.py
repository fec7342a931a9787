"""What a forecast-horizon chart shows: a few series, a few origins each, a little before and more after each origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from automl.errors import DataError
from forecasting.plots import interval_columns, keys_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FOLDS, MAX_SERIES, BEFORE, AFTER = 5, 20, 20, 80


@dataclass(frozen=True, slots=True)
class Fold:
    """One series seen from one origin. Times are numpy dates or numbers, values float64 with NaN where missing.

    Parameters
    ----------
    series : its name. origin : the last time of training. past_x, past_y : actual values up to it.
    x, y, yhat : times after it, actual values, forecasts. low, high : bounds of the interval, None = there is none.
    """

    series: str
    origin: np.generic
    past_x: np.ndarray
    past_y: np.ndarray
    x: np.ndarray
    y: np.ndarray
    yhat: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None

    def fan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Times, forecast and bounds, starting in the last actual value where it stands right at the origin."""
        at_origin = len(self.past_x) > 0 and self.past_x[-1] == self.origin and np.isfinite(self.past_y[-1])
        if not at_origin:
            return self.x, self.yhat, self.low, self.high
        start = self.past_y[-1:]
        low, high = (None if side is None else np.concatenate([start, side]) for side in (self.low, self.high))
        return np.concatenate([self.past_x[-1:], self.x]), np.concatenate([start, self.yhat]), low, high


@dataclass(frozen=True, slots=True)
class Folds:
    """Folds series by series, oldest origin first.

    Parameters
    ----------
    by_series : a list for each series. label : of the interval, "" = none. note : what was left out, "" = nothing.
    """

    by_series: list[list[Fold]]
    label: str
    note: str

    @property
    def widest(self) -> int:
        """Most origins a series has."""
        return max(len(folds) for folds in self.by_series)


def folds_of(
    predictions: pd.DataFrame,
    history: pd.DataFrame,
    *,
    ids: Sequence[str],
    time: str,
    target: str,
    max_series: int = MAX_SERIES,
    max_folds: int = MAX_FOLDS,
) -> Folds:
    """Cut predictions into folds.

    Parameters
    ----------
    predictions : ids, time, cutoff, target, yhat, and quantile columns, the widest pair of which is the interval.
    history : ids, time, target of the rows around the origins; actual values of the predictions need not be there.
    max_series : the first so many series. max_folds : the newest so many origins of each.

    Raises
    ------
    DataError : there is no prediction, or a column is missing.
    """
    ids = tuple(ids)
    missing = [c for c in (*ids, time, "cutoff", target, "yhat") if c not in predictions.columns]
    if missing or predictions.empty:
        found = f"no column {missing[0]!r}" if missing else "no row"
        raise DataError(f"there is nothing to draw: the predictions have {found}.")
    low, high, label = interval_columns(predictions) or (None, None, "")
    key = keys_of(predictions, ids)
    names = list(dict.fromkeys(key))
    origins = int(predictions.groupby(key)["cutoff"].nunique().max())
    seen = dict(list(history.groupby(keys_of(history, ids), sort=False)))
    by_series = []
    for name in names[:max_series]:
        rows = predictions[(key == name).to_numpy()].sort_values([time, "cutoff"], kind="stable")
        actual = pd.concat([seen.get(name, history.iloc[:0])[[time, target]], rows[[time, target]]])
        # of a time that both hold, the row with a value; a time without one stays, as a gap of the line
        actual = actual.sort_values(target, na_position="last").drop_duplicates(time).sort_values(time)
        text = " / ".join(str(v) for v in rows[list(ids)].iloc[0]) if ids else target
        by_series.append(
            [
                _fold(text, cutoff, part, actual, (time, target, low, high))
                for cutoff, part in list(rows.groupby("cutoff", sort=True))[-max_folds:]
            ]
        )
    notes = [f"{len(by_series)} of {len(names)} series"] if len(names) > max_series else []
    notes += [f"the newest {max_folds} of {origins} origins"] if origins > max_folds else []
    return Folds(by_series, label, ", ".join(notes))


def _fold(
    name: str,
    cutoff: object,
    rows: pd.DataFrame,
    actual: pd.DataFrame,
    columns: tuple[str, str, str | None, str | None],
) -> Fold:
    time, target, low, high = columns
    rows = rows.head(AFTER)
    past = actual[actual[time] <= cutoff].tail(BEFORE)

    def numbers(column: str) -> np.ndarray:
        return rows[column].to_numpy(dtype=float, na_value=np.nan)

    return Fold(
        series=name,
        origin=_stamps(pd.Series([cutoff]))[0],
        past_x=_stamps(past[time]),
        past_y=past[target].to_numpy(dtype=float),
        x=_stamps(rows[time]),
        y=numbers(target),
        yhat=numbers("yhat"),
        low=numbers(low) if low else None,
        high=numbers(high) if high else None,
    )


def _stamps(times: pd.Series) -> np.ndarray:
    """Times as numpy takes them; zoned ones as their clock shows them."""
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_localize(None)
    return times.to_numpy()
