"""Exponential smoothing in state-space form (ETS), one model a series, all of them estimated by compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import ndtri

from forecasting.learners.base import check_choices
from forecasting.learners.batch import Batch, Model

if TYPE_CHECKING:
    from forecasting.learners.base import FitContext
    from forecasting.panel import Future, Panel

_LONGEST_SEASON = 366
_PATHS = 1_000
_ERRORS = {"A": 0, "M": 1}
_TRENDS = {"N": 0, "A": 1, "Ad": 2, "M": 3, "Md": 4}
_SEASONS = {"N": 0, "A": 1, "M": 2}


@dataclass(kw_only=True)
class ExponentialSmoothing(Batch):
    """ETS (Hyndman, Koehler, Ord & Snyder 2008), the form chosen by AICc among those admissible for the series.

    Gains and states before the first row maximise the likelihood (seasonal states of seasons above 24 follow a
    classical decomposition). Multiplicative forms are admissible for strictly positive series only, seasonal ones
    from two seasons (and 10 rows) on; additive errors meet multiplicative parts only where both were asked for, and
    multiplicative trends where they were. A form whose forecast leaves the band of 3 ranges makes way for the next
    best. Of a series, the last 10 seasons are used, but at least its last 2,000 rows.

    Parameters
    ----------
    error : "auto", "add" or "mul". trend : "auto" (none or additive), "none", "add" or "mul".
    damped : "auto", True or False. season : "auto", "none", "add" or "mul".

    Examples
    --------
    >>> from forecasting.learners.base import FitContext
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.arange(30.0)], TimeGrid.steps())
    >>> ets = ExponentialSmoothing(trend="add", damped=False).fit(panel, FitContext(horizon=2))
    >>> ets.forecast(panel, Future.bare(panel, 2), ()).point.round(3).tolist()
    [[30.0, 31.0]]
    """

    error: str = "auto"
    trend: str = "auto"
    damped: str | bool = "auto"
    season: str = "auto"

    name: ClassVar[str] = "ExponentialSmoothing"

    def __post_init__(self) -> None:
        options = {
            "error": ("auto", "add", "mul"),
            "trend": ("auto", "none", "add", "mul"),
            "damped": ("auto", True, False),
            "season": ("auto", "none", "add", "mul"),
        }
        check_choices(self, options)

    def most_rows(self, season: int) -> int:
        """How many of the latest rows are used; a season beyond 366 steps is none."""
        return super().most_rows(season if season <= _LONGEST_SEASON else 1)

    def forms(self) -> np.ndarray:
        """Codes of error, trend and season that the settings allow, simplest first. Shape [n, 3] int64.

        Examples
        --------
        >>> ExponentialSmoothing(trend="none", season="none").forms().tolist()
        [[0, 0, 0], [1, 0, 0]]
        """
        damping = {"auto": ["", "d"], True: ["d"], False: [""]}[self.damped]
        additive, multiplicative = ["A" + d for d in damping], ["M" + d for d in damping]
        trends = {"auto": ["N", *additive], "none": ["N"], "add": additive, "mul": multiplicative}[self.trend]
        seasons = {"auto": "NAM", "none": "N", "add": "NA", "mul": "NM"}[self.season]
        errors = {"auto": "AM", "add": "A", "mul": "M"}[self.error]
        asked = self.error == "add"
        codes = [
            (_ERRORS[e], _TRENDS[t], _SEASONS[s])
            for s, e, t in product(seasons, errors, trends)
            # unstable by the book: an additive error under parts that multiply
            if not (e == "A" and s == "M" and not (asked and self.season == "mul"))
            and not (e == "A" and t[0] == "M" and not (asked and self.trend == "mul"))
            and not (t[0] == "M" and s == "A")
        ]
        return np.array(codes, dtype=np.int64).reshape(-1, 3)

    def inputs(self, panel: Panel) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's form
        """Return the history, and the time where a season counts from the grid's origin."""
        return ("target", "time") if self._season > 1 else ("target",)

    def _fit(self, panel: Panel, context: FitContext) -> Model:
        from forecasting.kernels.batch import over_slices
        from forecasting.kernels.ets_search import fit_series

        n, season, forms = panel.n_series, self._cycle(), self.forms()
        params, finals = np.zeros((n, 6 + season)), np.zeros((n, 2 + season))
        numbers, codes = np.zeros((n, 3)), np.zeros((n, 6), dtype=np.int64)
        values, observed = np.ascontiguousarray(panel.y), np.ascontiguousarray(panel.observed)
        indptr = np.ascontiguousarray(panel.indptr)
        # a season that was asked for is used wherever the series admits one
        insist = int(self.season in ("add", "mul"))
        args = (forms, season, context.horizon, insist, params, finals, numbers, codes)

        def run(first: int, end: int) -> None:
            fit_series(values, observed, indptr, first, end, *args)

        over_slices(
            run, panel.lengths, threads=context.threads, deadline=context.deadline, what=f"fitting {self.name}",
            fits=context.fits,
        )  # fmt: skip
        return {
            "reason": codes[:, 3].copy(),
            "rejected": codes[:, 4].copy(),
            "form": codes[:, :3].copy(),
            "params": params,
            "finals": finals,
            "numbers": numbers,
            "begin": panel.start.astype(np.int64),
            "last": panel.last.astype(np.int64),
        }

    def _forecast(self, model: Model, panel: Panel, future: Future, levels: tuple[float, ...]) -> np.ndarray:
        from forecasting.kernels import ets_forecast as kernels
        from forecasting.kernels.batch import over_slices

        n, horizon, season = panel.n_series, future.horizon, self._cycle()
        out = np.full((n, horizon, 1 + len(levels)), np.nan)
        # the fit's own first row, its last row followed by new ones, or rows of which the fit says nothing
        begin, last = model["begin"], model["last"]
        known = (panel.start <= begin) & (panel.last >= begin)
        later = ~known & (panel.start <= last + 1) & (panel.last >= last)
        origin = np.where(known, kernels.FROM_START, np.where(later, kernels.FROM_END, kernels.AFRESH)).astype(np.int64)
        skip = np.where(known, begin - panel.start, np.where(later, last + 1 - panel.start, 0)).astype(np.int64)
        if len(levels):
            # the same errors for every series: its forecast does not depend on its place in the panel
            errors = np.random.default_rng(self._seed).standard_normal((horizon, _PATHS))
        else:
            errors = np.zeros((0, _PATHS))
        args = (
            origin,
            skip,
            *(np.ascontiguousarray(model[name]) for name in ("params", "finals", "numbers", "form")),
            errors,
            np.array(levels, dtype=np.float64),
            ndtri(np.array(levels, dtype=np.float64)),
            out,
        )
        values, observed = np.ascontiguousarray(panel.y), np.ascontiguousarray(panel.observed)
        indptr = np.ascontiguousarray(panel.indptr)

        def run(first: int, end: int) -> None:
            kernels.forecast_series(values, observed, indptr, first, end, season, *args)

        over_slices(run, panel.lengths, what=f"forecasting {self.name}")
        return out

    def _cycle(self) -> int:
        return self._season if self._season <= _LONGEST_SEASON else 1
