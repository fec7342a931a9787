"""Compiling all kernels ahead of time, for containers and the first run of the day."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from forecasting.learners.base import LEARNERS, FitContext
from forecasting.panel import Future, Panel
from forecasting.timegrid import TimeGrid


def warm() -> dict[str, float]:
    """Make a matrix, fit and forecast a few short series with every learner on compiled kernels: what -> seconds.

    The compiled code is kept in a folder of the user (`FORECASTLE_CACHE_DIR` names another one), so that later
    processes load it instead.
    """
    from forecasting.features.decompose import decompose
    from forecasting.features.plan import FeaturePlan
    from forecasting.features.settings import PlanSettings
    from forecasting.lagged import pivot
    from forecasting.learners.batch import Batch
    from forecasting.learners.mstl import MSTL

    rng = np.random.default_rng(0)
    rows = np.arange(40)
    panel = Panel.from_arrays(
        [10 + rng.random(40) + np.sin(rows * np.pi / 2), rng.poisson(0.3, 40).astype(float)], TimeGrid.steps()
    )
    context, start = FitContext(horizon=4, season=4), perf_counter()
    decompose(panel.y, panel.indptr, 4)
    plan = FeaturePlan.fit(panel, PlanSettings(), context)
    scaled = plan.scale(panel)
    plan.design(scaled, *plan.training_rows(scaled, 0))
    pivot(panel, lags=[1], windows=[2])
    seconds = {"features": perf_counter() - start}
    for name in LEARNERS:
        cls = LEARNERS.load(name)
        if not issubclass(cls, (Batch, MSTL)):
            continue
        start = perf_counter()
        learner = cls().fit(panel, context)
        learner.forecast(panel, Future.bare(panel, 4), (0.1, 0.9))
        seconds[name] = perf_counter() - start
    return seconds
