"""Pooled regressors that learn quantiles, so that a forecast's width depends on the row and may be lopsided."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.errors import ConfigError
from forecasting.features.plan import forecast_rounds
from forecasting.intervals import at_levels
from forecasting.learners.regression import LightGBM, Pooled, StopAtDeadline
from forecasting.panel import Forecast

if TYPE_CHECKING:
    from automl.explain import Contributions
    from automl.trial import State
    from forecasting.features.plan import Design
    from forecasting.learners.base import FitContext
    from forecasting.panel import Future, Panel


class LearnsQuantiles(Pooled):
    """What regressors share that learn some levels; others are read off on the scale of normal scores."""

    native_quantiles: ClassVar[bool] = True
    levels: ClassVar[tuple[float, ...]]
    """Levels that are learned, ascending, the median in the middle."""

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Fit plan and regressor on all rows of the panel.

        Raises
        ------
        ConfigError : the strategy is recursive: quantiles of one step say nothing of how errors add up.
        """
        if self.strategy == "recursive":
            raise ConfigError(
                f"{self.name} with strategy='recursive' has no quantiles past the first step. Fix: strategy='direct'."
            )
        return super().fit(panel, context)

    @abstractmethod
    def _predict_levels(self, x: np.ndarray) -> np.ndarray:
        """Quantiles at the learned levels, on the model's scale, ascending. Shape [r, len(levels)]."""

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return self._predict_levels(x)[:, len(self.levels) // 2]

    def _residual_spread(self, design: Design, weight: np.ndarray) -> float:  # noqa: ARG002 - shared form
        """Widths are learned, not measured afterwards."""
        return 0.0

    def contributions(self, x: np.ndarray) -> Contributions | None:  # noqa: ARG002 - shared form
        """None: a median is no sum of what trees say."""
        return None

    def contribution_work(self) -> float:
        """Operations that the contributions of one row take: there are none."""
        return 0.0

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast every series of the panel, known to `fit` or not.

        Past the trained horizon the median is fed back; squared distances of quantiles add up.
        """
        n, middle = panel.n_series, len(self.levels) // 2
        found: list[np.ndarray] = []

        def median(x: np.ndarray) -> np.ndarray:
            found.append(self._predict_levels(x))
            return found[-1][:, middle]

        blocks = []
        fed: float | np.ndarray = 0.0
        for r in forecast_rounds(self._plan, median, panel, future):
            values = np.empty((len(r.value), 1 + len(quantiles)))
            values[:, 0] = r.value
            if quantiles:
                known = found.pop()
                channels = np.concatenate([known[:, middle, None], known], axis=1)[None]
                wanted = at_levels(channels, self.levels, quantiles)[0, :, 1:]
                distance = ((wanted - known[:, middle, None]) * r.design.scale[:, None]).reshape(n, -1, len(quantiles))
                wide = np.sign(distance) * np.sqrt(np.square(distance) + fed)
                fed = fed + np.square(distance[:, -1:])
                middle_z = r.design.base + known[:, middle] * r.design.scale
                z = middle_z[:, None] + np.sort(wide, axis=2).reshape(len(r.value), -1)
                for k in range(len(quantiles)):
                    values[:, 1 + k] = self._plan.inverse(
                        self._plan.bounded(z[:, k], r.design.series, r.scaled), r.shift
                    )
            blocks.append(values.reshape(n, -1, 1 + len(quantiles)))
        return Forecast(np.concatenate(blocks, axis=1), quantiles)


@dataclass(kw_only=True)
class QuantileLightGBM(LearnsQuantiles, LightGBM):
    """Gradient boosted trees by pinball loss, a model a level on the same binned rows, put in order where they cross.

    The point is the median, so `objective` has no say. Source: Koenker & Bassett (1978), Econometrica 46(1);
    rearrangement: Chernozhukov, Fernandez-Val & Galichon (2010), Econometrica 78(3).
    """

    n_estimators: int = 100
    learning_rate: float = 0.08
    num_leaves: int = 15
    min_child_samples: int = 40
    max_rows: int = 30_000

    _boosters: Any = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "QuantileLightGBM"
    levels: ClassVar[tuple[float, ...]] = (0.1, 0.3, 0.5, 0.7, 0.9)

    def _fit(self, design: Design, weight: np.ndarray, context: FitContext) -> None:
        import lightgbm

        data = self._dataset(design, weight)
        stop = StopAtDeadline(context)
        params = self._boosting(design, context) | {"objective": "quantile"}
        self._boosters = [
            lightgbm.train(params | {"alpha": q}, data, num_boost_round=self.n_estimators, callbacks=[stop])
            for q in self.levels
        ]

    def _predict_levels(self, x: np.ndarray) -> np.ndarray:
        return np.sort(np.stack([b.predict(x, num_threads=1) for b in self._boosters], axis=1).astype(float), axis=1)

    def _regressor_state(self) -> State:
        return {}, {f"booster{k}": b.model_to_string().encode() for k, b in enumerate(self._boosters)}

    def _restore_regressor(self, settings: dict[str, Any], blobs: dict[str, Any]) -> None:  # noqa: ARG002 - shared form
        import lightgbm

        texts = [blobs[f"booster{k}"].decode() for k in range(len(self.levels))]
        self._boosters = [lightgbm.Booster(model_str=text) for text in texts]
