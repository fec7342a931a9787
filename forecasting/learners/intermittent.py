"""Learners for intermittent demand, all series at once by compiled kernels."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from automl.errors import ConfigError
from forecasting.learners.batch import INADMISSIBLE, Batch, Model

if TYPE_CHECKING:
    from forecasting.learners.base import FitContext
    from forecasting.panel import Future, Panel

_METHODS = {"classic": 0, "sba": 1, "optimized": 2, "TSB": 3, "ADIDA": 4, "IMAPA": 5}


@dataclass(kw_only=True)
class Intermittent(Batch, ABC):
    """What they share: the same rate for every step ahead, quantiles from past sizes and the chance of demand.

    A series with a negative value is no demand and is forecast by its last season instead. A series without any
    demand is forecast as 0.
    """

    reasons: ClassVar[dict[int, str]] = {**Batch.reasons, INADMISSIBLE: "negative values are no demand"}

    def _method(self) -> tuple[int, float]:
        """Code of the method in the kernel, and the smoothing parameter (0 = the best)."""
        return _METHODS[self.name], 0.0

    def _fit(self, panel: Panel, context: FitContext) -> Model:
        _, reason = self._rates(panel, context)
        return {"reason": reason}

    def _forecast(self, model: Model, panel: Panel, future: Future, levels: tuple[float, ...]) -> np.ndarray:  # noqa: ARG002 - nothing is kept but the reason
        from forecasting.kernels import intermittent

        rate, _ = self._rates(panel, None)
        y, indptr, _ = panel.flat()
        seen = np.ascontiguousarray(panel.observed)
        quantiles = np.empty((panel.n_series, len(levels)))
        intermittent.count_quantiles(y, seen, indptr, 0, panel.n_series, rate, np.array(levels), quantiles)
        channels = np.concatenate([rate[:, None], quantiles], axis=1)
        return np.repeat(channels[:, None, :], future.horizon, axis=1)

    def _rates(self, panel: Panel, context: FitContext | None) -> tuple[np.ndarray, np.ndarray]:
        """Expected demand a step of each series, and why there is none. Shapes [n]."""
        from forecasting.kernels import intermittent
        from forecasting.kernels.batch import over_slices

        y, indptr, _ = panel.flat()
        seen = np.ascontiguousarray(panel.observed)
        rate, reason = np.zeros(panel.n_series), np.zeros(panel.n_series, dtype=np.int64)
        method, alpha = self._method()

        def run(first: int, end: int) -> None:
            intermittent.rates(y, seen, indptr, first, end, method, alpha, rate, reason)

        threads, deadline = (context.threads, context.deadline) if context else (1, None)
        fits = context.fits if context else 1
        over_slices(run, panel.lengths, threads=threads, deadline=deadline, what=f"fitting {self.name}", fits=fits)
        return rate, reason


@dataclass(kw_only=True)
class Croston(Intermittent):
    """Croston's method: smoothed size of demand over smoothed time between demands (Croston 1972).

    Parameters
    ----------
    variant : "classic", "sba" (Syntetos & Boylan's correction of its bias) or "optimized" (the smoothing parameter
        with the least squared errors of the rate). alpha : smoothing parameter of the first two.

    Examples
    --------
    >>> from forecasting.learners.base import FitContext
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.array([0.0, 0, 6, 0, 0, 6, 0, 0, 6])], TimeGrid.steps())
    >>> croston = Croston(variant="classic").fit(panel, FitContext(horizon=2))
    >>> croston.forecast(panel, Future.bare(panel, 2), (0.5, 0.9)).values.tolist()
    [[[2.0, 0.0, 6.0], [2.0, 0.0, 6.0]]]
    """

    variant: str = "sba"
    alpha: float = 0.1

    name: ClassVar[str] = "Croston"

    def __post_init__(self) -> None:
        if self.variant not in ("classic", "sba", "optimized"):
            raise ConfigError(f"variant of Croston must be 'classic', 'sba' or 'optimized', got {self.variant!r}.")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha of Croston must lie between 0 and 1, got {self.alpha!r}.")

    def _method(self) -> tuple[int, float]:
        return _METHODS[self.variant], float(self.alpha)


@dataclass(kw_only=True)
class TSB(Intermittent):
    """Smoothed size of demand times its smoothed chance, which falls while nothing is sold (Teunter et al. 2011).

    Both smoothing parameters are those with the least squared errors on a grid.
    """

    name: ClassVar[str] = "TSB"


@dataclass(kw_only=True)
class ADIDA(Intermittent):
    """Smoothing of sums over the mean time between demands, shared out evenly (Nikolopoulos et al. 2011)."""

    name: ClassVar[str] = "ADIDA"


@dataclass(kw_only=True)
class IMAPA(Intermittent):
    """Mean of ADIDA over all levels up to the mean time between demands (Petropoulos & Kourentzes 2015)."""

    name: ClassVar[str] = "IMAPA"
