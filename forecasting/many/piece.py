"""One piece: a pure function of its rows, the settings and what all groups share. Runs in workers.

Every group chooses among the same models by its own errors on rolling windows; the models are those of the library, so
a fitted piece is an ordinary `ForecastModel` that knows its series alone.
"""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.budget import Deadline
from automl.files import write_atomic
from forecasting import backtest as bt
from forecasting import frame as door
from forecasting.blending import series_errors
from forecasting.fitted import Fitted
from forecasting.learners.base import LEARNERS
from forecasting.many.choice import apart, group_errors, shares
from forecasting.many.layout import Folder
from forecasting.many.pieces import read_groups, read_piece, row_places
from forecasting.many.reading import group_of_series, isolated
from forecasting.many.shared import CHOICE, Knowledge, pooled_state
from forecasting.model import Entry, ForecastModel
from forecasting.scoring import scored_frame
from forecasting.task import ForecastTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from forecasting.learners.base import Learner
    from forecasting.many.layout import Spec
    from forecasting.many.pieces import Known
    from forecasting.metrics import Truth
    from forecasting.model import Member
    from forecasting.panel import Key, Panel

DONE, FALLBACK, FAILED = "done", "fallback", "failed"
"""A group chose its models; it is forecast by its last season, and why; it has no forecast, and why."""

