"""From trials to a model: names, ensemble weights, intervals."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from automl.ensemble import evened, greedy_arrays, stack
from automl.runs import model_names
from forecasting.blending import likely, series_errors, tilted
from forecasting.grain import Grain
from forecasting.intervals import Conformal, calmness, fading, fit_stretch, held_back, independent
from forecasting.learners.base import LEARNERS
from forecasting.metrics import needs_quantiles
from forecasting.model import Entry, ForecastModel, Member
from forecasting.task import ForecastTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.metrics import Metric
    from automl.runs import TrialRecord
    from automl.trial import State

_MOST_MEMBERS_CONSIDERED = 30
_EACH_LEARNER = 3
"""So many trials of a learner are considered: many of one kind err alike, and the search makes many of the best."""

_ENOUGH_VALUES = 40_000
"""Values of a window that weights are chosen on: more of them make the choice longer, not better."""

_ENOUGH_UNUSED = 8_000
"""The same for the widths of single models that nothing uses; there are many of them."""

_FEW, _LEAST_EVEN, _MOST_EVEN = 100, 0.25, 0.75
"""Share of weights by likelihood beside chosen ones: the first over windows times series, within the others."""

_TILTS = (1.0, 2.0)
"""Powers of a series' own errors that its weights may go down with."""

Some = slice | np.ndarray
"""Series of a panel."""

Weights = dict[int, "float | np.ndarray"]
"""Trial number -> its weight, or one for each series [n]."""

VOTING, STACKING = "VotingEnsemble", "StackEnsemble"


def usable(records: Sequence[TrialRecord], metric: Metric) -> list[TrialRecord]:
    """Completed trials with a finite score, best first; ties go to the earlier one."""
    good = [r for r in records if r.usable and np.isfinite(r.scores.get(metric.name, np.nan))]
    return sorted(good, key=lambda r: (metric.loss(r.scores[metric.name]), r.number))


