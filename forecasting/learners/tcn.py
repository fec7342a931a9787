"""TCNForecaster: one dilated causal convolution network for all series, with quantile heads (torch, extra `deep`)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.special import ndtri

from automl.errors import ConfigError, ModelFileError
from forecasting.learners.base import FitContext, NewHistory, Unseen, check_quantiles
from forecasting.learners.tcn_inputs import Layout, Rows
from forecasting.learners.tcn_network import LEVELS, Spec, quantile_heads, reach
from forecasting.learners.tcn_training import Recipe, choose_device, import_torch, to_tensors, torch_settings, train
from forecasting.panel import Forecast

if TYPE_CHECKING:
    from automl.trial import State
    from forecasting.panel import Future, Panel

_MOST_CELLS = 6
_BATCH = 256
_MIDDLE = LEVELS.index(0.5)


@dataclass(kw_only=True)
class TCNForecaster:
    """Temporal convolutional network (Bai, Kolter & Koltun 2018) trained on all series together, pinball loss.

    Reads the last `4 * blocks * (2**cells - 1) + 1` rows and answers the whole horizon at once; known covariates and
    the calendar of the steps ahead go to the heads. Each window is scaled by its own history. The last horizon of the
    panel given to `fit` is kept back for early stopping and the best weights are kept; where no series is long enough
    for that, half of `max_epochs` are run. A longer horizon than trained for is answered by feeding medians back, the
    spreads adding up as those of independent errors. Quantiles other than the trained ones are interpolated, and
    extended beyond them, linearly over normal scores. Trains in single precision, forecasts on the CPU in double.

    Parameters
    ----------
    channels, blocks : width and number of blocks. cells : residual cells a block; "auto" = as many as see two seasons.
    dropout, learning_rate : of training; the rate is halved when the loss stands still.
    max_epochs, patience : epochs at most, and without improvement (SPEC of the described service: 100 and 20).
    windows_per_epoch, batch_size : windows drawn an epoch at most (up to 16 origins each), and in a step.
    transform : "auto" (log where no value is negative and few are zero), "log" or "none".
    series_code : learn an embedding a series; unseen ones then use an average one.
    device : "auto", "cpu" or "cuda"; only the CPU gives byte-equal results.

    Examples
    --------
    >>> TCNForecaster(cells=4).reach(season=12)
    61
    """

    channels: int = 24
    blocks: int = 1
    cells: int | str = "auto"
    dropout: float = 0.3
    learning_rate: float = 0.003
    max_epochs: int = 30
    patience: int = 10
    windows_per_epoch: int = 2_048
    batch_size: int = 64
    transform: str = "auto"
    series_code: bool = False
    device: str = "auto"

    _layout: Any = field(default=None, init=False, repr=False, compare=False)
    _spec: Any = field(default=None, init=False, repr=False, compare=False)
    _weights: Any = field(default=None, init=False, repr=False, compare=False)
    _training: Any = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "TCNForecaster"
    new_history: ClassVar[NewHistory] = "refilter"
    unseen: ClassVar[Unseen] = "global"
    native_quantiles: ClassVar[bool] = True
    uses_covariates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        counts = ("channels", "blocks", "max_epochs", "patience", "windows_per_epoch", "batch_size")
        for name in counts:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of {self.name} must be at least 1, got {getattr(self, name)!r}.")
        if self.cells != "auto" and not (isinstance(self.cells, int) and 1 <= self.cells <= 12):
            raise ConfigError(f"cells of {self.name} must be 'auto' or 1 to 12, got {self.cells!r}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout of {self.name} must be at least 0 and below 1, got {self.dropout!r}.")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate of {self.name} must be positive, got {self.learning_rate!r}.")
        for name, known in (("transform", ("auto", "log", "none")), ("device", ("auto", "cpu", "cuda"))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} of {self.name} must be one of {known}, got {getattr(self, name)!r}.")

    def reach(self, season: int) -> int:
        """Rows the network reads at a season length."""
        return reach(self.blocks, self._cells(season))

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Train on all series longer than the horizon.

        Raises
        ------
        MissingPackageError : torch is not installed. LearnerError : no series is longer than the horizon.
        DeadlineExceededError : the epochs will not fit into the time.
        """
        context.deadline.check(f"preparing {self.name}")
        device = choose_device(import_torch(), self.device)
        layout = Layout.fit(
            panel, context, reach=self.reach(context.season), transform=self.transform, series_code=self.series_code
        )
        rows = Rows.of(panel, layout)
        spec = self._sizes(layout, rows, self._cells(context.season))
        recipe = Recipe(
            max_epochs=self.max_epochs,
            patience=self.patience,
            windows_per_epoch=self.windows_per_epoch,
            batch_size=self.batch_size,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            seed=context.seed,
            device=device,
        )
        self._weights, self._training = train(spec, rows, recipe, context.deadline, context.threads)
        self._layout, self._spec = layout, spec
        return self

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast every series of the panel, known to `fit` or not; `fallback` marks those with nothing observed."""
        levels = check_quantiles(quantiles)
        n, h = panel.n_series, self._layout.horizon
        rows = Rows.of(panel, self._layout, future)
        values = np.zeros((n, future.horizon, 1 + len(levels)))
        carried = np.zeros((n, 1, len(LEVELS)))
        first = np.bincount(panel.series_of_rows()[panel.observed], minlength=n) < 1
        with torch_settings(1) as torch:
            for begin in range(0, future.horizon, h):
                steps = slice(begin, min(begin + h, future.horizon))
                heads, scales = self._heads(torch, rows)
                # the error of what was fed back adds to the error of what comes after
                offset = heads - heads[:, :, _MIDDLE : _MIDDLE + 1]
                offset = np.sign(np.array(LEVELS) - 0.5) * np.hypot(offset, carried)
                carried = offset[:, -1:]
                median = heads[:, :, _MIDDLE]
                chosen = [median, *(median + at_level(offset, q) for q in levels)]
                stacked = np.concatenate([s.invert(np.stack(chosen, axis=2)[part]) for part, s in scales])
                values[:, steps] = stacked[:, : steps.stop - begin]
                rows = rows.extended(rows.lengths, stacked[:, :, 0])
        return Forecast(values, levels, first)

    def inputs(self, panel: Panel) -> tuple[str, ...]:
        """Return the history, the calendar where the grid has one, holidays, covariates, and the series with codes."""
        layout = self._layout
        calendar = () if panel.grid.is_integer and layout.season < 2 else ("time",)
        days = ("holidays",) if layout.country and not panel.grid.is_integer else ()
        own = tuple(column.name for columns in (layout.known, layout.past, layout.static) for column in columns)
        return ("target", *calendar, *days, *(("series",) if layout.ids else ()), *own)

    @property
    def training(self) -> dict[str, Any]:
        """How training went: epochs run, the best one, the loss on the rows kept back after each."""
        return dict(self._training)

    def state(self) -> State:
        """Parameters, layout and sizes as JSON; weights as float32 arrays by name."""
        settings = {
            "params": {f.name: getattr(self, f.name) for f in fields(self) if f.init},
            "layout": self._layout.to_json(),
            "spec": self._spec.to_json(),
            "training": self._training,
        }
        return settings, dict(self._weights)

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Build the fitted learner back.

        Raises
        ------
        ModelFileError : the weights are not those of the network described.
        """
        learner = cls(**settings["params"])
        learner._layout, learner._spec = Layout.from_json(settings["layout"]), Spec.from_json(settings["spec"])
        learner._training = settings["training"]
        wanted = learner._spec.shapes()
        found = {n: a.shape for n, a in blobs.items() if isinstance(a, np.ndarray) and a.dtype == np.float32}
        wrong = sorted(n for n in {*wanted, *blobs} if found.get(n) != wanted.get(n))
        wrong += [n for n in wanted if n in found and not np.isfinite(blobs[n]).all()]
        if wrong:
            name = wrong[0]
            raise ModelFileError(
                f"the saved {cls.name} does not fit its description: {len(wrong)} of {len(wanted)} weight arrays are "
                f"wrong, the first is {name!r} (found {found.get(name)}, needed {wanted.get(name)}, finite float32). "
                "Fix: save the model again."
            )
        learner._weights = {n: blobs[n] for n in wanted}
        return learner

    def _cells(self, season: int) -> int:
        if self.cells != "auto":
            return int(self.cells)
        cells = 3
        while reach(self.blocks, cells) < 2 * season + 1 and cells < _MOST_CELLS:
            cells += 1
        return cells

    def _sizes(self, layout: Layout, rows: Rows, cells: int) -> Spec:
        """Sizes of the network, read off a window."""
        none = np.zeros(0, dtype=np.int64)
        inputs = rows.cut(none, none, 1, none).inputs
        known, past, static = (
            tuple(len(c.categories) for c in columns if c.categories is not None)
            for columns in (layout.known, layout.past, layout.static)
        )
        return Spec(
            channels=self.channels,
            blocks=self.blocks,
            cells=cells,
            horizon=layout.horizon,
            history=inputs["rows"].shape[-1],
            ahead=inputs["ahead"].shape[-1],
            traits=inputs["traits"].shape[-1],
            lags=layout.lags,
            row_tables=known + past,
            ahead_tables=known,
            static_tables=static + ((len(layout.ids),) if layout.ids else ()),
        )

    def _heads(self, torch: Any, rows: Rows) -> tuple[np.ndarray, list[tuple[slice, Any]]]:
        """Trained quantiles of the horizon after each series' last row, [n, h, levels], and the scales by batch.

        In double precision, so that which other series are in a batch does not show in the forecast.
        """
        weights = {n: torch.tensor(a, dtype=torch.float64) for n, a in self._weights.items()}
        heads, scales = [], []
        with torch.no_grad():
            for first in range(0, len(rows.lengths), _BATCH):
                part = slice(first, first + _BATCH)
                origin = rows.lengths[part] - 1
                windows = rows.cut(np.arange(len(rows.lengths))[part], origin, 1, origin)
                inputs = to_tensors(torch, windows.inputs, torch.float64, "cpu")
                heads.append(quantile_heads(self._spec, weights, inputs)[:, 0].numpy())
                scales.append((part, windows.scale))
        return np.concatenate(heads), scales


def at_level(offset: np.ndarray, level: float) -> np.ndarray:
    """Offset from the median at any level, linear between trained levels over normal scores, and beyond them.

    Parameters
    ----------
    offset : shape [..., len(LEVELS)], ascending. level : in (0, 1).

    Examples
    --------
    >>> from scipy.special import ndtri
    >>> round(float(at_level(ndtri(np.array(LEVELS)), 0.975)), 2)
    1.96
    """
    knots, score = ndtri(np.array(LEVELS)), float(ndtri(level))
    at = int(np.clip(np.searchsorted(knots, score) - 1, 0, len(LEVELS) - 2))
    share = (score - knots[at]) / (knots[at + 1] - knots[at])
    return offset[..., at] + share * (offset[..., at + 1] - offset[..., at])
