"""Auto-ARIMA, fitted to all series at once by compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from automl.errors import ConfigError, DataError
from forecasting.learners.base import FitContext, check_choices, gaussian_channels
from forecasting.learners.batch import FITTED, Batch, Model

if TYPE_CHECKING:
    from forecasting.panel import Block, Future, Panel

_LONGEST_SEASON = 24
"""Longer seasons are told by Fourier terms: their ARMA terms would remember thousands of steps."""

_MOST = {"max_p": 5, "max_q": 5, "max_seasonal_p": 2, "max_seasonal_q": 2, "max_d": 2, "max_seasonal_d": 1}
_SEASONAL_TESTS = {"strength": "by_strength", "ocsb": "by_ocsb"}
"""Name -> kernel in `unitroot`."""

_MOST_INDICATORS, _ROWS_A_REGRESSOR = 20, 3
TOO_MANY_REGRESSORS = 10
"""A value of `reason`."""

_FLAT = 1e-9

_HARMONICS = (0, 1, 2, 3, 4, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the regressors are.

    Parameters
    ----------
    season : steps. harmonics : pairs of sines and cosines. columns : [k], of the known block. codes : [k], the category
        an indicator stands for, -1 = the number itself.
    """

    season: int
    harmonics: int
    columns: np.ndarray
    codes: np.ndarray

    @classmethod
    def stored(cls, model: Model, row: int, season: int) -> _Layout:
        """As a fitted series has it."""
        return cls(season, int(model["harmonics"][row]), model["columns"][row], model["codes"][row])

    def scales(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread of the covariates in each series, to bring them onto one scale. Shapes [n, k]."""
        x = self._raw(panel.known)
        if not panel.n_series:
            return np.zeros((0, x.shape[1])), np.ones((0, x.shape[1]))
        count = panel.lengths[:, None]
        mean = np.add.reduceat(x, panel.indptr[:-1]) / count
        rest = x - np.repeat(mean, panel.lengths, axis=0)
        spread = np.sqrt(np.add.reduceat(np.square(rest), panel.indptr[:-1]) / count)
        return mean, np.where(spread > _FLAT * np.abs(mean), spread, 1.0)

    def history(self, panel: Panel, usual: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Regressors of a panel's rows. Shape [rows, k], contiguous."""
        own = self._own(panel.known, panel.lengths, usual, spread)
        return self._beside_waves(own, panel.step_of_rows()) if self.harmonics else own

    def ahead(self, panel: Panel, future: Future, usual: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Regressors of the steps after the panel's rows. Shape [n * horizon, k], contiguous."""
        own = self._own(future.known, np.full(panel.n_series, future.horizon), usual, spread)
        steps = (panel.last[:, None] + 1 + np.arange(future.horizon)).ravel()
        return self._beside_waves(own, steps) if self.harmonics else own

    def _own(self, known: Block, count: np.ndarray, usual: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """The covariates on one scale, `count` [n] rows of each series."""
        return (self._raw(known) - np.repeat(usual, count, axis=0)) / np.repeat(spread, count, axis=0)

    def _beside_waves(self, own: np.ndarray, steps: np.ndarray) -> np.ndarray:
        waves = fourier(steps, self.season, self.harmonics)
        return np.ascontiguousarray(np.concatenate([waves, own], axis=1))

    def _raw(self, known: Block) -> np.ndarray:
        """Numbers, and 0 or 1 for indicators, as they are. Shape [rows, k]."""
        if not len(self.columns):
            return np.empty((len(known.values), 0))
        values = known.values[:, self.columns]
        return np.where(self.codes < 0, values, values == self.codes)


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
        from forecasting.kernels import arima, unitroot
        from forecasting.kernels.arima_fit import PARAMETERS
        from forecasting.kernels.batch import over_slices

        n, season = panel.n_series, max(1, context.season)
        y, indptr, _ = panel.flat()
        m, seasonal = self._period(season)
        layout = self._layout(panel, season)
        usual, spread = layout.scales(panel)
        design = layout.history(panel, usual, spread)
        test = getattr(unitroot, _SEASONAL_TESTS[self.seasonal_test])
        limits = np.array([self.max_p, self.max_q, self.max_seasonal_p, self.max_seasonal_q], dtype=np.int64)
        fixed = np.full(arima.FIXED, -1, dtype=np.int64)
        order, u = np.zeros((n, arima.ORDER), dtype=np.int64), np.zeros((n, PARAMETERS))
        beta, figures, reason = np.zeros((n, design.shape[1] + 1)), np.zeros((n, 5)), np.zeros(n, dtype=np.int64)

        def run(first: int, end: int) -> None:
            if seasonal:
                test(y, indptr, first, end, m, self.max_seasonal_d, order[:, 6])
            unitroot.by_kpss(y, indptr, first, end, m, self.max_d, order[:, 6], order[:, 5])
            arima.fit_series(
                y, indptr, design, first, end, m, self.stepwise, seasonal, limits, context.horizon,
                self.most_evaluations, fixed, order, u, beta, figures, reason,
            )  # fmt: skip

        over_slices(
            run, panel.lengths, threads=context.threads, deadline=context.deadline, what=f"fitting {self.name}",
            fits=context.fits,
        )  # fmt: skip
        if usual.shape[1]:
            reason[panel.lengths < _ROWS_A_REGRESSOR * usual.shape[1]] = TOO_MANY_REGRESSORS
        return {
            "order": order, "u": u, "beta": beta, "figures": figures, "aicc": figures[:, 3].copy(), "reason": reason,
            "rejected": figures[:, 4].astype(np.int64), "harmonics": np.full(n, layout.harmonics),
            "columns": np.tile(layout.columns, (n, 1)), "codes": np.tile(layout.codes, (n, 1)), "usual": usual,
            "spread": spread,
        }  # fmt: skip

    def _forecast(self, model: Model, panel: Panel, future: Future, levels: tuple[float, ...]) -> np.ndarray:
        from forecasting.kernels import arima

        if self.uses_covariates and future.known.names != panel.known.names:
            raise DataError(
                f"{self.name} was fitted with the known covariates {list(panel.known.names)}, the future holds "
                f"{list(future.known.names)}. Fix: give the same columns."
            )
        y, indptr, _ = panel.flat()
        n, h = panel.n_series, future.horizon
        m, seasonal = self._period(self._season)
        layout = _Layout.stored(model, 0, self._season)
        usual, spread = model["usual"], model["spread"]
        design = layout.history(panel, usual, spread)
        ahead = layout.ahead(panel, future, usual, spread)
        point, width = np.empty((n, h)), np.empty((n, h))
        arima.forecast_series(
            y, indptr, design, ahead, 0, n, m, seasonal, model["order"], model["u"], model["beta"], model["figures"],
            point, width,
        )  # fmt: skip
        return gaussian_channels(point, width, levels)

    def inputs(self, panel: Panel) -> tuple[str, ...]:
        """Return the history, the calendar where Fourier terms tell a long season, and what the regression reads."""
        fitted = np.flatnonzero(self._model["reason"] == FITTED)[:1]
        waves = bool((self._model["harmonics"][fitted] > 0).any())
        columns = self._model["columns"][fitted].ravel()
        own = dict.fromkeys(panel.known.names[int(k)] for k in columns)
        return ("target", *(("time",) if waves else ()), *own)

    def _period(self, season: int) -> tuple[int, bool]:
        """Steps of the seasonal terms, and whether there are any."""
        return (season, self.seasonal and season > 1) if season <= _LONGEST_SEASON else (1, False)

    def _layout(self, panel: Panel, season: int) -> _Layout:
        """What the regressors are; a series that `fit` never saw gets those of the series it did."""
        fitted = np.flatnonzero(self._model["reason"] == FITTED).tolist() if self._model else []
        if fitted:
            return _Layout.stored(self._model, fitted[0], season)
        harmonics = _harmonics(panel, season) if self.seasonal and season > _LONGEST_SEASON else 0
        columns = _columns(panel.known) if self.uses_covariates else []
        pairs = np.array(columns, dtype=np.int64).reshape(-1, 2)
        return _Layout(season, harmonics, pairs[:, 0], pairs[:, 1])


@dataclass(kw_only=True)
class Arimax(AutoArima):
    """Regression on the known covariates with ARIMA errors, orders chosen as by `AutoArima`.

    A category enters as an indicator of each of its values but the first one (of more than 21, those of the 20 most
    frequent ones); one that is missing or new has none. Constant and repeated columns get no coefficient. A series with
    fewer than 3 rows a regressor falls back.

    Examples
    --------
    >>> Arimax.uses_covariates
    True
    """

    name: ClassVar[str] = "Arimax"
    uses_covariates: ClassVar[bool] = True
    reasons: ClassVar[dict[int, str]] = {
        **AutoArima.reasons,
        TOO_MANY_REGRESSORS: f"fewer than {_ROWS_A_REGRESSOR} rows a regressor",
    }


def _columns(known: Block) -> list[tuple[int, int]]:
    """Regressors that a block gives: (column, category code or -1 for a number)."""
    out = []
    for k, name in enumerate(known.names):
        categories = known.categories(name)
        if categories is None:
            out.append((k, -1))
            continue
        values = known.values[:, k].astype(np.int64)
        seen = np.bincount(values[values > 0], minlength=1)
        often = np.argsort(-seen, kind="stable")[:_MOST_INDICATORS]
        out += [
            (k, code) for code in range(1, len(categories)) if len(categories) <= _MOST_INDICATORS + 1 or code in often
        ]
    return out


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
