"""What a fitted piece is asked: forecasts, rolling forecasts, backtests, each written as one file. Runs in workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd

from automl.errors import DataError
from forecasting.fitted import places_by_period
from forecasting.learners.base import check_quantiles
from forecasting.many.asking import Later, Outcome, ask_groups, ask_model, told_values, typed, without_values
from forecasting.many.layout import Folder
from forecasting.many.piece import DONE, PieceModel, has_model, write_parquet
from forecasting.many.pieces import key_texts, read_piece, row_places, series_of_rows
from forecasting.many.reading import group_of_series, isolated
from forecasting.many.shared import Knowledge
from forecasting.reading import read_ids
from forecasting.request import COLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forecasting.frame import Schema
    from forecasting.many.layout import Spec
    from forecasting.panel import Key

Kind = Literal["predict", "rolling", "backtest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of every piece.

    Parameters
    ----------
    out : folder of the answer. future, history : folders of later rows in pieces, as many as the model has.
    groups : hashes of those asked for, None = all. The others : as of `Fitted.predict` and `Fitted.rolling_forecast`.
    """

    kind: Kind
    out: str
    future: str | None = None
    history: str | None = None
    groups: tuple[int, ...] | None = None
    horizon: int | None = None
    until: Any = None
    step: int = 1
    quantiles: tuple[float, ...] = ()
    level: tuple[float, ...] = ()
    model: str | None = None

    def file(self, number: int) -> Path:
        """Where a piece's answer goes."""
        return Path(self.out) / f"part-{number:05d}.parquet"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        several = {k: tuple(raw[k]) for k in ("groups", "quantiles", "level") if raw[k] is not None}
        return cls(**{**raw, **several})


