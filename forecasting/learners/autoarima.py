"""Auto-ARIMA, fitted to all series at once by compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from automl.errors import ConfigError
from forecasting.learners.base import FitContext, check_choices, gaussian_channels
from forecasting.learners.batch import Batch, Model

if TYPE_CHECKING:
    from forecasting.panel import Block, Future, Panel

_LONGEST_SEASON = 24
"""Longer seasons are told by Fourier terms: their ARMA terms would remember thousands of steps."""

_MOST = {"max_p": 5, "max_q": 5, "max_seasonal_p": 2, "max_seasonal_q": 2, "max_d": 2, "max_seasonal_d": 1}
_SEASONAL_TESTS = {"strength": 0, "ocsb": 1}
"""Name -> number in `unitroot`."""

_HARMONICS = (0, 1, 2, 3, 4, 6, 8, 10)


@dataclass(kw_only=True)
class AutoArima(Batch):
    """Seasonal ARIMA with orders chosen by AICc (Hyndman & Khandakar 2008), exact maximum likelihood.

    Differences by KPSS tests, a seasonal one where the season's strength exceeds 0.64 or by the OCSB test. Seasons of
    more than 24 steps enter as Fourier terms, as many pairs as AICc takes. A choice whose forecast leaves the band of
    3 ranges is rejected for the next best (`rejected` counts them).

    Parameters
    ----------
    max_p, max_q, max_seasonal_p, max_seasonal_q : most terms. max_d, max_seasonal_d : most differences.
    seasonal_test : "strength" or "ocsb".
    stepwise : search by neighbours; False = all orders of at most 5 terms. seasonal : whether seasonal terms are used.
    most_evaluations : likelihoods computed for one series, at most: its cap, the same on every machine.

    Examples
    --------
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.arange(40.0)], TimeGrid.steps())
    >>> arima = AutoArima().fit(panel, FitContext(horizon=2))
    >>> arima.forecast(panel, Future.bare(panel, 2), ()).point.round(3).tolist()
    [[40.0, 41.0]]
    """

    max_p: int = 5
    max_q: int = 5
    max_seasonal_p: int = 2
    max_seasonal_q: int = 2
    max_d: int = 2
    max_seasonal_d: int = 1
    seasonal_test: str = "strength"
    stepwise: bool = True
    seasonal: bool = True
    most_evaluations: int = 20_000

    name: ClassVar[str] = "AutoArima"

    def __post_init__(self) -> None:
        check_choices(self, {"seasonal_test": tuple(_SEASONAL_TESTS)})
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and 0 <= value <= most):
                raise ConfigError(f"{name} of {self.name} must be a whole number 0..{most}, got {value!r}.")
        if self.most_evaluations < 100:
            raise ConfigError(f"most_evaluations of {self.name} must be at least 100, got {self.most_evaluations!r}.")

    def _fit(self, panel: Panel, context: FitContext) -> Model:
        from forecasting.kernels import arima
        from forecasting.kernels.arima_fit import PARAMETERS
        from forecasting.kernels.batch import over_slices

        n, season = panel.n_series, max(1, context.season)
        y, indptr, _ = panel.flat()
        harmonics = _harmonics(panel, season) if self.seasonal and season > _LONGEST_SEASON else 0
        m, seasonal = self._period(season)
        usual, spread = self._usual(panel)
        design = self._design(panel, panel.known, panel.step_of_rows(), season, harmonics, usual, spread)
        test = _SEASONAL_TESTS[self.seasonal_test]
        limits = np.array([*(getattr(self, name) for name in _MOST), test], dtype=np.int64)
        fixed = np.full(arima.ORDER, -1, dtype=np.int64)
        order, u = np.zeros((n, arima.ORDER), dtype=np.int64), np.zeros((n, PARAMETERS))
        beta, figures, reason = np.zeros((n, design.shape[1] + 1)), np.zeros((n, 5)), np.zeros(n, dtype=np.int64)

        def run(first: int, end: int) -> None:
            arima.fit_series(
                y, indptr, design, first, end, m, self.stepwise, seasonal, limits, context.horizon,
                self.most_evaluations, fixed, order, u, beta, figures, reason,
            )  # fmt: skip

        over_slices(
            run, panel.lengths, threads=context.threads, deadline=context.deadline, what=f"fitting {self.name}",
            fits=context.fits,
        )  # fmt: skip
        return {
            "order": order, "u": u, "beta": beta, "figures": figures, "aicc": figures[:, 3].copy(), "reason": reason,
            "rejected": figures[:, 4].astype(np.int64),
            "harmonics": np.full(n, harmonics), "usual": np.tile(usual, (n, 1)), "spread": np.tile(spread, (n, 1)),
        }  # fmt: skip

    def _forecast(self, model: Model, panel: Panel, future: Future, levels: tuple[float, ...]) -> np.ndarray:
        from forecasting.kernels import arima

        y, indptr, _ = panel.flat()
        season = self._season
        m, seasonal = self._period(season)
        harmonics, usual, spread = int(model["harmonics"][0]), model["usual"][0], model["spread"][0]
        steps = (panel.last[:, None] + 1 + np.arange(future.horizon)).ravel()
        design = self._design(panel, panel.known, panel.step_of_rows(), season, harmonics, usual, spread)
        ahead = self._design(panel, future.known, steps, season, harmonics, usual, spread)
        point, width = np.empty((panel.n_series, future.horizon)), np.empty((panel.n_series, future.horizon))
        arima.forecast_series(
            y, indptr, design, ahead, 0, panel.n_series, m, seasonal, model["order"], model["u"], model["beta"],
            model["figures"], point, width,
        )  # fmt: skip
        return gaussian_channels(point, width, levels)

    def _period(self, season: int) -> tuple[int, bool]:
        """Steps of the seasonal terms, and whether there are any."""
        return (season, self.seasonal and season > 1) if season <= _LONGEST_SEASON else (1, False)

    # -- regressors ---------------------------------------------------------------------------------------------------

    def _usual(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread of the covariates used, to bring them onto one scale. Shapes [k]."""
        if not self.uses_covariates or not panel.n_rows:
            k = len(self._numeric(panel.known)) if self.uses_covariates else 0
            return np.zeros(k), np.ones(k)
        values = panel.known.values[:, self._numeric(panel.known)]
        spread = values.std(axis=0)
        return values.mean(axis=0), np.where(spread > 0, spread, 1.0)

    @staticmethod
    def _numeric(block: Block) -> list[int]:
        return [k for k, name in enumerate(block.names) if block.categories(name) is None]

    def _design(
        self, panel: Panel, known: Block, steps: np.ndarray, season: int, harmonics: int, usual: np.ndarray,
        spread: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Regressors of some rows, shape [rows, k], contiguous."""
        columns = fourier(steps, season, harmonics)
        if self.uses_covariates:
            own = (known.values[:, self._numeric(panel.known)] - usual) / spread
            columns = np.concatenate([columns, own], axis=1)
        return np.ascontiguousarray(columns, dtype=np.float64)


@dataclass(kw_only=True)
class Arimax(AutoArima):
    """Regression on the known numeric covariates with ARIMA errors, orders chosen as by `AutoArima`.

    Examples
    --------
    >>> Arimax.uses_covariates
    True
    """

    name: ClassVar[str] = "Arimax"
    uses_covariates: ClassVar[bool] = True


def fourier(steps: np.ndarray, season: int, harmonics: int) -> np.ndarray:
    """Sines and cosines of a season at some grid steps. Shape [rows, 2 harmonics].

    Examples
    --------
    >>> fourier(np.array([0, 1, 2]), 4, 1).round(6).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]
    """
    angle = 2 * np.pi * (steps % season)[:, None] * np.arange(1, harmonics + 1) / season
    return np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(len(steps), 2 * harmonics)


def _harmonics(panel: Panel, season: int) -> int:
    """Number of Fourier pairs that most of a sample of series takes by the AICc of a regression on differences."""
    votes = []
    for i in np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, 50)).astype(int)):
        y = np.diff(panel.series(i))
        n = len(y)
        steps = panel.start[i] + np.arange(n + 1)
        best, choice = np.inf, 0
        for count in _HARMONICS:
            size = 2 * count + 2
            if 2 * count >= season or n < 2 * season or n - size - 1 <= 0:
                continue
            x = np.column_stack([np.ones(n), np.diff(fourier(steps, season, count), axis=0)])
            rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
            value = n * np.log(max(float(rest @ rest), 1e-280)) + 2 * size + 2 * size * (size + 1) / (n - size - 1)
            if value < best:
                best, choice = value, count
        votes.append(choice)
    return int(np.median(votes)) if votes else 0
