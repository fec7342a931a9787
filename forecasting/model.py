"""ForecastModel: fitted members, their weights, their intervals, and the history they forecast from."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.budget import Deadline
from automl.bundle import load_bundle, save_bundle
from automl.errors import ConfigError, LearnerError, ModelFileError, UnknownNameError
from forecasting import strangers
from forecasting.grain import Grain
from forecasting.intervals import Conformal, at_levels, stretch
from forecasting.learners.base import LEARNERS
from forecasting.learners.own import adopt, check_learner
from forecasting.metrics import naive_scales
from forecasting.panel import Forecast, Panel
from forecasting.task import ForecastTask, TaskSettings, panel_from_state, panel_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from automl.candidates import JsonScalar
    from automl.trial import State
    from forecasting.learners.base import Learner
    from forecasting.panel import Future


LOG = logging.getLogger("forecasting")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the leaderboard that can forecast.

    Parameters
    ----------
    name : shown to the user. weights : member name -> weight (a single model has itself with weight 1), of weights by
        series the means. by_series : shape [n series of the task, members], or None where the weights serve all.
    factors : shape [levels], what its quantile distances are multiplied by (see `forecasting.intervals.fit_stretch`).
    settled : points too are moved to values that occur, where many are zero (see `forecasting.grain`).
    """

    name: str
    weights: tuple[tuple[str, float], ...]
    factors: np.ndarray
    by_series: np.ndarray | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One configuration.

    Parameters
    ----------
    name : unique in the model. learner, params : what to build. conformal : its residual quantiles, None for a
        learner with quantiles of its own. state : the learner fitted on all data, None = not fitted yet.
    rows : 0, or it is for series with so little history and is fitted on pieces of the panel with no more.
    """

    name: str
    learner: str
    params: tuple[tuple[str, JsonScalar], ...]
    conformal: Conformal | None
    state: State | None = None
    rows: int = 0

    def fit(self, task: ForecastTask, panel: Panel) -> Learner:
        """Fit the configuration on a panel of the task's columns."""
        params = dict(self.params)
        if self.rows:
            panel = panel.pieces(self.rows + task.settings.horizon, task.settings.horizon)
            params["series_code"] = False
        return task.build(self.learner, params).fit(panel, task.context(Deadline()))


