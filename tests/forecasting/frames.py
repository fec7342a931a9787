"""Small frames and quick settings for tests of the whole."""

import numpy as np
import pandas as pd

from automl.budget import ExitCriteria
from forecasting.config import SearchSettings, Settings


def monthly(n_series=3, rows=60, seed=0, extra=None, noise=0.3):
    """Long frame unique_id, ds, y with a monthly season; `extra` adds a known price that matters."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(n_series):
        t = np.arange(rows)
        price = 1 + rng.random(rows)
        y = 10 * (i + 1) + 0.1 * t + 3 * np.sin(2 * np.pi * t / 12) + rng.standard_normal(rows) * noise
        frame = pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range("2018-01-01", periods=rows, freq="MS"),
                "y": y - (price if extra else 0),
            }
        )
        if extra:
            frame["price"] = price
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def tried(model, metric=None):
    """The leaderboard without what was not tried."""
    board = model.leaderboard(metric)
    return board[board["status"] != "skipped"]


def quick(trials=4, **search):
    """Settings that end within seconds: cheap learners and few trials."""
    chosen = {"allowed": ["SeasonalNaive", "Average", "ElasticNet"], "n_windows": 2, **search}
    return Settings(search=SearchSettings(limits=ExitCriteria(max_trials=trials), **chosen))