def answer_piece(root: str, number: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Answer for one piece and write the file; what became of its groups (see `Outcome`)."""
    question = Question.from_json(asked)
    folder = Folder(Path(root))
    spec, shared = folder.spec(), Knowledge.load(folder)
    series = _groups(folder, spec, number)
    if question.groups is not None:
        wanted = set(question.groups)
        series = {key: place for key, place in series.items() if place in wanted}
    later = later_rows(question, spec, number, set(series.values()))
    outcome, frames = Outcome(), []
    known: dict[Key, int] = {}
    if has_model(folder, number):
        model = PieceModel(folder, spec, shared, number)
        known = {key: series[key] for key in model.series if key in series}
        frames = _Piece(question, folder, spec, shared, number, model, series, known).answers(later, outcome)
    if question.kind == "predict":
        bad = {int(place, 16) for place in outcome.failed}
        if question.future is not None:
            bad |= set(series.values()) - set(known.values())
            rest = rows_without_values(later, bad, question, spec, shared.schema)
        else:
            lost = {key: place for key, place in series.items() if key not in known or place in bad}
            rest = _ended(folder, number, question, spec, shared, lost, frames)
        frames += rest
    return write_answer(question, number, frames, outcome)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece that is asked.

    Parameters
    ----------
    series : those of the groups asked for -> hash of their group. known : those of them that can be forecast.
    """

    question: Question
    folder: Folder
    spec: Spec
    shared: Knowledge
    number: int
    model: PieceModel
    series: dict[Key, int]
    known: dict[Key, int]

    def answers(self, later: Later, outcome: Outcome) -> list[pd.DataFrame]:
        """Frames of all groups that can be answered.

        Groups with series that training did not have are asked alone: what such a series is forecast by comes from the
        others it is asked with, which must be its group's, whatever the piece.
        """
        places = askable(self.question, later, self.known.values())
        told = later.told(self.spec.target) & set(places)
        places = [p for p in places if p not in told]
        alone = self._with_strangers(later) & set(places)
        together = [p for p in places if p not in alone]

        def ask(some: Sequence[int]) -> pd.DataFrame | None:
            return self._ask(set(some), later.of(some))

        frames = ask_groups(together, ask, outcome) if together else []
        for place in sorted(alone):
            frames += ask_groups([place], ask, outcome)
        if told:
            frames += ask_groups(sorted(told), lambda some: self._told(later.of(some)), outcome)
            outcome.count_told(told)
        return frames

    def _ask(self, places: set[int], later: Later) -> pd.DataFrame | None:
        question = self.question
        model = self.model.alone([key for key, place in self.known.items() if place in places])
        if question.kind == "backtest":
            levels = check_quantiles(question.quantiles or self.spec.settings.quantiles)
            return model.backtest_windows(_errors(self.folder, self.shared, self.number, self.series), levels)
        if later.future is not None:
            model.without({key for key, place in self.series.items() if place in places and key not in self.known})
        return ask_model(model, later, question)

    def _told(self, later: Later) -> pd.DataFrame | None:
        return None if later.future is None else told_values(self.model, later.future, self.question, self.spec)

    def _with_strangers(self, later: Later) -> set[int]:
        """Groups whose later rows hold series that have no model."""
        known, everyone = (key_texts(keys, self.spec.ids) for keys in (self.known, self.series))
        out: set[int] = set()
        for frame, of, own in ((later.history, later.of_history, known), (later.future, later.of_future, everyone)):
            if frame is not None:
                keys, numbers = series_of_rows(frame, self.spec.ids)
                strange = np.array([key not in own for key in keys])[numbers]
                out |= {int(p) for p in np.unique(of[strange])}
        return out


def askable(question: Question, later: Later, places: Iterable[int]) -> list[int]:
    """Those of some groups, each once, that are asked for anything."""
    rows = later.of_history if question.kind == "rolling" else later.of_future
    every = dict.fromkeys(places)
    if question.kind == "backtest" or (question.kind == "predict" and question.future is None):
        return list(every)
    asked = {int(place) for place in np.unique(rows)}
    return [p for p in every if p in asked]


def later_rows(question: Question, spec: Spec, number: int, places: set[int]) -> Later:
    """Later rows of some groups of a piece."""
    frames, of = [], []
    for path in (question.future, question.history):
        frame = None if path is None else read_piece(Path(path), number)
        frames.append(frame)
        of.append(np.empty(0, dtype=np.uint64) if frame is None else row_places(frame, spec.by))
    return Later(frames[0], frames[1], of[0], of[1]).of(places)


def write_answer(question: Question, number: int, frames: list[pd.DataFrame], outcome: Outcome) -> dict[str, Any]:
    """Write what a piece was answered; what became of its groups."""
    frames = [f for f in frames if len(f)]
    if frames:
        whole = pd.concat(frames, ignore_index=True)
        if COLD in whole.columns:
            whole[COLD] = whole[COLD].eq(True)  # frames without new series do not have it
        write_parquet(whole, question.file(number))
    return outcome.to_json()


def rows_without_values(
    later: Later, places: set[int], question: Question, spec: Spec, schema: Schema | None
) -> list[pd.DataFrame]:
    """Rows asked for of groups that have no forecast, told by missing values; none whose ids are of another type."""
    rows = later.of(places).future
    if rows is None:
        return []
    try:
        return [without_values(rows if schema is None else typed(rows, schema), question, spec)]
    except DataError:
        return []


def _ended(
    folder: Folder,
    number: int,
    question: Question,
    spec: Spec,
    shared: Knowledge,
    lost: dict[Key, int],
    frames: Sequence[pd.DataFrame],
) -> list[pd.DataFrame]:
    """Steps after the last row of series that have no forecast, told by missing values.

    Series of which not even the time can be read are left out; `status` tells them.
    """
    found = {key for frame in frames for key in read_ids(frame, spec.ids)[0]} if lost else set()
    lost = {key: place for key, place in lost.items() if key not in found}
    rows = read_piece(folder.pieces, number) if lost else None
    if rows is None:
        return []
    keys, codes = read_ids(rows, spec.ids)
    rows = rows[np.array([key in lost for key in keys])[codes]].reset_index(drop=True)
    schema, grid = shared.schema, shared.grid

    def read(part: pd.DataFrame) -> pd.DataFrame:
        keys, series, step = places_by_period(part, schema, grid)
        last = np.full(len(keys), step.min())
        np.maximum.at(last, series, step)
        steps = np.full(len(keys), question.horizon or spec.horizon)
        if question.until is not None:
            end = part.head(1).assign(**{spec.time: [question.until]})
            steps = np.maximum(places_by_period(end, schema, grid)[2][0] - last, 0)
        at = np.repeat(np.arange(len(keys)), steps)
        ahead = np.arange(len(at)) - np.repeat(np.cumsum(steps) - steps, steps) + 1
        out = part.iloc[np.unique(series, return_index=True)[1][at]]
        return without_values(
            out.assign(**{spec.time: schema.time_labels(grid, last[at] + ahead)}), question, spec
        ).reset_index(drop=True)

    out, _ = isolated(rows, row_places(rows, spec.by), read)
    return [] if out is None else [out]


def _groups(folder: Folder, spec: Spec, number: int) -> dict[Key, int]:
    """Series key -> hash of its group, from the rows of a piece."""
    rows = read_piece(folder.pieces, number)
    return {} if rows is None else group_of_series(rows, row_places(rows, spec.by), spec.ids)


def _errors(folder: Folder, shared: Knowledge, number: int, of_series: dict[Key, int]) -> dict[Key, np.ndarray]:
    """Errors [members, windows] of each series' group; NaN where the group does not choose."""
    table = pd.read_parquet(folder.status(number), columns=["place", "status", "errors"])
    shape = (len(shared.members), shared.windows)
    by_place = {
        int(place, 16): np.asarray(e, dtype=float).reshape(shape) if status == DONE else np.full(shape, np.nan)
        for place, status, e in zip(table["place"], table["status"], table["errors"], strict=True)
    }
    return {key: by_place[place] for key, place in of_series.items()}
