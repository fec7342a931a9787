"""The theta method, fitted to all series at once by compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from forecasting.learners.base import FitContext, check_choices, gaussian_channels
from forecasting.learners.batch import Batch, Model

if TYPE_CHECKING:
    from forecasting.panel import Future, Panel

_METHODS = ("standard", "optimized", "dynamic", "dynamic_optimized", "auto")
_DECOMPOSITIONS = ("none", "additive", "multiplicative", "auto")


@dataclass(kw_only=True)
class Theta(Batch):
    """Theta models (Fiorucci et al. 2016) on the series without its season.

    A season is taken out where the autocorrelation at its lag is significant: multiplicative indices for positive
    series, else additive ones.

    Parameters
    ----------
    method : "standard" (theta 2), "optimized", "dynamic", "dynamic_optimized" or "auto" (the one with the least
        one-step errors, a parameter more counted as in AIC).
    decomposition : "none", "additive", "multiplicative" or "auto".

    Examples
    --------
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.arange(40.0)], TimeGrid.steps())
    >>> theta = Theta(method="standard").fit(panel, FitContext(horizon=2))
    >>> theta.forecast(panel, Future.bare(panel, 2), ()).point.round(1).tolist()
    [[39.5, 40.0]]
    """

    method: str = "dynamic"
    decomposition: str = "auto"

    name: ClassVar[str] = "Theta"

    def __post_init__(self) -> None:
        check_choices(self, {"method": _METHODS, "decomposition": _DECOMPOSITIONS})

    def inputs(self, panel: Panel) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's form
        """Return the history, and the time where a season counts from the grid's origin."""
        return ("target", "time") if self._season > 1 else ("target",)

    def _fit(self, panel: Panel, context: FitContext) -> Model:
        from forecasting.kernels import theta
        from forecasting.kernels.batch import over_slices

        n, m = panel.n_series, max(1, context.season)
        par, index, sigma = np.zeros((n, 4)), np.zeros((n, m)), np.zeros(n)
        kind, chosen = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        method, decomposition = _METHODS.index(self.method), _DECOMPOSITIONS.index(self.decomposition)
        y, indptr, start = panel.flat()

        def run(first: int, end: int) -> None:
            theta.fit(y, indptr, start, first, end, m, method, decomposition, par, kind, chosen, index, sigma)

        over_slices(
            run, panel.lengths, threads=context.threads, deadline=context.deadline, what=f"fitting {self.name}",
            fits=context.fits,
        )  # fmt: skip
        reason = np.zeros(n, dtype=np.int64)
        return {"par": par, "index": index, "sigma": sigma, "kind": kind, "chosen": chosen, "reason": reason}

    def _forecast(self, model: Model, panel: Panel, future: Future, levels: tuple[float, ...]) -> np.ndarray:
        from forecasting.kernels import theta

        y, indptr, start = panel.flat()
        point, spread = np.empty((panel.n_series, future.horizon)), np.empty((panel.n_series, future.horizon))
        m = model["index"].shape[1]
        args = (model[k] for k in ("par", "kind", "chosen", "index", "sigma"))
        theta.forecast(y, indptr, start, 0, panel.n_series, m, *args, point, spread)
        return gaussian_channels(point, spread, levels)
