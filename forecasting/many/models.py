"""ManyModels: tens of thousands of groups, each with its own choice, on one machine or many."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from automl.errors import ConfigError, DataError, RunError
from automl.guardrails import Report
from automl.locks import owned
from automl.memory import cores
from forecasting.config import Columns, Settings
from forecasting.forecaster import merged_settings, steps_of
from forecasting.frame import resolve
from forecasting.learners.base import check_quantiles
from forecasting.many.answers import Question, answer_piece
from forecasting.many.driver import Progress, crew, run_pieces
from forecasting.many.layout import Folder, Spec
from forecasting.many.output import LOCK, begin, check_answer, clear, has_answered, tell_answered, what_became
from forecasting.many.piece import DONE, FAILED, FALLBACK, fit_piece
from forecasting.many.pieces import Known, Shuffle, hash_of, key_types, piece_of, read_groups
from forecasting.many.shared import Knowledge, learn
from forecasting.many.source import Source
from forecasting.reading import require, text_of
from forecasting.request import COLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from automl.compute import TaskExecutor

LOG = logging.getLogger("forecasting")

PIECE_ROWS, _EACH_ROWS = 100_000, 2_000
_SEARCHES = ("shared", "each")
_RESERVED = {"status", "learner", "weights", "series", "rows", "mase", "seconds", "error", "errors", "place"}
"""Columns of the table of groups beside those that tell groups apart."""


class ManyModels:
    """One model a group of series, for any number of groups.

    With `search="shared"` (the fast way) all groups are scored with the same models in one batch: methods that fit each
    series, and pooled trees that were fitted on a sample of all groups. Each group then chooses by its own errors. With
    `search="each"` every group gets a search of its own, as `Forecaster` does it. A group that fails is forecast by its
    last season, and `status` says why.

    Parameters
    ----------
    horizon : steps ahead.
    by : columns that tell groups apart; a group holds whole series. None = the id columns, every series a group.
    freq, columns, known, past, static, quantiles, seed, settings : as of `Forecaster`.
    search : "shared" or "each". time_limit : seconds of each group's search (search="each").
    compute : "local", "dask://host:port", "ray://host:port" or "spark"; workers read and write the job's folder.
    workers : pieces at a time, None = one a core of this machine, or as many as the cluster has workers; 0 = in this
        process alone.
    piece_rows : rows of a piece, about; a worker holds one piece at a time. Forecasts do not depend on it.

    Examples
    --------
    >>> from forecasting import datasets
    >>> sales = datasets.shipped_monthly()
    >>> many = ManyModels(horizon=6, workers=1).fit(sales)
    >>> many.status()["status"].unique().tolist()
    ['done']
    >>> many.predict(level=[80]).columns.tolist()
    ['unique_id', 'ds', 'yhat', 'yhat-lo-80', 'yhat-hi-80']
    """

    def __init__(
        self,
        horizon: int,
        *,
        by: Sequence[str] | str | None = None,
        freq: str | None = None,
        columns: Columns | None = None,
        known: Sequence[str] = (),
        past: Sequence[str] = (),
        static: Sequence[str] = (),
        quantiles: Sequence[float] = (),
        time_limit: float | None = None,
        seed: int = 0,
        settings: Settings | None = None,
        search: str = "shared",
        compute: str = "local",
        workers: int | None = None,
        piece_rows: int = PIECE_ROWS,
    ) -> None:
        if search not in _SEARCHES:
            raise ConfigError(f"search must be one of {', '.join(map(repr, _SEARCHES))}, got {search!r}.")
        if search == "shared" and time_limit is not None:
            raise ConfigError(
                "time_limit is of each group's own search, and with search='shared' there is one for all, which tries "
                "a fixed list of models. Fix: search='each', or leave time_limit out."
            )
        if not isinstance(piece_rows, int) or piece_rows < 1:
            raise ConfigError(f"piece_rows must be a whole number of rows, got {piece_rows!r}.")
        limits = (settings or Settings()).search.limits
        if search == "shared" and (limits.time_limit or limits.max_trials):
            raise ConfigError("groups that share a search try a fixed list of models: limits are of search='each'.")
        self.horizon = steps_of(horizon)
        self.seed = int(seed)
        self.settings = merged_settings(
            settings or Settings(), freq, columns, (known, past, static), quantiles, time_limit
        )
        self.by = None if by is None else (by,) if isinstance(by, str) else tuple(by)
        self.search = search
        self.compute = compute
        if workers is None:
            workers = self.settings.search.workers
        if workers == 0 and compute == "local":  # as of a search: nothing but this process
            self.compute = "inline"
        here = cores() if workers is None else workers
        self.settings = replace(self.settings, search=replace(self.settings.search, workers=here))
        self.workers = here if self.compute in {"local", "inline"} else workers
        self.piece_rows = piece_rows
        self._folder: Folder | None = None
        self._spec: Spec | None = None

    # -- learn ---------------------------------------------------------------------------------------------------------

    def fit(self, data: Any, *, path: str | Path | None = None) -> Self:
        """Bring the rows together by group, learn what groups share, let each group choose.

        Parameters
        ----------
        data : frame, or path of a CSV or Parquet file or of a folder of them, which may be larger than memory.
        path : the job's folder; fitting into it again goes on where it was stopped. None = a temporary one.

        Raises
        ------
        DataError, ConfigError : the data or a setting cannot be used. RunError : pieces failed (see the message), or
            the folder holds another job.
        """
        if path is None:
            place = tempfile.mkdtemp(prefix="forecastle-many-")
            weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
            path = Path(place) / "job"
        folder = Folder(Path(path).resolve())
        source = Source(data)
        spec = self._resolve(source)
        source = replace(source, text=spec.keys, whole=(spec.time,))
        if folder.pieces.is_dir() and (folder.root / "many.json").is_file():
            folder.check(spec)
        elif folder.root.exists() and any(f.name != "many.json" for f in folder.root.glob("[!.]*")):
            raise RunError(f"{folder.root} holds other files. Fix: an empty or new folder.")
        folder.root.mkdir(parents=True, exist_ok=True)
        with owned(folder.root / LOCK, f"the job in {folder.root}"):
            if not folder.pieces.is_dir():
                folder.write_spec(spec)  # over that of a call whose data could not be read
                count = max(1, -(-source.rows() // self._rows_a_piece()))
                Shuffle(folder.pieces, spec.by, spec.ids, spec.target, count).run(source, spec.columns)
            pieces, groups = read_groups(folder.pieces)
            if self.search == "shared" and not (folder.shared / "knowledge").is_dir():
                learn(folder, spec, groups, pieces, self._crew)
            self._fit_pieces(folder, groups, pieces)
        self._folder, self._spec = folder, spec
        self._tell()
        return self

    def _fit_pieces(self, folder: Folder, groups: Mapping[int, Known], pieces: int) -> None:
        sizes = _sizes(groups, pieces)
        progress = Progress("fit", len(groups))
        todo = [k for k in range(pieces) if not folder.done(k)]
        for k in set(range(pieces)) - set(todo):
            progress.add(sizes.get(k, 0))
        if not todo:
            return
        function = fit_piece
        if self.search == "each":
            from forecasting.many.each import search_piece

            function = search_piece

        def ended(_piece: int, counts: dict[str, int]) -> None:
            progress.add(counts[DONE] + counts[FALLBACK], counts[FAILED])

        with progress.shown(), self._crew() as hired:
            run_pieces(hired, function, {k: (str(folder.root), k) for k in todo}, ended)

    def _rows_a_piece(self) -> int:
        """A search of its own for each group takes long: what is lost with a piece is kept small."""
        return self.piece_rows if self.search == "shared" else min(self.piece_rows, _EACH_ROWS)

    def _crew(self) -> AbstractContextManager[TaskExecutor]:
        return crew(self.compute, self.workers)

    def _resolve(self, source: Source) -> Spec:
        """Settle column names."""
        have = source.names()
        columns = self.settings.data.columns
        if columns.id is None and self.by is not None and "unique_id" not in have and "item_id" not in have:
            columns = replace(columns, id=self.by)
        names = resolve(pd.DataFrame(columns=have), columns)
        ids = names.id or self.by or ()
        if not ids:
            raise ConfigError(
                "many models need columns that tell groups apart. Fix: by=[...] or columns=Columns(id=...)."
            )
        by = self.by or ids
        for name in by:
            if name not in have:
                raise DataError(f"by names {name!r}, which is no column. Columns found: {', '.join(have)}.")
            if name in _RESERVED:
                raise DataError(f"column {name!r} has a name that the table of groups uses itself. Fix: rename it.")
        data = replace(self.settings.data, columns=Columns(id=ids, time=names.time, target=names.target))
        return Spec(
            horizon=self.horizon,
            seed=self.seed,
            settings=replace(self.settings, data=data),
            by=tuple(by),
            ids=tuple(ids),
            time=names.time,
            target=names.target,
            search=self.search,
            source=source.print(),
        )

    def _tell(self) -> None:
        counts = self.status()["status"].value_counts()
        if counts.get(FALLBACK, 0) or counts.get(FAILED, 0):
            LOG.warning(
                "%d of %d groups are forecast by their last season and %d not at all; status() says why",
                counts.get(FALLBACK, 0),
                counts.sum(),
                counts.get(FAILED, 0),
            )

    # -- look ----------------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The job's folder."""
        return self._fitted()[0].root

    def status(self) -> pd.DataFrame:
        """What became of each group.

        Returns
        -------
        The group columns; status (done, fallback, failed), learner (the one with most weight), weights, series and
        rows, mase on the windows it chose by, seconds, error.
        """
        folder, spec = self._fitted()
        files = sorted((folder.root / "status").glob("piece-*.parquet"))
        table = pd.concat([pd.read_parquet(f) for f in files], ignore_index=True)
        table = table.drop(columns=["errors", "place"], errors="ignore")
        for name, kind in key_types(folder.pieces).items():
            if kind in {"bool", "boolean"}:
                table[name] = (table[name] == "True").astype(pd.api.types.pandas_dtype(kind))
            elif kind not in {"object", "str", "string"}:
                values = pd.to_numeric(table[name]) if kind[0] in "iuf" else table[name]
                table[name] = values.astype(pd.api.types.pandas_dtype(kind))
        return table.sort_values(list(spec.by), kind="stable", ignore_index=True)

    def leaderboard(self) -> pd.DataFrame:
        """Scores of the shared models on the sample, and of the choice by group (search="shared")."""
        folder, _ = self._fitted()
        self._only_shared("leaderboard")
        return pd.DataFrame(Knowledge.load(folder).scores)

    def guardrails(self) -> pd.DataFrame:
        """What was checked and changed in the sample's data, alerts first (search="shared")."""
        folder, _ = self._fitted()
        self._only_shared("guardrails")
        return pd.DataFrame(Report.from_json(Knowledge.load(folder).notes).rows())

    # -- use -----------------------------------------------------------------------------------------------------------

    def predict(self, future: Any = None, **asked: Any) -> pd.DataFrame:
        """Forecast all groups, or some; everything in one frame, sorted by series and time.

        Parameters
        ----------
        future : later rows with the known covariates (frame or path); None = the next steps of every series.
        asked : history, groups, horizon, until, quantiles, level, model: see `predict_into`.
        """
        folder, _ = self._fitted()
        self.predict_into(folder.forecasts, future, **{**asked, "overwrite": None})
        return self._read(folder.forecasts)

    def predict_into(
        self,
        out: str | Path,
        future: Any = None,
        *,
        history: Any = None,
        groups: Iterable[Sequence[Any]] | None = None,
        horizon: int | None = None,
        until: Any = None,
        quantiles: Sequence[float] = (),
        level: Sequence[float] = (),
        model: str | None = None,
        overwrite: bool | None = False,
    ) -> int:
        """Forecast into a Parquet dataset, a file a piece; returns the number of rows.

        Asked again with the same arguments, it goes on where it was stopped. A group that cannot be answered, because
        of its later rows say, has missing values, and a warning says why; the others are answered. A new series of a
        known group is forecast from the others of its group.

        Parameters
        ----------
        out : folder. future : later rows with the known covariates, a frame or path. history : newer actual rows.
        groups : keys of the groups asked for, None = all. horizon, until, quantiles, level, model : as of
            `Forecaster.predict`. overwrite : whether another answer in `out` may be replaced; None = the same one too.
        """
        _, spec = self._fitted()
        known = spec.settings.data.covariates.known
        if known and future is None:
            raise DataError(
                f"known covariates were declared ({', '.join(known)}), so predict needs their future values."
            )
        question = Question(
            kind="predict",
            out=str(Path(out).resolve()),
            horizon=horizon,
            until=int(until) if isinstance(until, int | np.integer) else None if until is None else str(until),
            quantiles=check_quantiles(tuple(quantiles)),
            level=tuple(float(x) for x in level),
            model=model,
            groups=self._places(groups),
        )
        return self._ask(question, future=future, history=history, overwrite=overwrite)

    def rolling_forecast(self, test: Any, *, step: int = 1, quantiles: Sequence[float] = ()) -> pd.DataFrame:
        """Forecast through a test period from origins `step` apart (see `Forecaster.rolling_forecast`)."""
        folder, _ = self._fitted()
        self.rolling_forecast_into(folder.forecasts, test, step=step, quantiles=quantiles, overwrite=None)
        return self._read(folder.forecasts)

    def rolling_forecast_into(
        self,
        out: str | Path,
        test: Any,
        *,
        step: int = 1,
        quantiles: Sequence[float] = (),
        overwrite: bool | None = False,
    ) -> int:
        """Rolling forecasts into a Parquet dataset; returns the number of rows."""
        if not 1 <= step <= self.horizon:
            raise ConfigError(f"step must be 1..{self.horizon} (the horizon), got {step!r}.")
        levels = check_quantiles(tuple(quantiles))
        question = Question(kind="rolling", out=str(Path(out).resolve()), step=int(step), quantiles=levels)
        return self._ask(question, history=test, overwrite=overwrite)

    def backtest(
        self, *, quantiles: Sequence[float] = (), groups: Iterable[Sequence[Any]] | None = None
    ) -> pd.DataFrame:
        """Forecasts of the rolling windows that groups chose by, each by what the other windows speak for.

        Returns
        -------
        ids, time, cutoff, the target, yhat and quantile columns.
        """
        folder, _ = self._fitted()
        self.backtest_into(folder.forecasts, quantiles=quantiles, groups=groups, overwrite=None)
        return self._read(folder.forecasts)

    def backtest_into(
        self,
        out: str | Path,
        *,
        quantiles: Sequence[float] = (),
        groups: Iterable[Sequence[Any]] | None = None,
        overwrite: bool | None = False,
    ) -> int:
        """Backtest into a Parquet dataset (see `backtest`); returns the number of rows."""
        question = Question(
            kind="backtest",
            out=str(Path(out).resolve()),
            quantiles=check_quantiles(tuple(quantiles)),
            groups=self._places(groups),
        )
        return self._ask(question, overwrite=overwrite)

    def _ask(self, question: Question, *, future: Any = None, history: Any = None, overwrite: bool | None) -> int:
        """Let every piece answer; `overwrite` None = whatever lies there makes way."""
        folder, spec = self._fitted()
        pieces, groups = read_groups(folder.pieces)
        out = Path(question.out)
        with tempfile.TemporaryDirectory(prefix="later-", dir=folder.root) as work:
            laid: dict[str, str | None] = {"future": None, "history": None}
            prints: dict[str, Any] = {}
            for name, given in (("future", future), ("history", history)):
                if given is None:
                    continue
                source = Source(given, text=spec.keys, whole=(spec.time,))
                prints[name] = source.print()
                self._lay(source, Path(work) / name, spec, pieces, groups, name)
                laid[name] = str(Path(work) / name)
            check_answer(out)
            out.mkdir(parents=True, exist_ok=True)
            with owned(out / LOCK, f"the answer in {out}"):
                begin(out, {**question.to_json(), **prints, "model_of": _stamp(folder)}, overwrite=overwrite)
                question = replace(question, future=laid["future"], history=laid["history"])
                self._answer(question, pieces, groups)
        import pyarrow.parquet

        return sum(pyarrow.parquet.read_metadata(f).num_rows for f in sorted(out.glob("part-*.parquet")))

    def _answer(self, question: Question, pieces: int, groups: Mapping[int, Known]) -> None:
        """Run the pieces that have not answered yet, and tell which groups cannot be answered.

        Raises
        ------
        DataError, ConfigError : no group can be answered, or nothing was asked.
        """
        folder, spec = self._fitted()
        out = Path(question.out)
        wanted = list(range(pieces))
        if question.groups is not None:
            wanted = sorted({piece_of(place, pieces) for place in question.groups})
        sizes = _sizes(groups, pieces)
        progress = Progress(question.kind, sum(sizes.get(k, 0) for k in wanted))
        todo = [k for k in wanted if not has_answered(out, k)]
        for k in set(wanted) - set(todo):
            progress.add(sizes.get(k, 0))

        def ended(piece: int, outcome: dict[str, Any]) -> None:
            tell_answered(out, piece, outcome)
            failed = len(outcome["failed"])
            progress.add(sizes.get(piece, 0) - failed, failed)

        if todo:
            function = answer_piece
            if spec.search == "each":
                from forecasting.many.each import answer_searched

                function = answer_searched
            jobs = {k: (str(folder.root), k, question.to_json()) for k in todo}
            with progress.shown(), self._crew() as hired:
                run_pieces(hired, function, jobs, ended)
        outcomes = [what_became(out, k) for k in wanted]
        failed = {int(place, 16): why for one in outcomes for place, why in one["failed"].items()}
        idle = [one["idle"] for one in outcomes if one["idle"]]
        first = next((f"{'/'.join(groups[place].key)}: {failed[place]}" for place in sorted(failed)), "")
        if not any(one["answered"] for one in outcomes) and (failed or idle):
            clear(out)
            if failed:
                raise DataError(f"none of {len(failed)} groups can be answered, first {first}")
            raise (ConfigError if question.until is not None else DataError)(idle[0])
        if failed:
            LOG.warning("%d groups cannot be answered, first %s", len(failed), first)

    def _lay(
        self, source: Source, place: Path, spec: Spec, pieces: int, groups: Mapping[int, Known], name: str
    ) -> None:
        """Bring later rows together by group, as the training rows are."""
        have = source.names()
        covariates = spec.settings.data.covariates
        needed = {**dict.fromkeys(spec.keys, "id"), spec.time: "time"}
        if name == "history":
            needed |= {spec.target: "target", **dict.fromkeys(covariates.all, "covariate")}
        else:
            needed |= dict.fromkeys(covariates.known, "covariate")
        for column, role in needed.items():
            try:
                require(pd.DataFrame(columns=have), column, role)
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
        found = Shuffle(place, spec.by, spec.ids, None, pieces).run(source, spec.future_columns(have))
        strange = [known.key for hashed, known in found.items() if hashed not in groups]
        if strange:
            raise DataError(
                f"{name} holds {len(strange)} groups that training did not have, first {'/'.join(strange[0])}. "
                "Fix: leave them out, or fit again with their history."
            )

    def _places(self, groups: Iterable[Sequence[Any]] | None) -> tuple[int, ...] | None:
        """Hashes of groups by key.

        Raises
        ------
        DataError : one is unknown.
        """
        if groups is None:
            return None
        folder, spec = self._fitted()
        _, known = read_groups(folder.pieces)
        out = []
        for key in [groups] if isinstance(groups, str) else groups:
            parts = tuple(key) if isinstance(key, tuple | list | np.ndarray | pd.Series) else (key,)
            text = [str(text_of(pd.Series([part]))[0]) for part in parts]
            if hash_of(text) not in known:
                raise DataError(f"there is no group {'/'.join(text)} of {list(spec.by)} among the {len(known)} fitted.")
            out.append(hash_of(text))
        return tuple(sorted(set(out)))

    def _read(self, folder: Path) -> pd.DataFrame:
        _, spec = self._fitted()
        files = sorted(folder.glob("part-*.parquet"))
        if not files:
            raise RunError("no group asked for can be forecast; status() says why.")
        table = pd.concat([pd.read_parquet(f) for f in files], ignore_index=True)
        if COLD in table.columns:
            table[COLD] = table[COLD].eq(True)  # pieces without new series do not have it
        order = [*spec.ids, *(["cutoff"] if "cutoff" in table.columns else []), spec.time]
        return table.sort_values(order, kind="stable", ignore_index=True)

    # -- files ---------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path, *, compute: str = "local", workers: int | None = None) -> ManyModels:
        """Open a fitted job's folder.

        Raises
        ------
        RunError : it holds no such job, or one that is not fitted to its end.
        """
        folder = Folder(Path(path).resolve())
        spec = folder.spec()
        self = cls(
            spec.horizon,
            by=spec.by,
            seed=spec.seed,
            settings=replace(spec.settings, search=replace(spec.settings.search, workers=None)),
            search=spec.search,
            compute=compute,
            workers=workers,
        )
        pieces = read_groups(folder.pieces)[0] if folder.pieces.is_dir() else 0
        left = [k for k in range(pieces) if not folder.done(k)]
        if left or not pieces:
            raise RunError(
                f"{folder.root} is not fitted to its end: {len(left) or 'all'} pieces are left. Fix: fit into it again."
            )
        self._folder, self._spec = folder, spec
        return self

    def _fitted(self) -> tuple[Folder, Spec]:
        if self._folder is None or self._spec is None:
            raise RunError("these models are not fitted yet. Fix: ManyModels(...).fit(data).")
        return self._folder, self._spec

    def _only_shared(self, what: str) -> None:
        if self.search != "shared":
            raise ConfigError(f"{what} is of search='shared'; with search='each' see status().")


def _sizes(groups: Mapping[int, Known], pieces: int) -> dict[int, int]:
    """Groups of each piece."""
    out: dict[int, int] = {}
    for place in groups:
        out[piece_of(place, pieces)] = out.get(piece_of(place, pieces), 0) + 1
    return out


def _stamp(folder: Folder) -> str:
    """What tells this fit from a later one into the same place."""
    return str((folder.root / "many.json").stat().st_mtime_ns)
