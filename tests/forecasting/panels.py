"""Panels for tests: small, seeded, with everything a feature can read."""

import numpy as np

from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid


def small_panel(lengths=(40, 52, 61), *, freq="MS", season=12, seed=0, covariates=True, positive=True):
    """Seasonal series with a price that matters, a category, a past covariate and a static one."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.steps() if freq == "step" else TimeGrid(freq, "2001-01-01" if freq != "W-THU" else "2001-01-04")
    n, rows = len(lengths), int(sum(lengths))
    price = 1 + rng.random(rows)
    t = np.concatenate([np.arange(k) for k in lengths])
    scale = np.repeat(10.0 ** np.arange(n), lengths)
    y = scale * (5 + 0.02 * t + np.sin(2 * np.pi * t / season) - 0.8 * (price - 1) + 0.1 * rng.standard_normal(rows))
    if not positive:
        y = y - 5 * scale
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    known = past = static = None
    if covariates:
        flags = rng.integers(0, 2, rows).astype(float)
        known = Block(
            ("price", "kind"), np.stack([price, flags], axis=1), np.ones((rows, 2), dtype=bool), (("kind", ("a", "b")),)
        )
        past = Block(("visits",), (y / scale + rng.standard_normal(rows))[:, None], np.ones((rows, 1), dtype=bool))
        static = Block(("size",), np.arange(n, dtype=float)[:, None], np.ones((n, 1), dtype=bool))
    series = [y[indptr[i] : indptr[i + 1]] for i in range(n)]
    return Panel.from_arrays(series, grid, ids=[(f"s{i}",) for i in range(n)], known=known, past=past, static=static)


def future_of(panel, horizon, seed=1):
    """Future covariates with the panel's columns."""
    rng = np.random.default_rng(seed)
    rows = panel.n_series * horizon
    k = len(panel.known.names)
    values = 1 + rng.random((rows, k))
    for c, name in enumerate(panel.known.names):
        if panel.known.categories(name) is not None:
            values[:, c] = rng.integers(0, 2, rows)
    return Future(horizon, Block(panel.known.names, values, np.ones((rows, k), dtype=bool), panel.known.vocabulary))
