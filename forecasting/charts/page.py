"""What all charts share: colours, texts that cannot break a page, numbers on axes, files."""

from __future__ import annotations

import html
import textwrap
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import DataError
from automl.pages import CHART

if TYPE_CHECKING:
    from collections.abc import Sequence

ACTUAL, FORECAST, BAND, GUIDE, COUNT = "#334155", "#c2410c", "rgba(194, 65, 12, 0.18)", "#94a3b8", "#64748b"
PICTURES = (".png", ".pdf", ".svg")
_LONGEST_NAME, _MOST_LINES = 48, 2
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_MOST_DECIMALS = 3


class Chart(ABC):
    """A chart that is drawn by plotly for pages and by matplotlib for pictures."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Plain text above it."""

    @abstractmethod
    def figure(self) -> Any:
        """Interactive `plotly.graph_objects.Figure`."""

    @abstractmethod
    def picture(self) -> Any:
        """Still `matplotlib.figure.Figure`."""

    def save(self, path: str | Path) -> Path:
        """Write it; the suffix says how: .html (works offline), .png, .pdf or .svg.

        Raises
        ------
        DataError : another suffix.
        """
        path = Path(path)
        if path.suffix.lower() == ".html":
            return write_page((self,), path)
        if path.suffix.lower() not in PICTURES:
            raise DataError(f"a chart is written as .html, {', '.join(PICTURES)}, got {path.name!r}.")
        return write(path, picture_bytes(self.picture(), path.suffix))


def write_page(charts: Sequence[Chart], path: str | Path) -> Path:
    """Write charts below each other into one HTML file; plotly.js lies inside, once, so no network is needed."""
    parts = [
        chart.figure().to_html(include_plotlyjs=k == 0, full_html=False, div_id=f"chart-{k}", config=CHART)
        for k, chart in enumerate(charts)
    ]
    title = html.escape(charts[0].title if len(charts) == 1 else "Charts")
    head = f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title></head><body>'
    return write(path, "\n".join([head, *parts, "</body></html>"]).encode())


def picture_bytes(figure: Any, suffix: str) -> bytes:
    """Bytes of a matplotlib figure; the same figure gives the same bytes."""
    kind = suffix[1:].lower()
    dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=110, metadata=dated)
    return buffer.getvalue()


def write(path: str | Path, content: bytes) -> Path:
    """Write a file; folders above it are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def blank(width: float, height: float, title: str) -> Any:
    """Return an empty matplotlib figure, inches, that no window manager knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plain(title))
    return figure


def plain(text: str) -> str:
    """Keep matplotlib from reading `$` as mathematics."""
    return text.replace("$", r"\$")


def shortened(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name of at most so many characters: what tells series apart mostly stands at both ends.

    Examples
    --------
    >>> shortened("a" * 40 + "b" * 40, 11)
    'aaaaa…bbbbb'
    """
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def wrapped(name: str, width: int) -> str:
    r"""Return a name in at most two lines.

    Examples
    --------
    >>> wrapped("north / tea", 12), wrapped("north / herbal tea", 12)
    ('north / tea', 'north /\nherbal tea')
    >>> wrapped("a" * 90, 12)
    'aaaaaaaaaaa…\naaaaaaaaaaa'
    """
    lines = textwrap.wrap(name, width)
    if len(lines) > _MOST_LINES:
        text = shortened(name, _MOST_LINES * width)
        lines = [text[:width], text[width:]]
    return "\n".join(lines)


def short_number(value: float) -> str:
    """Return a number in three digits and a unit.

    Examples
    --------
    >>> short_number(-305255.2), short_number(0.01234), short_number(2e9)
    ('-305k', '0.0123', '2B')
    """
    unit, sign = next(((u, s) for u, s in _UNITS if abs(value) >= u), (1.0, ""))
    return f"{value / unit:.3g}{sign}"


def tick_texts(values: Sequence[float]) -> list[str]:
    """Texts of an axis' ticks, told apart however large the numbers are.

    Examples
    --------
    >>> tick_texts([0, 5e8, 1e9]), tick_texts([1e9, 1e9 + 50])
    (['0', '0.5B', '1.0B'], ['1,000,000,000', '1,000,000,050'])
    """
    numbers = np.asarray(values, dtype=float)
    if not len(numbers):
        return []
    step = float(np.abs(np.diff(numbers)).min()) if len(numbers) > 1 else float(np.abs(numbers[0]))
    unit, sign = next(((u, s) for u, s in _UNITS if np.abs(numbers).max() >= u), (1.0, ""))
    decimals = _decimals(step / unit)
    if decimals > _MOST_DECIMALS and unit > 1:
        unit, sign, decimals = 1.0, "", min(_decimals(step), _MOST_DECIMALS)
    if decimals > 2 * _MOST_DECIMALS:
        return [f"{v:.3g}" for v in numbers]
    return ["0" if v == 0 else f"{v / unit:,.{decimals}f}{sign}" for v in numbers]


def _decimals(step: float) -> int:
    """Decimals that tell ticks this far apart from each other."""
    if step <= 0 or not np.isfinite(step):
        return 0
    for decimals in range(12):
        scaled = step * 10**decimals
        if abs(scaled - round(scaled)) < 1e-6 * scaled and round(scaled) >= 1:
            return decimals
    return 12


def number_axis(axis: Any) -> None:
    """Write an axis' numbers by `tick_texts`."""
    from matplotlib.ticker import Formatter, MaxNLocator

    class Texts(Formatter):
        def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it
            return tick_texts([x])[0]

        def format_ticks(self, values: Sequence[float]) -> list[str]:
            return tick_texts(values)

    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(Texts())


def time_axis(axis: Any, stamps: np.ndarray) -> None:
    """Write dates short, each part once; whole-number times stay numbers."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    if stamps.dtype.kind == "M":
        locator = AutoDateLocator(minticks=3, maxticks=6)
        axis.set_major_locator(locator)
        axis.set_major_formatter(ConciseDateFormatter(locator))
        axis.get_offset_text().set_size(8)
    else:
        axis.set_major_locator(MaxNLocator(6, integer=True))


def bare(axis: Any) -> None:
    """Take off what a panel does not need."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def legend_below(figure: Any, axis: Any) -> None:
    """Put the legend of one panel below all of them, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=4, fontsize=9)


def laid_out(figure: Any, title: str, height: int) -> Any:
    """Give a plotly figure the look of all of them."""
    figure.update_layout(
        title=html.escape(title, quote=False),
        template="plotly_white",
        height=height,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
    )
    figure.update_yaxes(exponentformat="B")
    return figure