_FALLBACK = "SeasonalNaive"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a piece as far as they can be read.

    Parameters
    ----------
    panel : series with a target, None where there are none. group : shape [n], number of each series' group.
    places : hashes of all groups of the piece, ascending. errors : hash -> why it cannot be read, or what is amiss.
    """

    panel: Panel | None
    group: np.ndarray
    places: np.ndarray
    errors: dict[int, str]


def read_rows(folder: Folder, spec: Spec, shared: Knowledge, number: int, known: Mapping[int, Known]) -> Rows | None:
    """Read a piece onto the common grid; a group that cannot be read, or shows no target, is told."""
    frame = read_piece(folder.pieces, number)
    if frame is None:
        return None
    places = row_places(frame, spec.by)

    def read(part: pd.DataFrame) -> Panel:
        return door.prepare_history(part, shared.schema, shared.grid, spec.settings.data)

    panel, errors = isolated(frame, places, read)
    of_series = group_of_series(frame, places, spec.ids)
    unique = np.unique(places)
    for place in (int(p) for p in unique):
        if complaint := known[place].complaint(spec.target):
            errors.setdefault(place, complaint)
    if panel is not None:
        seen = np.add.reduceat(panel.observed, panel.indptr[:-1], dtype=np.int64) > 0
        panel = panel.select(np.flatnonzero(seen)) if seen.any() else None
    if panel is None:
        return Rows(None, np.empty(0, dtype=np.int64), unique, errors)
    of = np.array([of_series[key] for key in panel.ids], dtype=np.uint64)
    return Rows(panel, np.searchsorted(unique, of), unique, errors)


# -- fit --------------------------------------------------------------------------------------------------------------


def fit_piece(root: str, number: int) -> dict[str, int]:
    """Fit all groups of a piece, write its model and last its status; counts by status."""
    begun = time.perf_counter()
    folder = Folder(Path(root))
    spec, shared = folder.spec(), Knowledge.load(folder)
    _, known = read_groups(folder.pieces)
    rows = read_rows(folder, spec, shared, number, known)
    if rows is None:
        return write_status(folder, number, pd.DataFrame(columns=_columns(spec)))
    weights = np.zeros((len(rows.places), len(shared.members)))
    errors = np.full((len(shared.members), shared.windows, len(rows.places)), np.nan)
    if rows.panel is not None:
        points, truth, cuts = _windows(folder, shared, rows.panel)
        errors = group_errors(series_errors(points, truth), rows.group, len(rows.places))
        weights = shares(errors, shared.typical, shared.rule)
    scored = np.isfinite(errors).any(axis=(0, 1))
    usable = scored & np.array([int(p) not in rows.errors for p in rows.places])
    names = [m.name for m in shared.members]
    naive = next(i for i, m in enumerate(shared.members) if m.learner == _FALLBACK)
    weights[~usable] = np.eye(len(names))[naive]
    if rows.panel is not None:
        model = _model(shared, rows.panel, cuts, points, truth, weights[rows.group])
        model.save(folder.model(number), {"kind": "forecasting.many"})
    table = _status(spec, shared, rows, known, weights, errors, usable)
    table["seconds"] = (time.perf_counter() - begun) / max(1, len(table))
    return write_status(folder, number, table)


def _windows(folder: Folder, shared: Knowledge, panel: Panel) -> tuple[list[np.ndarray], Truth, list[np.ndarray]]:
    """Point forecasts of every member in every window [windows, n, horizon] each, the truth, training lengths."""
    cuts = shared.cuts(panel)
    task = ForecastTask(panel, cuts, replace(shared.task, levels=()))
    n, h = panel.n_series, shared.task.horizon
    points = [np.full((len(cuts), n, h), np.nan) for _ in shared.members]
    blank = _blank(n * len(cuts), h)
    for window in _cut(task):
        at = slice(window.number * n, (window.number + 1) * n)
        for k, member in enumerate(shared.members):
            learner = _fitted(folder, shared, member, task, window.train, window.number)
            forecast = learner.forecast(window.train, window.future, ()).held_constant(window.train, shared.task.season)
            points[k][window.number] = bt.scatter(forecast, window.series, n)[:, :, 0]
        rows = np.arange(at.start, at.stop)[window.series]
        for name in ("y", "mask", "mae_scale", "rmse_scale", "value_range"):
            getattr(blank, name)[rows] = getattr(window.truth, name)
    return points, blank, cuts


def _blank(rows: int, horizon: int) -> Truth:
    from forecasting.metrics import Truth

    nothing = np.full(rows, np.nan)
    return Truth(
        np.zeros((rows, horizon)), np.zeros((rows, horizon), dtype=bool), nothing, nothing.copy(), nothing.copy()
    )


def _cut(task: ForecastTask) -> Iterator[bt.Window]:
    """Windows that some series is long enough for, newest first."""
    s = task.settings
    for number, lengths in enumerate(task.cuts):
        if (lengths >= bt.LEAST_TRAINING_ROWS).any():
            yield bt.window(task.panel, lengths, s.horizon, s.season, s.levels, number)


def _fitted(
    folder: Folder, shared: Knowledge, member: Member, task: ForecastTask, train: Panel, window: int
) -> Learner:
    """A member for some rows: the pooled ones as the sample left them, the others fitted on these rows."""
    if member.name in shared.pooled:
        return LEARNERS.load(member.learner).from_state(*pooled_state(folder, member.name, window))
    return task.build(member.learner, dict(member.params)).fit(train, task.context(Deadline()))


def _model(
    shared: Knowledge,
    panel: Panel,
    cuts: list[np.ndarray],
    points: Sequence[np.ndarray],
    truth: Truth,
    by_series: np.ndarray,
) -> ForecastModel:
    """Model of a piece; its pooled members have no state, all pieces share theirs."""
    task = ForecastTask(panel, cuts, shared.task)
    members = {}
    n = panel.n_series
    y = np.where(truth.mask, truth.y, np.nan).reshape(len(cuts), n, -1)
    scale = truth.mae_scale.reshape(len(cuts), n)
    for member, point in zip(shared.members, points, strict=True):
        known: dict[str, Any] = {}
        if member.conformal is not None:
            known["conformal"] = member.conformal.for_series(y - point, point, scale, panel.ids, shared.usual)
        if member.name not in shared.pooled:
            learner = task.build(member.learner, dict(member.params)).fit(panel, task.context(Deadline()))
            known["state"] = learner.state()
        members[member.name] = replace(member, **known)
    return ForecastModel(task, members, _entries(shared, by_series), CHOICE, {"skipped": {}}, shared.grain)


def _entries(shared: Knowledge, by_series: np.ndarray) -> dict[str, Entry]:
    names = [m.name for m in shared.members]
    mean = tuple((name, float(w)) for name, w in zip(names, by_series.mean(axis=0), strict=True))
    moved = shared.settled
    entries = {CHOICE: Entry(CHOICE, mean, shared.entries[CHOICE], by_series, CHOICE in moved)}
    return entries | {name: Entry(name, ((name, 1.0),), shared.entries[name], None, name in moved) for name in names}


def _columns(spec: Spec) -> list[str]:
    return [*spec.by, "status", "learner", "weights", "series", "rows", "mase", "seconds", "error", "errors", "place"]


def _status(
    spec: Spec,
    shared: Knowledge,
    rows: Rows,
    known: Mapping[int, Known],
    weights: np.ndarray,
    errors: np.ndarray,
    usable: np.ndarray,
) -> pd.DataFrame:
    """What became of each group of the piece, a row each."""
    names = [m.name for m in shared.members]
    series = np.bincount(rows.group, minlength=len(rows.places))
    lost: dict[int, str] = dict(rows.errors)
    out: dict[str, list[Any]] = {name: [] for name in _columns(spec)}
    for i, place in enumerate(int(p) for p in rows.places):
        group = known[place]
        status = DONE if usable[i] else FALLBACK if series[i] else FAILED
        why = lost.get(place, "")
        if status == FAILED and not why:
            why = f"no target value at all in {group.rows} rows"
        elif status == FALLBACK and not why:
            least = shared.task.horizon + bt.LEAST_TRAINING_ROWS
            why = f"{group.rows} rows, and {least} are needed to choose a model by"
            if group.rows >= least:
                why = f"no window of its {group.rows} rows tells models apart (a target that never changes, say)"
        if status == FALLBACK:
            why = f"{why}; forecast by {_FALLBACK}"
        used = {name: float(w) for name, w in zip(names, weights[i], strict=True) if w > 0}
        blended = np.einsum("kw,k->w", np.nan_to_num(errors[:, :, i]), weights[i])
        seen = np.isfinite(errors[:, :, i]).all(axis=0)
        row = {
            **dict(zip(spec.by, group.key, strict=True)),
            "status": status,
            "learner": max(used, key=lambda n: used[n]) if status != FAILED else "",
            "weights": [f"{name} {w:.2f}" for name, w in used.items()] if status != FAILED else [],
            "series": int(series[i]),
            "rows": group.rows,
            "mase": float(blended[seen].mean()) if seen.any() and status == DONE else float("nan"),
            "seconds": 0.0,
            "error": why,
            "errors": errors[:, :, i].ravel().tolist(),
            "place": f"{place:016x}",
        }
        for name, value in row.items():
            out[name].append(value)
    return pd.DataFrame(out)


def write_status(folder: Folder, number: int, table: pd.DataFrame) -> dict[str, int]:
    """Write the file that says the piece is done; counts by status."""
    path = folder.status(number)
    write_parquet(table, path)
    return {name: int((table["status"] == name).sum()) for name in (DONE, FALLBACK, FAILED)}


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, table.to_parquet(index=False))


# -- use --------------------------------------------------------------------------------------------------------------


class PieceModel(Fitted):
    """The fitted groups of one piece, asked like any fitted forecaster."""

    def __init__(self, folder: Folder, spec: Spec, shared: Knowledge, number: int) -> None:
        super().__init__(spec.horizon, spec.seed, spec.settings)
        model, _ = ForecastModel.load(folder.model(number))
        for name in shared.pooled:
            model.members[name] = replace(model.members[name], state=pooled_state(folder, name, -1))
        self._model = model
        self._schema = shared.schema
        self._folder, self._shared = folder, shared

    @property
    def series(self) -> tuple[Key, ...]:
        """Keys of the series it forecasts."""
        return self._fitted()[0].task.panel.ids

    def backtest_windows(self, errors: Mapping[Key, np.ndarray], levels: tuple[float, ...]) -> pd.DataFrame:
        """Forecasts of the windows groups chose by, each with the choice that the other windows speak for.

        Parameters
        ----------
        errors : series key -> errors [k, windows] of its group, NaN where it did not choose.
        """
        fitted, schema = self._fitted()
        panel, shared = fitted.task.panel, self._shared
        of = np.stack([errors[key] for key in panel.ids], axis=2)
        chose = np.isfinite(of).any(axis=(0, 1))[:, None]
        own = np.stack([w for _, w in fitted.weights(fitted.entries[CHOICE], panel)], axis=1)
        others = apart(of, shared.typical, shared.rule) if shared.windows > 1 else own[None]
        task = ForecastTask(panel, fitted.task.cuts, replace(shared.task, levels=levels))
        frames = []
        for window in _cut(task):
            k, train = window.number, window.train
            entry = replace(fitted.entries[CHOICE], by_series=np.asarray(np.where(chose, others[k], own)))
            learners = {m.name: _fitted(self._folder, shared, m, task, train, k) for m in shared.members}
            earlier = replace(fitted, entries={CHOICE: entry}, _learners=learners)
            forecast = earlier.forecast(window.train, window.future, levels)
            frames.append(scored_frame(forecast, window.train, window.truth, schema))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def alone(self, keys: Iterable[Key]) -> PieceModel:
        """The same for some of its series; it knows nothing of the others."""
        out = copy(self)
        out.forget_all_but(keys)
        return out

    def forget_all_but(self, keys: Iterable[Key]) -> None:
        """Keep some series."""
        model, _ = self._fitted()
        wanted = set(keys)
        which = np.array([i for i, key in enumerate(model.task.panel.ids) if key in wanted], dtype=np.int64)
        task = ForecastTask(model.task.panel.select(which), [c[which] for c in model.task.cuts], model.settings)
        entries = {name: _of_some(e, which) for name, e in model.entries.items()}
        self._dropped = {}
        self._model = replace(model, task=task, entries=entries, _brief={}, _trial=None)

    def without(self, keys: Iterable[Key]) -> None:
        """Answer some series by missing values."""
        self._dropped = dict.fromkeys(keys, "")


def _of_some(entry: Entry, which: np.ndarray) -> Entry:
    """An entry's weights for some series; one it never saw gets their mean."""
    if entry.by_series is None:
        return entry
    some = entry.by_series[which]
    mean = tuple((name, float(w)) for (name, _), w in zip(entry.weights, some.mean(axis=0), strict=True))
    return replace(entry, weights=mean, by_series=some)


def has_model(folder: Folder, number: int) -> bool:
    """Whether any group of a piece can be forecast."""
    return folder.model(number).is_dir()
