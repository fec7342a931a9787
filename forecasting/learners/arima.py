"""Automatic ARIMA, one model a series: orders by pmdarima, forecasts from the filtered state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from automl.errors import ConfigError, LearnerError
from forecasting.learners.base import gaussian_channels
from forecasting.learners.local import History, Local, Model, sane

if TYPE_CHECKING:
    from forecasting.panel import Block

_LEAST_ROWS, _LEAST_SEASONS = 120, 10
_LONGEST_SEASON = 24
_CYCLES = 3


@dataclass(kw_only=True)
class PmdArima(Local):
    """Seasonal ARIMA with orders found stepwise by AIC (Hyndman & Khandakar 2008, JSS 27(3)).

    Seasonal orders are tried for seasons of up to 24 steps that the series covers three times. The search is bounded
    by counts, not by time, so it gives the same model on any machine. Of a series, the last 10 seasons are used, at
    least its last 120 rows. New history is filtered with the parameters estimated in `fit`. Quantiles are normal,
    from the variance of the prediction.

    Parameters
    ----------
    max_p, max_q : most (seasonally unlagged) AR and MA terms. max_P, max_Q : most seasonal ones (0 or 1 are quick).
    max_order : most terms in all. maxiter : most iterations of the optimiser for one model.
    """

    max_p: int = 3
    max_q: int = 3
    max_P: int = 1  # noqa: N815 - the field's name
    max_Q: int = 1  # noqa: N815 - the field's name
    max_order: int = 4
    maxiter: int = 15

    name: ClassVar[str] = "PmdArima"

    def __post_init__(self) -> None:
        for name in ("max_p", "max_q", "max_P", "max_Q", "max_order", "maxiter"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < (1 if name == "maxiter" else 0):
                raise ConfigError(f"{name} of {self.name} must be a whole number, not negative, got {value!r}.")

    def most_rows(self, season: int) -> int:
        """Return 10 seasons, at least 120 rows."""
        return max(_LEAST_ROWS, _LEAST_SEASONS * season) if season <= _LONGEST_SEASON else _LEAST_ROWS

    def _estimate(self, history: History, horizon: int) -> Model:
        from pmdarima import auto_arima

        scale = float(np.abs(history.y).mean()) or 1.0
        y = history.y / scale
        cyclic = 1 < self._season <= _LONGEST_SEASON and len(y) >= _CYCLES * self._season
        found = auto_arima(
            y,
            start_p=min(1, self.max_p),
            start_q=min(1, self.max_q),
            start_P=min(1, self.max_P),
            start_Q=min(1, self.max_Q),
            max_p=self.max_p,
            max_q=self.max_q,
            max_P=self.max_P,
            max_Q=self.max_Q,
            max_order=self.max_order,
            m=self._season if cyclic else 1,
            seasonal=cyclic,
            stepwise=True,
            maxiter=self.maxiter,
            suppress_warnings=True,
            error_action="ignore",
            # orders of differencing do not change during the search, so differencing first is the same and quicker
            sarimax_kwargs={"simple_differencing": True},
        )
        model: Model = {
            "order": [int(k) for k in found.order],
            "seasonal_order": [int(k) for k in found.seasonal_order],
            "intercept": bool(found.with_intercept),
            "params": [float(p) for p in found.params()],
            "scale": scale,
        }
        point, _ = _filtered(model, y, horizon)
        if not sane(point, y):
            raise LearnerError(f"the forecast of ARIMA{found.order}{found.seasonal_order} explodes")
        return model

    def _predict(self, model: Model, history: History, ahead: Block, horizon: int, levels: tuple) -> np.ndarray:  # noqa: ARG002 - the shared form
        scale = model["scale"]
        point, spread = _filtered(model, history.y / scale, horizon)
        return gaussian_channels(scale * point[None], scale * spread[None], levels)[0]


def _filtered(model: Model, y: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Forecast and its standard deviation, both [horizon], after running the fixed model over a series [n]."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    arguments: dict[str, Any] = {
        "order": tuple(model["order"]),
        "seasonal_order": tuple(model["seasonal_order"]),
        "trend": "c" if model["intercept"] else None,
    }
    ahead = SARIMAX(y, **arguments).filter(np.array(model["params"])).get_forecast(horizon)
    return np.asarray(ahead.predicted_mean), np.sqrt(np.maximum(np.asarray(ahead.var_pred_mean), 0.0))