class Assembly:
    """Chooses weights and builds the model's entries from the trials of one run.

    Parameters
    ----------
    task : the task they were evaluated on. records : its trials. metric : the one to choose by. beside : another that
        counts as much where models are combined: what is lost is the sum of both, each over the best single trial's.
    """

    def __init__(
        self, task: ForecastTask, records: Sequence[TrialRecord], metric: Metric, beside: Metric | None = None
    ) -> None:
        self.task = task
        self.metric = metric
        self.records = usable(records, metric)
        self._measures = self._measured(beside)
        self.grain = Grain.of(task.panel)
        self.names = model_names(records)
        self._by_number = {r.number: r for r in records}
        self._channels: dict[int, np.ndarray] = {}
        self._intervals: dict[int, Conformal] = {}
        self._apart: dict[int, np.ndarray] = {}
        self._calm: float | None = None
        self._judges: dict[int, tuple[Assembly, np.ndarray]] = {}

    def _measured(self, beside: Metric | None) -> tuple[tuple[Metric, float], ...]:
        """Metrics that count, each with its unit: the least loss of a single trial, 1 for one metric alone."""
        alone = ((self.metric, 1.0),)
        if beside is None:
            return alone
        both = (self.metric, beside)
        found = [[m.loss(r.scores.get(m.name, np.nan)) for r in self.records] for m in both]
        units = [min((x for x in losses if np.isfinite(x)), default=0.0) for losses in found]
        return tuple(zip(both, units, strict=True)) if min(units) > 0 else alone

    def channels(self, record: TrialRecord) -> np.ndarray:
        """Out-of-sample forecasts of a trial, [windows, n, h, 1 + levels], mapped from disk (all may be large)."""
        if record.number not in self._channels:
            self._channels[record.number] = record.predictions()["channels"]
        return self._channels[record.number]

    def vote(self, rounds: int) -> Weights:
        """Weights by trial number, for all series or (see `forecasting.blending`) for each; a single model gets 1."""
        pool = [r for r in self.records if "degraded" not in r.info] or self.records
        whole = [r for r in pool if r.info["windows"] == len(self.task.cuts)]
        kin = [[better.learner for better in whole[:i]].count(r.learner) for i, r in enumerate(whole)]
        pool = [r for r, before in zip(whole, kin, strict=True) if before < _EACH_LEARNER][:_MOST_MEMBERS_CONSIDERED]
        # few metrics look at quantiles: the others are spared most of the numbers
        used = slice(None) if any(needs_quantiles(m.name) for m, _ in self._measures) else slice(1)
        judge, some = self._of_some(_ENOUGH_VALUES)
        arrays = [np.ascontiguousarray(self.channels(r)[:, some, :, used]) for r in pool]
        losses = np.array([judge.lost(a) for a in arrays])
        weights = greedy_arrays(arrays, judge.lost, rounds=rounds, single=losses)
        if len(pool) > 1:
            even = likely(losses, series_errors([a[..., 0] for a in arrays], judge.task.truth()))
            luck = _FEW / (len(self.task.cuts) * self.task.panel.n_series)
            share = float(np.clip(luck, _LEAST_EVEN, _MOST_EVEN))
            weights = evened(arrays, weights, even, judge.lost, share=share, limit=float(np.nanmin(losses)))
        chosen: Weights = {r.number: float(w) for r, w in zip(pool, weights, strict=True) if w > 0}
        if len(self.task.cuts) == 1 or len(chosen) == 1:
            return chosen
        errors = series_errors([self.channels(self._by_number[k])[..., 0] for k in chosen], self.task.truth())
        held = [judge.lost(self.blend(self._tilted(chosen, errors, power), some=some)) for power in _TILTS]
        if not min(held) <= judge.lost(self.blend(chosen, some=some)):
            return chosen
        return self._tilted(chosen, errors, _TILTS[int(np.nanargmin(held))])

    def _of_some(self, values: int) -> tuple[Assembly, Some]:
        """What judges forecasts, and the series it looks at: all, or so many of very many that they hold `values`."""
        n = self.task.panel.n_series
        most = max(_FEW, values // self.task.settings.horizon)
        if n <= most:
            return self, slice(None)
        if most not in self._judges:
            some = np.unique(np.linspace(0, n - 1, most).astype(int))
            judge = copy(self)
            cuts = [cut[some] for cut in self.task.cuts]
            judge.task = ForecastTask(self.task.panel.select(some), cuts, self.task.settings)
            self._judges[most] = judge, some
        return self._judges[most]

    def by_series(self, numbers: Sequence[int], weights: np.ndarray, apart: np.ndarray) -> Weights:
        """Weights that were chosen elsewhere.

        Parameters
        ----------
        numbers : of k trials. weights : shape [n, k]. apart : shape [windows, n, k], what each window is blended with.
        """
        self._apart |= {number: apart[:, :, i] for i, number in enumerate(numbers)}
        return {number: weights[:, i] for i, number in enumerate(numbers)}

    def _tilted(self, weights: Mapping[int, float | np.ndarray], of: np.ndarray, power: float) -> Weights:
        """Weights tilted towards what did well on each series; what each window is blended with knows the others.

        Parameters
        ----------
        of : errors of the weighted trials, see `series_errors`.
        """
        base = np.array(list(weights.values()))

        def on(errors: np.ndarray) -> np.ndarray:
            raw = base * tilted(errors, power)
            return np.asarray(raw / raw.sum(axis=1, keepdims=True))

        apart = np.stack([on(np.delete(of, w, axis=1)) for w in range(of.shape[1])])
        return self.by_series(list(weights), on(of), apart)

    def stack(self) -> Weights:
        """Linear stacking: non-negative elastic-net weights of the best trials' points, on each series' scale."""
        pool = [r for r in self.records if r.info["windows"] == len(self.task.cuts)][:10]
        truth = self.task.truth()
        scale = np.where(np.isfinite(truth.mae_scale), truth.mae_scale, 1.0)[:, None]
        mask = truth.mask & np.isfinite(truth.mae_scale)[:, None]
        flat = [self.channels(r)[..., 0].reshape(truth.y.shape) for r in pool]
        x = np.stack([(f / scale)[mask] for f in flat], axis=1)
        weights = stack(x, (truth.y / scale)[mask])
        return {r.number: float(w) for r, w in zip(pool, weights, strict=True) if w > 1e-6}

    def blend(self, weights: Weights, *, calibrated: bool = False, some: Some = slice(None)) -> np.ndarray:
        """Weighted sum of trials' forecasts, [windows, n, h, 1 + levels]; weights by series from the other windows.

        Parameters
        ----------
        some : series that are wanted.
        """
        shares = {k: self._apart[k][:, some, None, None] if np.ndim(w) else w for k, w in weights.items()}
        whole = sum(shares.values()) if any(np.ndim(w) for w in shares.values()) else 1.0

        def of(record: TrialRecord) -> np.ndarray:
            return self._calibrated(record, some) if calibrated else self.channels(record)[:, some]

        return np.sum([w * of(self._by_number[k]) for k, w in shares.items()], axis=0) / whole

    def scores(self, weights: Weights) -> dict[str, float]:
        """All metrics of a weighted sum, with forecasts on values that occur where many are zero."""
        return self.task.score(self._settled(self.blend(weights)), (self.metric,))

    def entry(self, name: str, weights: Weights, *, used: bool = True) -> Entry:
        """Entry with calibrated interval widths, measured on the very channels its members will forecast with.

        Parameters
        ----------
        used : whether it is fitted on all data; widths of others are taken from fewer series where there are many.
        """
        levels = self.task.settings.levels
        truth = self.task.truth()
        n, h = self.task.panel.n_series, self.task.settings.horizon
        judge, some = self._of_some(_ENOUGH_VALUES if used else _ENOUGH_UNUSED)
        blended = self.blend(weights, calibrated=True, some=some)
        count, seen = blended.shape[:2]
        y = np.where(truth.mask, truth.y, np.nan).reshape(-1, n, h)[:count, some]
        fade = fading(count, int(truth.mask[:n].sum()))
        scale = truth.mae_scale.reshape(-1, n)[:count, some, None]
        errors = (y - blended[..., 0]) / np.where(scale > 0, scale, np.nan)
        part = independent(errors)
        rows = count * seen
        factors = fit_stretch(
            y.reshape(rows, h), blended.reshape(rows, h, -1), levels, np.repeat(fade, seen), part, self.grain
        )
        if self.grain is None:
            factors = held_back(factors, errors, part)
        if self._calm is None:
            self._calm = calmness(self.task.panel, self.task.cuts[:count], h, self.task.settings.season, fade)
        factors = np.where(np.array(levels) == 0.5, 1.0, factors * self._calm)
        each = any(np.ndim(w) for w in weights.values())
        by_series = np.stack([np.broadcast_to(w, n) for w in weights.values()], axis=1) if each else None
        settled = self.grain is not None and judge.point_settles(self.blend(weights, some=some))
        shares = tuple((self.names[k], float(np.mean(w))) for k, w in weights.items())
        return Entry(name, shares, factors, by_series, settled)

    def _calibrated(self, record: TrialRecord, some: Some) -> np.ndarray:
        """Channels of some series as the fitted member would give them on the search's windows."""
        conformal = self._conformal(record)
        channels = self.channels(record)[:, some]
        if conformal is None:
            return channels
        n = self.task.panel.n_series
        scales = self.task.truth().mae_scale.reshape(-1, n)[:, some]
        ids = tuple(self.task.panel.ids[i] for i in np.arange(n)[some])
        return np.stack([conformal.channels(c[..., 0], s, ids) for c, s in zip(channels, scales, strict=False)])

    def member(self, record: TrialRecord, state: State | None) -> Member:
        """Member with its intervals, fitted where a state is given."""
        return Member(
            self.names[record.number],
            record.learner,
            tuple(sorted(record.params.items())),
            self._conformal(record),
            state,
        )

    def _conformal(self, record: TrialRecord) -> Conformal | None:
        """Residual quantiles of a trial, None for a learner with quantiles of its own."""
        if LEARNERS.load(record.learner).native_quantiles:
            return None
        if record.number not in self._intervals:
            point = self.channels(record)[..., 0]
            residual, scale = self.task.residuals(point)
            levels = self.task.settings.levels
            self._intervals[record.number] = Conformal.fit(residual, point, scale, self.task.panel.ids, levels)
        return self._intervals[record.number]

    def loss(self, scores: Mapping[str, float]) -> float:
        """What forecasts with such scores lose by the metric, or by both in their units; lower is better."""
        return float(sum(m.loss(scores[m.name]) / unit for m, unit in self._measures))

    def lost(self, channels: np.ndarray, some: Sequence[int] | None = None) -> float:
        """The same of forecasts, means over windows (all, or `some`)."""
        return self._plain_loss(self._settled(channels, some), some)

    def _plain_loss(self, channels: np.ndarray, some: Sequence[int] | None = None) -> float:
        """Loss of forecasts as they are."""
        return self.loss({m.name: self.task.score_by(m, channels, some) for m, _ in self._measures})

    def _settled(self, channels: np.ndarray, some: Sequence[int] | None = None) -> np.ndarray:
        """Forecasts on values that occur, where many are zero."""
        if self.grain is None:
            return channels
        return self.grain.settled(channels, point=self.point_settles(channels, some))

    def point_settles(self, channels: np.ndarray, some: Sequence[int] | None = None) -> bool:
        """Whether points lose nothing when they are moved to values that occur (means do, medians do not)."""
        if self.grain is None:
            return False
        some = range(len(channels)) if some is None else some
        moved, left = (self.grain.settled(channels, point=point) for point in (True, False))
        return self._plain_loss(moved, some) <= self._plain_loss(left, some)


def build_model(assembly: Assembly, entries: dict[str, Weights], states: dict[int, State], best: str) -> ForecastModel:
    """Put everything together: all completed trials as entries of their own, ensembles, fitted members."""
    members = {assembly.names[r.number]: assembly.member(r, states.get(r.number)) for r in assembly.records}
    made = {}
    for r in assembly.records:
        name = assembly.names[r.number]
        made[name] = assembly.entry(name, {r.number: 1.0}, used=r.number in states)
    made |= {name: assembly.entry(name, weights) for name, weights in entries.items()}
    return ForecastModel(assembly.task, members, made, best, grain=assembly.grain)
