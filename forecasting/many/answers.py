"""What a fitted piece is asked: forecasts, rolling forecasts, backtests, each written as one file. Runs in workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd

from forecasting.learners.base import check_quantiles
from forecasting.many.layout import Folder
from forecasting.many.piece import DONE, PieceModel, has_model, write_parquet
from forecasting.many.pieces import read_piece, row_places
from forecasting.many.reading import group_of_series
from forecasting.many.shared import Knowledge

if TYPE_CHECKING:
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


def answer_piece(root: str, number: int, asked: dict[str, Any]) -> int:
    """Answer for one piece and write the file; returns the number of rows."""
    question = Question.from_json(asked)
    folder = Folder(Path(root))
    spec, shared = folder.spec(), Knowledge.load(folder)
    if not has_model(folder, number):
        return 0
    model = PieceModel(folder, spec, shared, number)
    if question.groups is not None:
        wanted = set(question.groups)
        model.only([key for key, place in _groups(folder, spec, number).items() if place in wanted])
        if not model.series:
            return 0
    frame = _answer(question, folder, spec, shared, model, number)
    if frame is None or frame.empty:
        return 0
    write_parquet(frame, question.file(number))
    return len(frame)


def _answer(
    question: Question,
    folder: Folder,
    spec: Spec,
    shared: Knowledge,
    model: PieceModel,
    number: int,
) -> pd.DataFrame | None:
    if question.kind == "backtest":
        levels = check_quantiles(question.quantiles or spec.settings.quantiles)
        errors = _errors(folder, shared, number, _groups(folder, spec, number))
        return model.backtest_windows(errors, levels)
    history = None if question.history is None else _later(question.history, number, model)
    if question.kind == "rolling":
        if history is None:
            return None
        return model.rolling_forecast(history, step=question.step, quantiles=question.quantiles, model=question.model)
    future = None
    if question.future is not None:
        future = _later(question.future, number, model)
        if future is None:
            return None
    return model.predict(
        future,
        history=history,
        horizon=question.horizon,
        until=question.until,
        quantiles=question.quantiles,
        level=question.level,
        model=question.model,
    )


def _groups(folder: Folder, spec: Spec, number: int) -> dict[Key, int]:
    """Series key -> hash of its group, from the rows of a piece."""
    rows = read_piece(folder.pieces, number)
    return {} if rows is None else group_of_series(rows, row_places(rows, spec.by), spec.ids)


def _later(path: str, number: int, model: PieceModel) -> pd.DataFrame | None:
    """Later rows of the piece's series, None where there are none."""
    frame = read_piece(Path(path), number)
    if frame is None:
        return None
    frame = model.rows_of(frame)
    return frame if len(frame) else None


def _errors(folder: Folder, shared: Knowledge, number: int, of_series: dict[Key, int]) -> dict[Key, np.ndarray]:
    """Errors [members, windows] of each series' group; NaN where the group does not choose."""
    table = pd.read_parquet(folder.status(number), columns=["place", "status", "errors"])
    shape = (len(shared.members), shared.windows)
    by_place = {
        int(place, 16): np.asarray(e, dtype=float).reshape(shape) if status == DONE else np.full(shape, np.nan)
        for place, status, e in zip(table["place"], table["status"], table["errors"], strict=True)
    }
    return {key: by_place[place] for key, place in of_series.items()}
