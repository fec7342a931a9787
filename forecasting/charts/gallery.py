"""The three charts of a set of forecasts together, and the pages of a backtest."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Self

from forecasting.charts.agreement import AgreementChart
from forecasting.charts.folds import folds_of
from forecasting.charts.horizon import HorizonChart, draw
from forecasting.charts.page import Chart, blank, legend_below, plain, write, write_page
from forecasting.charts.residuals import ResidualChart
from forecasting.plots import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pandas import DataFrame

MAX_PAGES = 60


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts of forecasts beside what came.

    Parameters
    ----------
    horizon : by series and origin. residuals : histogram. agreement : predicted against true. The latter two are None
        where no forecast has an actual value beside it.
    """

    horizon: HorizonChart
    residuals: ResidualChart | None
    agreement: AgreementChart | None

    @classmethod
    def of(cls, predictions: DataFrame, history: DataFrame, *, ids: Sequence[str], time: str, target: str) -> Self:
        """Make all charts.

        Parameters
        ----------
        predictions : ids, time, cutoff, target, yhat and quantiles, as `Forecaster.backtest` returns them.
        history : ids, time, target of rows before the origins.

        Raises
        ------
        DataError : there is no prediction, or a column is missing.
        """
        horizon = HorizonChart(folds_of(predictions, history, ids=ids, time=time, target=target))
        y = predictions[target].to_numpy(dtype=float, na_value=float("nan"))
        f = predictions["yhat"].to_numpy(dtype=float, na_value=float("nan"))
        if not ((y == y) & (f == f)).any():  # noqa: PLR0124 - NaN alone differs from itself
            return cls(horizon, None, None)
        return cls(horizon, ResidualChart.of(y, f), AgreementChart.of(y, f))

    def __iter__(self) -> Iterator[tuple[str, Chart]]:
        found = (("horizon", self.horizon), ("residuals", self.residuals), ("predicted_vs_true", self.agreement))
        return iter([(name, chart) for name, chart in found if chart is not None])

    def write(self, folder: str | Path) -> list[Path]:
        """Write `charts.html` with all of them, which works offline, and a PNG file of each."""
        folder = Path(folder)
        named = list(self)
        page = write_page([chart for _, chart in named], folder / "charts.html")
        return [page, *(chart.save(folder / f"{name}.png") for name, chart in named)]


def write_pages(
    predictions: DataFrame,
    history: DataFrame,
    path: str | Path,
    *,
    ids: Sequence[str],
    time: str,
    target: str,
    max_pages: int = MAX_PAGES,
) -> Path:
    """Write a PDF with a page for each series and origin; a first page says so where some had to be left out."""
    from matplotlib.backends.backend_pdf import PdfPages

    # series may end, and so be cut, at different dates
    origins = int(predictions.groupby(keys_of(predictions, tuple(ids)))["cutoff"].nunique().max())
    most = max(1, max_pages // origins)
    folds = folds_of(predictions, history, ids=ids, time=time, target=target, max_series=most, max_folds=max_pages)
    buffer = BytesIO()
    with PdfPages(buffer, metadata={"CreationDate": None}) as book:
        if folds.note:
            cover = blank(8.3, 5.0, "Forecast against actual")
            cover.text(0.5, 0.5, plain(f"Shown here: {folds.note}. All of them are in forecast.csv."), ha="center")
            book.savefig(cover)
        for fold in (fold for series in folds.by_series for fold in series):
            page = blank(8.3, 5.0, "")
            axis = page.subplots()
            draw(axis, fold, folds.label, width=100)
            legend_below(page, axis)
            book.savefig(page)
    return write(path, buffer.getvalue())
