"""Complex exponential smoothing, fitted to all series at once by compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from forecasting.learners.base import FitContext, check_choices, gaussian_channels
from forecasting.learners.batch import Batch, Model

if TYPE_CHECKING:
    from forecasting.panel import Future, Panel

_LONGEST_SEASON = 366
_SEASONS = ("none", "simple", "partial", "full")


@dataclass(kw_only=True)
class ComplexSmoothing(Batch):
    """Complex exponential smoothing (Svetunkov, Kourentzes & Ord 2022), the form chosen by AICc.

    Level and trend are one complex number, so that a series need not be declared to have a trend. A seasonal form is
    admissible from two seasons and 3 rows on. A form whose forecast leaves the band of 3 ranges makes way for the next
    best; where all do, the forecast is level.

    Parameters
    ----------
    season : "none", "simple" (a complex pair for each step of the season), "partial" (additive seasonal states), "full"
        (complex seasonal states) or "auto" (all compete). Series too short for the seasonal form that was asked for
        get the one without.

    Examples
    --------
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.full(30, 7.0)], TimeGrid.steps())
    >>> ces = ComplexSmoothing().fit(panel, FitContext(horizon=2))
    >>> ces.forecast(panel, Future.bare(panel, 2), ()).point.round(3).tolist()
    [[7.0, 7.0]]
    """

    season: str = "auto"

    name: ClassVar[str] = "ComplexSmoothing"

    def __post_init__(self) -> None:
        check_choices(self, {"season": ("auto", *_SEASONS)})

    def most_rows(self, season: int) -> int:
        """How many of the latest rows are used; a season beyond 366 steps is none."""
        return super().most_rows(season if season <= _LONGEST_SEASON else 1)

    def _fit(self, panel: Panel, context: FitContext) -> Model:
        from forecasting.kernels import ces
        from forecasting.kernels.batch import over_slices

        n, m = panel.n_series, self._cycle()
        forms = np.array([self.season in (name, "auto") for name in _SEASONS])
        par, numbers, codes = np.zeros((n, 4)), np.zeros((n, 2)), np.zeros((n, 3), dtype=np.int64)
        y, indptr, _ = panel.flat()

        def run(first: int, end: int) -> None:
            ces.fit(y, indptr, first, end, m, forms, context.horizon, par, numbers, codes)

        over_slices(
            run, panel.lengths, threads=context.threads, deadline=context.deadline, what=f"fitting {self.name}",
            fits=context.fits,
        )  # fmt: skip
        return {
            "reason": codes[:, ces.REASON].copy(),
            "rejected": codes[:, ces.REJECTED].copy(),
            "codes": codes,
            "par": par,
            "numbers": numbers,
        }

    def _forecast(self, model: Model, panel: Panel, future: Future, levels: tuple[float, ...]) -> np.ndarray:
        from forecasting.kernels import ces

        y, indptr, _ = panel.flat()
        point, spread = np.empty((panel.n_series, future.horizon)), np.empty((panel.n_series, future.horizon))
        args = (np.ascontiguousarray(model[name]) for name in ("par", "numbers", "codes"))
        ces.forecast(y, indptr, 0, panel.n_series, self._cycle(), *args, point, spread)
        return gaussian_channels(point, spread, levels)

    def _cycle(self) -> int:
        return self._season if self._season <= _LONGEST_SEASON else 1
