"""HierarchicalForecaster: forecasts that add up over the levels of a hierarchy, from a frame of leaves to any level."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from automl.bundle import load_bundle, save_bundle
from automl.errors import AutoMLError, ConfigError, DataError
from automl.guardrails import Guardrail, affected
from forecasting.config import Columns, Settings
from forecasting.forecaster import Forecaster
from forecasting.frame import to_pandas
from forecasting.hierarchy import ALLOCATIONS, METHODS, Reconciliation, Tree, between, paths, shares, shrunk
from forecasting.reading import read_time, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOG = logging.getLogger("forecasting")

ALL = "all"
"""Training level: every node of every level has a forecast of its own, and these are reconciled."""

_NODE, _LEVEL, _TOTAL = "node", "node_level", "(total)"
_ERROR_ROWS = 40
"""Last rows whose one-step errors weigh the nodes."""


class HierarchicalForecaster:
    """Forecasts the leaves of a hierarchy and all sums of them.

    Parameters
    ----------
    horizon : steps ahead. levels : columns of the hierarchy, top first (the total above them has none).
    time, target : columns. training_level : "all" (every node is forecast, then reconciled), a level, or None (the
        total): nodes of that level are forecast, sums of them stand above it, and below it they are shared out.
    method : how forecasts of all nodes are reconciled: "bottom_up", "ols", "wls_struct", "wls_var" or "mint_shrink".
    allocation : how a node is shared out among its leaves: "proportions_of_historical_average" or
        "average_historical_proportions".
    known : numeric covariates known ahead; a node has the mean of its leaves'. freq, quantiles, time_limit, seed,
        settings : as in `Forecaster`.

    Examples
    --------
    >>> from forecasting import SearchSettings, Settings
    >>> from automl.budget import ExitCriteria
    >>> quick = Settings(search=SearchSettings(allowed=["SeasonalNaive"], limits=ExitCriteria(max_trials=1)))
    >>> months = pd.date_range("2020-01-01", periods=36, freq="MS")
    >>> sales = pd.DataFrame({"shop": np.repeat(["a", "b"], 36), "month": np.tile(months, 2), "units": 1.0})
    >>> model = HierarchicalForecaster(2, levels=["shop"], time="month", target="units", settings=quick).fit(sales)
    >>> model.predict(level=None)["yhat"].round(6).tolist()
    [2.0, 2.0]
    """

    def __init__(
        self,
        horizon: int,
        *,
        levels: Sequence[str],
        time: str,
        target: str,
        training_level: str | None = ALL,
        method: str = "mint_shrink",
        allocation: str = ALLOCATIONS[1],
        known: Sequence[str] = (),
        freq: str | None = None,
        quantiles: Sequence[float] = (),
        time_limit: float | None = None,
        seed: int = 0,
        settings: Settings | None = None,
    ) -> None:
        self.levels = tuple(levels)
        if not self.levels or len(set(self.levels)) < len(self.levels):
            raise ConfigError(f"levels must be one or several different columns, top first, got {list(levels)}.")
        if training_level not in (ALL, None, *self.levels):
            raise ConfigError(
                f"training_level must be 'all', None (the total) or one of {', '.join(self.levels)}, "
                f"got {training_level!r}."
            )
        for name, value, allowed in (("method", method, METHODS), ("allocation", allocation, ALLOCATIONS)):
            if value not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")
        self.time, self.target, self.known = time, target, tuple(known)
        self.training_level, self.method, self.allocation = training_level, method, allocation
        columns = Columns(id=[_LEVEL, _NODE], time=time, target=target)
        settings = settings or Settings()
        if settings.data.short_series == "auto":  # a sum needs all its parts: new leaves are kept
            settings = replace(settings, data=replace(settings.data, short_series=None))
        self.forecaster = Forecaster(
            horizon, freq=freq, columns=columns, known=known, quantiles=quantiles, time_limit=time_limit, seed=seed,
            settings=settings,
        )  # fmt: skip
        self._tree: Tree | None = None
        self._history = np.empty((0, 0))
        self._last: Any = None
        self._zone: str | None = None
        self._errors: np.ndarray | None = None

    # -- learning -----------------------------------------------------------------------------------------------------

    def fit(self, frame: Any, *, only: Mapping[str, Any] | None = None, path: str | Path | None = None) -> Self:
        """Aggregate, then search and fit on the nodes of the training level.

        Parameters
        ----------
        frame : long frame, a row a leaf and time (several are summed); a missing level is the node "(none)".
        only : column -> value, for one branch of the tree alone. path : run directory, as in `Forecaster.fit`.

        Raises
        ------
        DataError : a column is missing, a time or target cannot be read, or nothing is left.
        """
        data, self._zone = self._read(frame, need_target=True)
        for column, value in (only or {}).items():
            if column not in self.levels:
                raise ConfigError(f"only names {column!r}, which is no level. Levels: {', '.join(self.levels)}.")
            data = data[data[column] == value]
            if data.empty:
                raise DataError(f"no row has {column} = {value!r}, so there is no such branch to train.")
        self._tree = Tree(self.levels, paths([data[c].tolist() for c in self.levels]))
        leaf = self._leaf_of(data)
        times = np.unique(data[self.time].to_numpy())
        table = self._table(data, leaf, self.target, "sum", times)
        self._history, self._last, self._errors = table, times[-1], None
        nodes = self._nodes()
        values = self._of_nodes(table, "sum")[nodes]
        given = np.isfinite(values)
        rows, columns = np.nonzero(given)
        long = self._long(nodes[rows], times[columns])
        long[self.target] = values[given]
        for name in self.known:
            long[name] = self._of_nodes(self._table(data, leaf, name, "mean", times), "mean")[nodes][given]
        self.forecaster.fit(long, path=path)
        self._tell_late(times)
        return self

    def predict(
        self,
        future: Any = None,
        *,
        level: str | None = ALL,
        quantiles: Sequence[float] = (),
        method: str | None = None,
        allocation: str | None = None,
    ) -> pd.DataFrame:
        """Forecast the steps after the last time of the data, coherently.

        Parameters
        ----------
        future : rows of the leaves ahead with the known covariates, needed where there are any. level : whose nodes are
            returned: a level, None (the total) or "all". quantiles : columns `yhat-q-0.1` for 0.1, none = the model's;
            quantiles do not add up, they keep their distances from the point, or more where reconciled errors spread
            more. method, allocation : others than the model's.

        Returns
        -------
        The level columns down to the deepest one asked for ("(total)" where a node lies above one), time, yhat and the
        quantiles.
        """
        tree = self._fitted()
        quantiles = tuple(quantiles) or self.forecaster.settings.quantiles
        depths = range(len(self.levels) + 1) if level == ALL else [tree.depth(level)]
        times, values = self._base(future, quantiles)
        found = self._coherent(values, method or self.method, allocation or self.allocation)
        parts = []
        for depth in depths:
            at = tree.at(depth)
            part: dict[str, Any] = {}
            for k, name in enumerate(self.levels[: max(depths)]):
                own = [tree.nodes[i][k] if k < depth else _TOTAL for i in at]
                part[name] = np.repeat(np.array(own, dtype=object), len(times))
            part[self.time] = self._zoned(np.tile(times, len(at)))
            part["yhat"] = found[at, :, 0].ravel()
            part |= {f"yhat-q-{q:g}": found[at, :, 1 + j].ravel() for j, q in enumerate(quantiles)}
            parts.append(pd.DataFrame(part))
        return pd.concat(parts, ignore_index=True)

    @property
    def tree(self) -> Tree:
        """The hierarchy that was learned from the data."""
        return self._fitted()

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write everything that `load` needs into a folder."""
        tree, path = self._fitted(), Path(path)
        path.mkdir(parents=True, exist_ok=True)
        self.forecaster.save(path / "forecaster")
        own = {name: getattr(self, name) for name in ("time", "target", "training_level", "method", "allocation")}
        own |= {"horizon": self.forecaster.horizon, "levels": list(self.levels), "known": list(self.known)}
        own |= {
            "last": str(self._last),
            "zone": self._zone,
            "leaves": [list(map(_plain, leaf)) for leaf in tree.leaves],
        }
        save_bundle(path / "hierarchy", own, {"history": ({}, {"history": self._history})})

    @classmethod
    def load(cls, path: str | Path) -> HierarchicalForecaster:
        """Read what `save` wrote.

        Raises
        ------
        ModelFileError : a file is missing, truncated or changed.
        """
        path = Path(path)
        own, states = load_bundle(path / "hierarchy")
        last, leaves, zone = own.pop("last"), own.pop("leaves"), own.pop("zone", None)
        model = cls(own.pop("horizon"), **own)
        model.forecaster = Forecaster.load(path / "forecaster")
        model._tree = Tree(model.levels, tuple(tuple(leaf) for leaf in leaves))
        model._history = np.asarray(states["history"][1]["history"])
        model._last = np.datetime64(pd.Timestamp(last)) if not last.lstrip("-").isdigit() else int(last)
        model._zone = zone
        return model

    # -- inside -------------------------------------------------------------------------------------------------------

    def _fitted(self) -> Tree:
        if self._tree is None:
            raise AutoMLError("this HierarchicalForecaster is not fitted. Fix: call fit(frame) or load a model.")
        return self._tree

    def _read(self, frame: Any, *, need_target: bool) -> tuple[pd.DataFrame, str | None]:
        """Columns of a frame with zoned times in UTC, and the zone."""
        data = to_pandas(frame)
        wanted = [*self.levels, self.time, *self.known, *([self.target] if need_target else [])]
        for name in wanted:
            require(data, name, "column")
        data = data[wanted].copy()
        for name in (*self.known, *([self.target] if need_target else [])):
            if not pd.api.types.is_numeric_dtype(data[name]):
                raise DataError(
                    f"column {name!r} must hold numbers to be summed up a hierarchy, it is {data[name].dtype}."
                )
        times = read_time(data[self.time], self.time)
        if times.zone:
            times = read_time(data[self.time], self.time, like=replace(times, wall=False))
        data[self.time] = np.asarray(times.values)
        for name in self.levels:
            data[name] = data[name].astype(object).where(data[name].notna(), "(none)")
        return data, times.zone

    def _zoned(self, times: np.ndarray) -> Any:
        """Times as they stood in the data."""
        return pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(self._zone) if self._zone else times

    def _plain_times(self, times: pd.Series) -> np.ndarray:
        """Times of a frame of the forecaster's as they are kept here."""
        return np.asarray((times.dt.tz_convert("UTC").dt.tz_localize(None) if self._zone else times).to_numpy())

    def _tell_late(self, times: np.ndarray) -> None:
        """An alert where leaves end before others do: from then on sums hold less, which looks like a fall."""
        seen = np.isfinite(self._history)
        last = np.where(seen.any(axis=1), seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1), seen.shape[1])
        end = int(np.flatnonzero(seen.any(axis=0))[-1]) if seen.any() else 0
        late = np.flatnonzero(last < end)
        if not len(late):
            return
        i = late[int(last[late].argmax())]
        leaf = "/".join(map(str, self._fitted().leaves[i]))
        text = (
            f"{len(late)} leaves end before {str(times[end])[:19]}, and sums hold nothing of them from then on; the "
            f"latest is {leaf}, last seen at {str(times[last[i]])[:19]}. Where its rows are still to come, leave out "
            "the times that lack them"
        )
        LOG.warning("%s.", text)
        self.forecaster.remark(Guardrail("Late leaves", "alerted", text, affected(len(late), leaf)))

    def _leaf_of(self, data: pd.DataFrame) -> np.ndarray:
        """Number of each row's leaf, -1 = one that the tree does not have. Shape [rows]."""
        place = {leaf: i for i, leaf in enumerate(self._fitted().leaves)}
        rows = zip(*(data[c].tolist() for c in self.levels), strict=True)
        return np.array([place.get(row, -1) for row in rows], dtype=np.int64)

    def _table(self, data: pd.DataFrame, leaf: np.ndarray, column: str, how: str, times: np.ndarray) -> np.ndarray:
        """One column by leaf and time, NaN where there is no row. Shape [leaves, times]."""
        tree = self._fitted()
        when = np.searchsorted(times, data[self.time].to_numpy())
        value = data[column].to_numpy(dtype=float)
        good = (leaf >= 0) & (when < len(times)) & np.isfinite(value)
        good[good] &= times[when[good]] == data[self.time].to_numpy()[good]
        cell = leaf[good] * len(times) + when[good]
        size = len(tree.leaves) * len(times)
        count = np.bincount(cell, minlength=size)
        total = np.bincount(cell, weights=value[good], minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            filled = np.where(count > 0, total / (count if how == "mean" else 1), np.nan)
        return filled.reshape(len(tree.leaves), len(times))

    def _of_nodes(self, table: np.ndarray, how: str) -> np.ndarray:
        """Sums or means of all nodes, NaN where none of a node's leaves has a value. Shape [nodes, times]."""
        tree = self._fitted()
        count, total = tree.sums(np.isfinite(table).astype(float)), tree.sums(np.nan_to_num(table))
        return np.where(count > 0, total / (np.maximum(count, 1) if how == "mean" else 1), np.nan)

    def _nodes(self) -> np.ndarray:
        """Positions of the nodes that are forecast themselves."""
        tree = self._fitted()
        return np.arange(len(tree.nodes)) if self.training_level == ALL else tree.at(tree.depth(self.training_level))

    def _long(self, nodes: np.ndarray, times: np.ndarray) -> pd.DataFrame:
        """Rows of nodes in the frame that the forecaster takes."""
        paths_of = self._fitted().nodes
        level = np.array([(_TOTAL, *self.levels)[len(path)] for path in paths_of], dtype=object)
        label = np.array(["/".join(map(str, path)) or _TOTAL for path in paths_of], dtype=object)
        if len({*zip(level.tolist(), label.tolist(), strict=True)}) < len(label):
            label = np.array([f"{name} #{i}" for i, name in enumerate(label)], dtype=object)
        return pd.DataFrame({_LEVEL: level[nodes], _NODE: label[nodes], self.time: self._zoned(times)})

    def _place(self) -> dict[tuple[str, str], int]:
        """Level and label of each node that is forecast itself -> its number among them."""
        label = self._long(self._nodes(), np.full(len(self._nodes()), self._last))
        return {key: i for i, key in enumerate(zip(label[_LEVEL], label[_NODE], strict=True))}

    def _base(self, future: Any, quantiles: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Times ahead, and the forecasts of the training nodes, shape [nodes, horizon, 1 + quantiles]."""
        nodes, h = self._nodes(), self.forecaster.horizon
        last = max(self._last, self._plain_times(self.forecaster.history()[self.time]).max())
        times = np.unique(self._plain_times(self.forecaster.make_future_frame(2 * h)[self.time]))
        times = times[times > last][:h]
        if self.known:
            rows = self._ahead(future, nodes, times)
        else:
            rows = self._long(np.repeat(nodes, len(times)), np.tile(times, len(nodes)))
        out = self.forecaster.predict(rows, quantiles=quantiles)
        columns = ["yhat", *(f"yhat-q-{q:g}" for q in quantiles)]
        place = self._place()
        at = np.array([place[key] for key in zip(out[_LEVEL], out[_NODE], strict=True)], dtype=np.int64)
        stamps = self._plain_times(out[self.time])
        when = np.minimum(np.searchsorted(times, stamps), len(times) - 1)
        asked = times[when] == stamps  # with covariates of days there may be more periods than are asked for
        values, told = np.full((len(nodes), len(times), len(columns)), np.nan), np.zeros((len(nodes), len(times)), bool)
        values[at[asked], when[asked]] = out[columns].to_numpy(dtype=float)[asked]
        told[at[asked], when[asked]] = True
        if not told.all():
            i, k = np.argwhere(~told)[0]
            name = "/".join(map(str, self._fitted().nodes[nodes[i]])) or _TOTAL
            raise DataError(f"{int((~told).sum())} forecasts are missing, first of node {name} at {times[k]}.")
        return times, values

    def _ahead(self, future: Any, nodes: np.ndarray, times: np.ndarray) -> pd.DataFrame:
        """Rows of nodes ahead with their known covariates; where rows are put together by period, all there are."""
        if future is None:
            raise DataError(f"future is needed: it brings the known covariates {', '.join(self.known)}.")
        data, zone = self._read(future, need_target=False)
        if (zone is None) != (self._zone is None):
            raise DataError(f"time column {self.time!r} has time zone {zone}, in training it had {self._zone}.")
        if self.forecaster.settings.data.aggregate is not None:
            given = data[self.time].to_numpy()
            times = np.union1d(times, given[given > self._last])
        rows = self._long(np.repeat(nodes, len(times)), np.tile(times, len(nodes)))
        leaf = self._leaf_of(data)
        for name in self.known:
            rows[name] = self._of_nodes(self._table(data, leaf, name, "mean", times), "mean")[nodes].ravel()
        return rows

    def _coherent(self, base: np.ndarray, method: str, allocation: str) -> np.ndarray:
        """Coherent forecasts of all nodes, shape [nodes, horizon, channels]."""
        tree = self._fitted()
        lacking = np.flatnonzero(~np.isfinite(base).all(axis=(1, 2)))
        if len(lacking):
            node = tree.nodes[self._nodes()[lacking[0]]]
            raise DataError(
                f"{len(lacking)} nodes have no forecast of their own, first {'/'.join(map(str, node)) or _TOTAL}: "
                "their series are too short. Fix: settings with data=DataSettings(short_series=None), or 'pad'."
            )
        if self.training_level != ALL:
            depth = tree.depth(self.training_level)
            share = shares(tree, self._history, depth, allocation)
            # quantiles as if errors of a level's nodes went together: above the level they are rather wide
            return np.stack([between(tree, base[:, :, k], depth, share) for k in range(base.shape[2])], axis=2)
        covariance = None
        if method in {"wls_var", "mint_shrink"} or base.shape[2] > 1:
            covariance = shrunk(self._residuals())
        way = Reconciliation(tree, method, covariance)
        point = way.points(base[:, :, 0])
        floor = self._floor()
        if point.min() < floor:
            point = tree.sums(np.maximum(point[tree.of_leaves[-1]], floor))
        # a node's own intervals were calibrated out of sample, the spread of reconciled errors is known in sample only:
        # it may widen them, and says too little to narrow them
        distance = (base[:, :, 1:] - base[:, :, :1]) * np.maximum(way.widths(), 1.0)[:, None, None]
        return np.concatenate([point[:, :, None], np.maximum(point[:, :, None] + distance, floor)], axis=2)

    def _floor(self) -> float:
        """What no forecast lies below: 0 as settled for all forecasts, or where no leaf was ever negative."""
        asked = self.forecaster.settings.non_negative
        if asked is None:
            seen = self._history[np.isfinite(self._history)]
            asked = bool((seen >= 0).all())
        return 0.0 if asked else -np.inf

    def _residuals(self) -> np.ndarray:
        """One-step errors of all nodes over the last rows, shape [nodes, rows], NaN where a node has none."""
        if self._errors is None:
            steps = max(2, min(_ERROR_ROWS, self._history.shape[1] // 2))
            frame = self.forecaster.fitted_values(steps)
            place = self._place()
            times, when = np.unique(frame[self.time].to_numpy(), return_inverse=True)
            errors = np.full((len(place), len(times)), np.nan)
            at = [place[key] for key in zip(frame[_LEVEL], frame[_NODE], strict=True)]
            errors[at, when] = frame[self.target] - frame["yhat"]
            self._errors = errors
        return self._errors


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
