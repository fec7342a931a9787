"""Series the model never saw, with some history of their own: which members of an ensemble forecast them best.

An ensemble's weights were chosen on series with their whole history. A method that estimates every series by itself may
be the best there and useless on two seasons. So the members are tried again on training rows alone: some series are
left out, the pooled members are fitted without them, and all forecast the newest window of the left-out series from as
few rows as the newcomer brings. A pooled member is tried twice, as it is and fitted on pieces of the series with no
more history than that, which teaches it to do without.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting import backtest
from forecasting.learners.base import LEARNERS
from forecasting.metrics import find_metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forecasting.learners.base import Learner
    from forecasting.model import Member
    from forecasting.panel import Panel
    from forecasting.task import ForecastTask

LOG = logging.getLogger("forecasting")

ENOUGH_SEASONS = 4
"""From so many seasons (without one: horizons) of its own a new series is forecast by the ordinary weights."""

LEFT_OUT, _LEAST_LEFT_OUT, _SHARE, _WINDOWS = 100, 5, 2, 2
"""Series left out at most, at least, and one in how many; newest windows they are forecast in, at most."""

POOLED_BESIDES, NEAR = 2, 0.1
"""How many of the best pooled models are tried besides the ensemble's own members; how near to the best is good."""


@dataclass(slots=True)
class Trial:
    """What one model knows about strangers; learned when the first one comes.

    Parameters
    ----------
    task : panel and windows the model was fitted on.
    """

    task: ForecastTask
    _fitted: dict[tuple[str, int, bytes], Learner] = field(default_factory=dict)
    _weights: dict[tuple, tuple[tuple[str, float], ...]] = field(default_factory=dict)

    def bucket(self, rows: np.ndarray) -> np.ndarray:
        """Rows of history a stranger is tried with: whole seasons, 0 = as many as series of the training have."""
        unit = self._unit()
        whole = np.maximum(rows // unit, 1) * unit
        return np.where(rows >= ENOUGH_SEASONS * unit, 0, np.minimum(whole, np.maximum(rows, 1)))

    def weights(self, members: Sequence[Member], rows: int) -> tuple[tuple[str, float], ...] | None:
        """Weights of members for series with so many rows; None where there are too few series to learn them from.

        Parameters
        ----------
        members : those of the ensemble, and pooled ones besides (see `asked`).
        """
        key = (rows, tuple(m.name for m in members))
        if key not in self._weights:
            found = self._learn(members, rows)
            if found is None:
                return None
            self._weights[key] = found
            text = ", ".join(f"{name} {weight:.2f}" for name, weight in found)
            LOG.info("series never seen, with %d rows of history, are forecast by %s", rows, text)
        return self._weights[key]

    def _unit(self) -> int:
        s = self.task.settings
        return s.season if s.season > 1 else s.horizon

    def _learn(self, members: Sequence[Member], rows: int) -> tuple[tuple[str, float], ...] | None:
        task, s = self.task, self.task.settings
        left = self._left_out(rows)
        if left is None:
            return None
        # a function of the user's own is not at hand here
        metric = find_metric("mase" if s.own_metric else s.metric)
        every = np.arange(task.panel.n_series)
        losses = np.zeros(len(members))
        for number, cut in enumerate(task.cuts[:_WINDOWS]):
            some = left[cut[left] >= max(rows, backtest.LEAST_TRAINING_ROWS)]
            rest = np.setdiff1d(every, left)
            rest = rest[cut[rest] >= backtest.LEAST_TRAINING_ROWS]
            if len(some) < _LEAST_LEFT_OUT or not len(rest):
                break
            window = backtest.window(task.panel.select(some), cut[some], s.horizon, s.season, s.levels, number)
            short, others = window.train.tail(rows), task.panel.select(rest).head(cut[rest])
            for k, member in enumerate(members):
                learner = self._learner((member, number, left.tobytes()), others, short)
                point = learner.forecast(short, window.future, ()).held_constant(short, s.season).values
                values = np.repeat(point, 1 + len(s.levels), axis=2)
                losses[k] += float(metric.loss(metric.function(window.truth, values)))
        if not np.isfinite(losses).any():
            return None
        best = float(np.nanmin(losses))
        good = [m.name for m, value in zip(members, losses, strict=True) if value <= best + NEAR * abs(best)]
        return tuple((name, 1 / len(good)) for name in good)

    def _left_out(self, rows: int) -> np.ndarray | None:
        """Positions of series to leave out: the first of a seeded order that have more history than a stranger.

        None = too few. What was asked before has no say, and the same series serve many numbers of rows.
        """
        order = np.random.default_rng(self.task.settings.seed).permutation(self.task.panel.n_series)
        long = self.task.cuts[0] >= max(rows + self._unit(), backtest.LEAST_TRAINING_ROWS)
        left = order[long[order]][: min(LEFT_OUT, self.task.panel.n_series // _SHARE)]
        return np.sort(left) if len(left) >= _LEAST_LEFT_OUT else None

    def _learner(self, of: tuple[Member, int, bytes], others: Panel, short: Panel) -> Learner:
        """Fit a member for a window and the series left out; pooled ones are kept for other numbers of rows."""
        member, number, left = of
        pooled = LEARNERS.load(member.learner).unseen == "global"
        key = (member.name, number, left)
        if key in self._fitted:
            return self._fitted[key]
        learner = member.fit(self.task, others if pooled else short)
        if pooled:
            self._fitted[key] = learner
        return learner


def asked(members: dict[str, Member], own: Sequence[str], rows: int) -> list[Member]:
    """Members to try on strangers with so many rows: the ensemble's, the best pooled ones, both on pieces too."""
    names = [n for n in own if LEARNERS.load(members[n].learner).unseen != "none"]
    pooled = [n for n, m in members.items() if LEARNERS.load(m.learner).unseen == "global"]
    out = [members[n] for n in dict.fromkeys([*names, *pooled[:POOLED_BESIDES]])]
    cut = [m for m in out if hasattr(LEARNERS.load(m.learner), "series_code")]
    return [*out, *(replace(m, name=f"{m.name} on {rows} rows", rows=rows, state=None) for m in cut)]
