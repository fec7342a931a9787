"""pmdarima's auto_arima, stepwise, with its defaults, on many series (see work.py)."""

from __future__ import annotations

import warnings

import numpy as np
import pmdarima
from work import main

warnings.filterwarnings("ignore")


def ask(method: str, series: list[np.ndarray], horizon: int, season: int) -> np.ndarray:
    if method != "arima":
        raise SystemExit(f"pmdarima has no {method}")
    out = np.full((len(series), horizon, 3), np.nan)
    for i, y in enumerate(series):
        try:
            fit = pmdarima.auto_arima(y, m=season, seasonal=season > 1, error_action="ignore", suppress_warnings=True)
            mean, bounds = fit.predict(horizon, return_conf_int=True, alpha=0.2)
        except Exception:  # noqa: BLE001, S112 - a failed series counts as such
            continue
        out[i] = np.column_stack([mean, bounds])
    return out


if __name__ == "__main__":
    main(ask, "pmdarima", pmdarima.__version__)