@dataclass(slots=True)
class ForecastModel:
    """What a search leaves behind, able to forecast with any of its entries.

    Parameters
    ----------
    task : the panel it was fitted on and how. members, entries : by name. best : name of the entry to use by default.
    grain : values that the target takes, where many are zero.
    """

    task: ForecastTask
    members: dict[str, Member]
    entries: dict[str, Entry]
    best: str
    extra: dict[str, Any] = field(default_factory=dict)
    grain: Grain | None = None
    _learners: dict[str, Learner] = field(default_factory=dict)
    _brief: dict[str, Member] = field(default_factory=dict)
    _trial: strangers.Trial | None = None

    @property
    def settings(self) -> TaskSettings:
        """How the members were fitted."""
        return self.task.settings

    def entry(self, name: str | None) -> Entry:
        """Entry by name, the best one for None; case does not matter.

        Raises
        ------
        UnknownNameError : no such entry.
        """
        if name is None:
            return self.entries[self.best]
        folded = {key.lower(): key for key in self.entries}
        if name.lower() not in folded:
            raise UnknownNameError("model", name, self.entries)
        return self.entries[folded[name.lower()]]

    def learner(self, member: str) -> Learner:
        """Return a member's fitted learner; one the ensemble does not use is fitted when first asked for."""
        if member not in self._learners:
            known = self._member(member)
            if known.state is not None:
                self._learners[member] = LEARNERS.load(known.learner).from_state(*known.state)
            else:
                self._learners[member] = known.fit(self.task, self.task.panel)
        return self._learners[member]

    def _member(self, name: str) -> Member:
        return self._brief[name] if name in self._brief else self.members[name]

    def forecast(
        self, panel: Panel, future: Future, levels: tuple[float, ...], *, model: str | None = None
    ) -> Forecast:
        """Forecast the steps after each series' last row.

        Past the trained horizon, forecasts are fed back as history, a horizon at a time. The error of a later block is
        that of a first one on top of what was fed: squared distances of quantiles add up.

        Parameters
        ----------
        panel : history to forecast from. future : known covariates ahead. levels : quantiles wanted, ascending.
            Series the model never saw, with little history, are forecast by those members of an ensemble that do best
            on such (see `forecasting.strangers`).
        """
        entry = self.entry(model)
        panel = panel.in_season(self.settings.fill_season)
        if future.horizon > self.settings.horizon:
            LOG.warning(
                "%d series are forecast %d steps ahead, past the trained %d: forecasts are fed back as history",
                panel.n_series, future.horizon, self.settings.horizon,
            )  # fmt: skip
        parts = self._strangers(panel, entry, model)
        if not parts:
            return self._recursive(panel, future, levels, entry)
        values = np.full((panel.n_series, future.horizon, 1 + len(levels)), np.nan)
        fallback = np.zeros(panel.n_series, dtype=bool)
        rest = np.setdiff1d(np.arange(panel.n_series), np.concatenate([some for some, _ in parts]))
        for some, chosen in [*parts, (rest, entry)]:
            if len(some):
                part = self._recursive(panel.select(some), future.select(some), levels, chosen)
                values[some], fallback[some] = part.values, part.fallback
        return Forecast(values, levels, fallback)

    def _strangers(self, panel: Panel, entry: Entry, model: str | None) -> list[tuple[np.ndarray, Entry]]:
        """Series never seen, by the entry that forecasts them where that is another one than `entry`."""
        own = [name for name, weight in entry.weights if weight]
        if len(own) == 1 and model is not None:
            return []
        seen = set(self.task.panel.ids)
        new = np.array([key not in seen for key in panel.ids], dtype=bool)
        if not new.any():
            return []
        if self._trial is None:
            self._trial = strangers.Trial(self.task)
        bucket = np.where(new, self._trial.bucket(panel.lengths), 0)
        out = []
        for rows in np.unique(bucket[bucket > 0]):
            asked = strangers.asked(self.members, own, int(rows))
            self._brief |= {m.name: m for m in asked if m.rows}
            weights = self._trial.weights(asked, int(rows))
            if weights is not None:
                out.append((np.flatnonzero(bucket == rows), replace(entry, weights=weights, by_series=None)))
        return out

    def _recursive(self, panel: Panel, future: Future, levels: tuple[float, ...], entry: Entry) -> Forecast:
        """Forecast with one entry, a trained horizon at a time."""
        trained = self.settings.horizon
        if future.horizon <= trained:
            return self._rounded(self._block(panel, future, levels, entry), entry)
        blocks: list[np.ndarray] = []
        fed = 0.0
        fallback = np.zeros(panel.n_series, dtype=bool)
        for first in range(0, future.horizon, trained):
            ahead = future.between(first, first + trained)
            part = self._block(panel, ahead, levels, entry)
            distance = part.values[:, :, 1:] - part.values[:, :, :1]
            wide = np.sign(distance) * np.sqrt(np.square(distance) + fed)
            blocks.append(np.concatenate([part.values[:, :, :1], part.values[:, :, :1] + wide], axis=2))
            fed = fed + np.square(distance[:, -1:, :])
            fallback |= part.fallback
            panel = panel.extended(part.point, ahead.known)
        values = np.concatenate(blocks, axis=1)
        values[:, :, 1:] = np.maximum(np.sort(values[:, :, 1:], axis=2), self._floors(panel)[:, None, None])
        return self._rounded(Forecast(values, levels, fallback), entry)

    def _rounded(self, forecast: Forecast, entry: Entry) -> Forecast:
        """Whole numbers, where they are wanted, or values that occur; what is fed back as history is not rounded."""
        values = forecast.values
        if self.settings.integer:
            values = np.rint(values)
        elif self.grain is not None:
            values = self.grain.settled(values, point=entry.settled)
        return Forecast(values, forecast.quantiles, forecast.fallback)

    def _floors(self, panel: Panel) -> np.ndarray:
        """Lowest forecast of each series: 0 or none, as the settings say. Shape [n]."""
        if self.settings.non_negative is None:
            return floors(panel)
        return np.full(panel.n_series, 0.0 if self.settings.non_negative else -np.inf)

    def _block(self, panel: Panel, future: Future, levels: tuple[float, ...], entry: Entry) -> Forecast:
        """Forecast no further than the trained horizon."""
        total: np.ndarray | None = None
        fallback = np.zeros(panel.n_series, dtype=bool)
        for name, weight in self.weights(entry, panel):
            if not np.any(weight):
                continue
            values, fell = self._channels(name, panel, future)
            part = weight[:, None, None] * values
            total = part if total is None else total + part
            fallback |= fell
        if total is None:
            raise LearnerError(f"model {entry.name!r} has no member with weight.")
        finished = Forecast(self._finish(total, entry, panel, levels), levels, fallback)
        return finished.held_constant(panel, self.settings.season)

    def weights(self, entry: Entry, panel: Panel) -> list[tuple[str, np.ndarray]]:
        """Weight of each member for every series of a panel, shape [n]; of one the model never saw the mean."""
        mean = np.array([weight for _, weight in entry.weights])
        if entry.by_series is None:
            table = np.tile(mean, (panel.n_series, 1))
        else:
            place = {key: i for i, key in enumerate(self.task.panel.ids)}
            at = np.array([place.get(key, -1) for key in panel.ids], dtype=np.int64)
            table = np.where(at[:, None] >= 0, entry.by_series[at], mean)
        return [(name, table[:, k]) for k, (name, _) in enumerate(entry.weights)]

    def refitted(self, panel: Panel, model: str | None = None) -> ForecastModel:
        """Return the same model with one entry's members fitted on another panel (same columns); intervals stay."""
        learners = {}
        panel = panel.in_season(self.settings.fill_season)
        for name, weight in self.entry(model).weights:
            if weight:
                learners[name] = self.members[name].fit(self.task, panel)
        return replace(self, _learners=learners)

    def _channels(self, name: str, panel: Panel, future: Future) -> tuple[np.ndarray, np.ndarray]:
        learner, conformal = self.learner(name), self._member(name).conformal
        if conformal is None:
            forecast = learner.forecast(panel, future, self.settings.levels)
            return forecast.values, forecast.fallback
        forecast = learner.forecast(panel, future, ())
        scale = naive_scales(panel, self.settings.season)[0]
        return conformal.channels(forecast.point, scale, panel.ids), forecast.fallback

    def _finish(self, channels: np.ndarray, entry: Entry, panel: Panel, levels: tuple[float, ...]) -> np.ndarray:
        floor = self._floors(panel)
        calibrated = stretch(channels, entry.factors, floor)
        calibrated[:, :, 0] = np.maximum(calibrated[:, :, 0], floor[:, None])
        out = at_levels(calibrated, self.settings.levels, levels) if levels else calibrated[:, :, :1]
        return np.maximum(out, floor[:, None, None])

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: Path, manifest: dict[str, Any]) -> None:
        """Write everything into a directory, without pickle."""
        states: dict[str, State] = {}
        members = []
        for i, member in enumerate(self.members.values()):
            row: dict[str, Any] = {"name": member.name, "learner": member.learner, "params": dict(member.params)}
            state = self._learners[member.name].state() if member.name in self._learners else member.state
            if state is not None:
                row["fitted"] = f"member-{i}"
                states[f"member-{i}"] = state
            if member.conformal is not None:
                row["conformal"] = f"interval-{i}"
                states[f"interval-{i}"] = member.conformal.state()
            members.append(row)
        panel, blobs = panel_state(self.task.panel)
        states["panel"] = (panel, {**blobs, "cuts": np.stack(self.task.cuts)})
        own = {name: getattr(self.settings, name) for name in self.settings.__slots__}
        entries = [
            {
                "name": e.name,
                "weights": [list(pair) for pair in e.weights],
                "factors": e.factors.tolist(),
                "settled": e.settled,
            }
            for e in self.entries.values()
        ]
        for i, (row, entry) in enumerate(zip(entries, self.entries.values(), strict=True)):
            if entry.by_series is not None:
                row["by_series"] = f"weights-{i}"
                states[f"weights-{i}"] = ({}, {"weights": entry.by_series})
        core = {
            "task": {**own, "levels": list(own["levels"])},
            "members": members,
            "entries": entries,
            "best": self.best,
            "grain": None if self.grain is None else asdict(self.grain),
        }
        save_bundle(path, {**manifest, "model": core, "extra": self.extra}, states)

    @classmethod
    def load(cls, path: Path) -> tuple[ForecastModel, dict[str, Any]]:
        """Read what `save` wrote: (model, manifest).

        Raises
        ------
        ModelFileError : a file is missing, truncated, changed or of a newer format.
        """
        manifest, states = load_bundle(path)
        core = manifest["model"]
        settings, blobs = states["panel"]
        cuts = list(np.asarray(blobs.pop("cuts")))
        own = {**core["task"], "levels": tuple(core["task"]["levels"])}
        _find_own_learners(own["own_learners"], {row["learner"] for row in core["members"] if "fitted" in row})
        task = ForecastTask(panel_from_state((settings, blobs)), cuts, TaskSettings(**own))
        members = {row["name"]: _member(row, states) for row in core["members"]}
        entries = {row["name"]: _entry(row, states) for row in core["entries"]}
        grain = None if core.get("grain") is None else Grain(**core["grain"])
        return cls(task, members, entries, core["best"], manifest["extra"], grain), manifest


def _entry(row: Mapping[str, Any], states: Mapping[str, State]) -> Entry:
    weights = tuple((name, weight) for name, weight in row["weights"])
    by_series = np.asarray(states[row["by_series"]][1]["weights"]) if "by_series" in row else None
    return Entry(row["name"], weights, np.array(row["factors"]), by_series, row.get("settled", False))


def _member(row: Mapping[str, Any], states: Mapping[str, State]) -> Member:
    conformal = Conformal.from_state(*states[row["conformal"]]) if "conformal" in row else None
    state = states[row["fitted"]] if "fitted" in row else None
    return Member(row["name"], row["learner"], tuple(sorted(row["params"].items())), conformal, state)


def _find_own_learners(learners: Mapping[str, str], used: Collection[str]) -> None:
    """Register the learners of the user's own that a model names; those it forecasts with must be there.

    Raises
    ------
    ModelFileError : one is missing, or is no learner.
    """
    try:
        adopt(learners)
        for name, target in learners.items():
            if name in used:
                check_learner(name, target)
    except ConfigError as error:
        raise ModelFileError(f"the model needs a learner of your own that is not to be had here: {error}") from error


def floors(panel: Panel) -> np.ndarray:
    """Lowest sensible forecast of each series: 0 where nothing negative was ever seen, else none. Shape [n]."""
    low = np.minimum.reduceat(panel.y, panel.indptr[:-1])
    return np.where(low >= 0, 0.0, -np.inf)
