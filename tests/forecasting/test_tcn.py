"""The TCN: what it may look at, what it promises, and that it learns."""

import builtins
import importlib.util
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from automl.budget import Deadline
from automl.errors import (
    ConfigError,
    DataError,
    DeadlineExceededError,
    LearnerError,
    MissingPackageError,
    ModelFileError,
)
from forecasting.learners import tcn_inputs, tcn_network, tcn_training
from forecasting.learners.base import FitContext
from forecasting.learners.tcn import TCNForecaster, at_level
from forecasting.panel import Block, Future, Panel
from forecasting.timegrid import TimeGrid
from tests.forecasting.panels import future_of, small_panel

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is missing: pip install 'forecastle[deep]'"
)

HORIZON, SEASON = 4, 6
LEVELS = (0.05, 0.1, 0.5, 0.9, 0.99)
TINY = {"channels": 8, "cells": 2, "max_epochs": 2, "windows_per_epoch": 64, "batch_size": 32}
CONTEXT = FitContext(horizon=HORIZON, season=SEASON, seed=3)


def _panel(**kwargs):
    return small_panel((50, 61, 70), freq="MS", season=SEASON, **kwargs)


@cache
def _fitted(**params):
    return TCNForecaster(**{**TINY, **params}).fit(_panel(), CONTEXT)


def _layout(panel, **kwargs):
    settings = {"reach": 13, "transform": "none", "series_code": False, **kwargs}
    return tcn_inputs.Layout.fit(panel, CONTEXT, **settings)


def _cut(panel, origin, forks=1, limit=10**6, **kwargs):
    rows = tcn_inputs.Rows.of(panel, _layout(_panel(), **kwargs))
    n = panel.n_series
    return rows.cut(np.arange(n), np.full(n, origin), forks, np.full(n, limit))


def _waves(n=6, length=80, seed=0, season=SEASON):
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    return [10 + i + 3 * np.sin(2 * np.pi * (t + i) / season) + 0.2 * rng.standard_normal(length) for i in range(n)]


# -- the network ------------------------------------------------------------------------------------------------------


def _spec(blocks=1, cells=2):
    return tcn_network.Spec(channels=5, blocks=blocks, cells=cells, horizon=3, history=2, ahead=1, traits=1, lags=1)


@pytest.mark.deep
@needs_torch
@pytest.mark.parametrize(("blocks", "cells"), [(1, 1), (1, 3), (2, 2), (3, 2)])
def test_the_network_sees_as_many_rows_as_the_formula_says(blocks, cells):
    import torch

    spec = _spec(blocks, cells)
    want = 4 * blocks * (2**cells - 1) + 1
    assert tcn_network.reach(blocks, cells) == want
    forks = 3
    weights = {n: torch.tensor(a) for n, a in tcn_network.initial_weights(spec, 1).items()}
    rows = torch.randn(1, want - 1 + forks, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    states = tcn_network.encode(spec, weights, rows)
    assert states.shape == (1, forks, 5)
    for fork in range(forks):
        (gradient,) = torch.autograd.grad(states[0, fork].square().sum(), rows, retain_graph=True)
        touched = np.flatnonzero(np.abs(gradient[0].numpy()).sum(axis=1) > 0)
        assert (touched.min(), touched.max()) == (fork, fork + want - 1)


@pytest.mark.deep
@needs_torch
def test_an_origin_among_others_answers_as_if_it_were_alone():
    """Several origins share a window in training; each must see what it would see in forecasting."""
    import torch

    spec = _spec()
    reach = tcn_network.reach(1, 2)
    dice = torch.Generator().manual_seed(0)
    weights = {n: torch.tensor(a, dtype=torch.float64) for n, a in tcn_network.initial_weights(spec, 1).items()}
    rows = torch.randn(2, reach + 3, 2, generator=dice, dtype=torch.float64)
    together = tcn_network.encode(spec, weights, rows)
    for fork in range(4):
        alone = tcn_network.encode(spec, weights, rows[:, fork : fork + reach])
        np.testing.assert_allclose(together[:, fork].numpy(), alone[:, 0].numpy(), rtol=1e-12)


@pytest.mark.deep
@needs_torch
def test_quantile_heads_never_cross_whatever_the_weights():
    import torch

    spec = _spec()
    rng = np.random.default_rng(0)
    weights = {n: torch.tensor(rng.standard_normal(s) * 5) for n, s in spec.shapes().items()}
    inputs = {
        "rows": torch.tensor(rng.standard_normal((7, 14, 2))),
        "row_codes": torch.zeros((7, 14, 0), dtype=torch.int64),
        "ahead": torch.tensor(rng.standard_normal((7, 2, 3, 1))),
        "ahead_codes": torch.zeros((7, 2, 3, 0), dtype=torch.int64),
        "lags": torch.tensor(rng.standard_normal((7, 2, 3, 1))),
        "traits": torch.tensor(rng.standard_normal((7, 2, 1))),
        "static_codes": torch.zeros((7, 0), dtype=torch.int64),
    }
    heads = tcn_network.quantile_heads(spec, weights, inputs).numpy()
    assert heads.shape == (7, 2, 3, 5)
    assert (np.diff(heads, axis=-1) >= 0).all()


def test_embedding_width():
    assert [tcn_network.embedding_width(n) for n in (1, 81, 82, 10_000, 10**9)] == [3, 3, 4, 10, 100]


def test_levels_between_and_beyond_the_trained_ones():
    knots = 2.5 * ndtri(np.array(tcn_network.LEVELS))
    for q in (0.001, 0.05, 0.1, 0.3, 0.5, 0.8, 0.999):
        assert at_level(knots, q) == pytest.approx(2.5 * norm.ppf(q), abs=1e-12)
    skewed = np.array([-1.0, -0.9, 0.0, 4.0, 4.0])
    answers = [float(at_level(skewed, q)) for q in np.linspace(0.001, 0.999, 200)]
    assert (np.diff(answers) >= 0).all()
    assert at_level(skewed, 0.75) == pytest.approx(4.0)


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_inputs_hold_nothing_of_what_comes_after_the_origin():
    panel, origin = _panel(), 30
    late = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths) > origin
    wild = replace(
        panel,
        y=np.where(late, 1e5, panel.y),
        observed=panel.observed & ~late,
        past=replace(panel.past, values=np.where(late[:, None], -1e5, panel.past.values)),
    )
    for transform in ("none", "log"):
        calm, shaken = (_cut(p, origin, transform=transform) for p in (panel, wild))
        for name, values in calm.inputs.items():
            assert values.tobytes() == shaken.inputs[name].tobytes(), name
        assert calm.scale.centre.tobytes() == shaken.scale.centre.tobytes()


def test_later_origins_of_a_window_are_scaled_by_the_first_one_alone():
    panel, origin = _panel(), 30
    late = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths) > origin
    wild = replace(panel, y=np.where(late, 3 * panel.y, panel.y))
    calm, shaken = (_cut(p, origin, forks=3) for p in (panel, wild))
    assert calm.scale.spread.tobytes() == shaken.scale.spread.tobytes()
    assert (calm.inputs["rows"][:, :13] == shaken.inputs["rows"][:, :13]).all()
    assert (calm.inputs["rows"][:, 13:, 0] != shaken.inputs["rows"][:, 13:, 0]).all()
    # the first origin's lags stay, the later ones' may use the rows between
    assert (calm.inputs["lags"][:, 0] == shaken.inputs["lags"][:, 0]).all()


def test_targets_lags_and_levels_are_the_values_they_are_named_after():
    y = np.arange(100.0) ** 1.5
    panel = Panel.from_arrays([y], TimeGrid.steps())
    layout = tcn_inputs.Layout.fit(
        panel, FitContext(horizon=8, season=SEASON), reach=13, transform="none", series_code=False
    )
    window = tcn_inputs.Rows.of(panel, layout).cut(np.array([0]), np.array([40]), 2, np.array([48]))
    back = window.scale.invert
    for fork in range(2):
        origin = 40 + fork
        np.testing.assert_allclose(
            window.scale.apply(y[None, origin + 1 : origin + 9]), window.target[:, fork], rtol=1e-12
        )
        lag = back(window.inputs["lags"][:, fork, :, 0])[0]
        want = np.concatenate([y[origin - 5 : origin + 1], y[origin - 5 : origin - 3]])
        np.testing.assert_allclose(lag, want, rtol=1e-9)
        second = back(window.inputs["lags"][:, fork, :, 1])[0]
        np.testing.assert_allclose(second[:6], y[origin - 11 : origin - 5], rtol=1e-9)
        np.testing.assert_allclose(
            back(window.inputs["traits"][:, fork, :2])[0],
            [y[origin - 5 : origin + 1].mean(), y[origin - 11 : origin - 5].mean()],
        )
    # what lies at or after the limit does not count
    assert window.weight[0].tolist() == [[1] * 7 + [0], [1] * 6 + [0] * 2]


def test_short_and_unobserved_rows_are_masked():
    y = np.array([np.nan, 5.0, np.nan, 7.0, 9.0])
    panel = Panel.from_arrays([y], TimeGrid.steps())
    layout = tcn_inputs.Layout.fit(panel, CONTEXT, reach=13, transform="none", series_code=False)
    rows = tcn_inputs.Rows.of(panel, layout, Future.bare(panel, HORIZON))
    window = rows.cut(np.array([0]), np.array([4]), 1, np.array([99]))
    history = window.inputs["rows"][0]
    assert history[:, 1].tolist() == [0] * 9 + [1, 0, 1, 1]
    assert (history[:8] == 0).all()
    assert not window.weight.any()
    assert window.scale.centre[0, 0] == pytest.approx(7.0)
    assert window.scale.spread[0, 0] == pytest.approx(np.std([5, 7, 9]))


@pytest.mark.parametrize("log", [False, True])
def test_scaling_and_back_is_the_identity(log):
    rng = np.random.default_rng(0)
    y = np.stack([rng.random(20) + 0.5, 1e12 * (rng.random(20) + 1), rng.poisson(1.0, 20), 1e-9 * rng.random(20)])
    scale = tcn_inputs.Scale.of(y, np.ones_like(y, dtype=bool), log=log, recent=5)
    assert scale.log.all() == log
    z = scale.apply(y)
    assert np.abs(z).max() < 20
    np.testing.assert_allclose(scale.invert(z), y, rtol=1e-9, atol=1e-12)
    far = scale.invert(np.full((4, 1), 1e9))
    assert np.isfinite(far).all()
    assert (far > y.max(axis=1, keepdims=True)).all()


def test_calendar_is_known_for_every_frequency_and_has_its_cycle():
    steps = np.arange(0, 24 * 60)
    for freq, cycle in (("h", 24 * 7), ("D", 7), ("15min", 96 * 7)):
        table = tcn_inputs.calendar_inputs(TimeGrid(freq, "2024-01-01"), steps, 1, None)
        assert (np.abs(table) <= 1).all()
        weekly = [c for c in range(table.shape[1]) if np.allclose(table[:-cycle, c], table[cycle:, c], atol=1e-5)]
        assert len(weekly) >= 6
    for freq in ("MS", "QS-OCT", "W-THU", "B", "YS", "min"):
        assert np.isfinite(tcn_inputs.calendar_inputs(TimeGrid(freq, "2024-01-01"), steps[:50], 1, "US")).all()
    seasonal = tcn_inputs.calendar_inputs(TimeGrid.steps(), steps, 12, "US")
    np.testing.assert_allclose(seasonal[:-12], seasonal[12:], atol=1e-6)
    flags = tcn_inputs.calendar_inputs(TimeGrid("D", "2024-07-01"), np.arange(10), 7, "US")
    assert (
        flags.shape[1] == tcn_inputs.calendar_inputs(TimeGrid("D", "2024-07-01"), np.arange(10), 7, None).shape[1] + 4
    )
    assert (flags[3, -4:-2] > flags[5, -4:-2]).all()


# -- where it trains --------------------------------------------------------------------------------------------------


def test_early_stopping_looks_at_the_last_horizon_of_the_training_part_and_training_does_not():
    lengths = np.array([60, 9, 14, 4, 5, 200])
    split = tcn_training.split_windows(lengths, HORIZON, SEASON)
    last_target = split.last + HORIZON
    assert (last_target < split.limit).all()
    assert (split.first >= 0).all()
    assert (split.first <= split.last).all()
    for series, origin in zip(split.checked, split.origin, strict=True):
        assert origin + HORIZON == lengths[series] - 1
        (at,) = np.flatnonzero(split.series == series)
        assert split.limit[at] == origin + 1
    assert {0, 5} <= set(split.checked)
    # too short for a target: not trained on; too short to keep rows back: trained on whole
    assert set(split.series) == {0, 1, 2, 4, 5}
    assert split.limit[list(split.series).index(4)] == 5


def test_series_no_longer_than_the_horizon_cannot_be_trained_on():
    with pytest.raises(LearnerError, match=r"at least 5 rows.*longest of 2 has 4"):
        tcn_training.split_windows(np.array([2, 4]), HORIZON, 1)


@pytest.mark.deep
@needs_torch
def test_training_does_not_learn_from_the_rows_kept_back(monkeypatch):
    """Other values in the last horizon change when training stops, not what an epoch learns."""
    panel = _panel()
    late = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths) >= np.repeat(
        panel.lengths - HORIZON, panel.lengths
    )
    wild = replace(panel, y=np.where(late, 1.4 * panel.y, panel.y))
    calm, shaken = (TCNForecaster(**{**TINY, "max_epochs": 1}).fit(p, CONTEXT) for p in (panel, wild))
    assert calm.training["losses"] != shaken.training["losses"]
    for name, weight in calm.state()[1].items():
        assert weight.tobytes() == shaken.state()[1][name].tobytes(), name


@pytest.mark.deep
@needs_torch
def test_patience_ends_training_and_the_best_weights_stay():
    # noise cannot be learnt: the loss soon stands still
    rng = np.random.default_rng(0)
    panel = Panel.from_arrays([rng.standard_normal(60) for _ in range(3)], TimeGrid.steps())
    learner = TCNForecaster(**{**TINY, "max_epochs": 60, "patience": 2, "learning_rate": 0.02}).fit(panel, CONTEXT)
    log = learner.training
    assert log["epochs"] == log["best_epoch"] + 2 < 60
    assert log["losses"][log["best_epoch"] - 1] == min(log["losses"])
    again = TCNForecaster(**{**TINY, "max_epochs": log["best_epoch"], "patience": 2, "learning_rate": 0.02})
    again.fit(panel, CONTEXT)
    for name, weight in again.state()[1].items():
        assert weight.tobytes() == learner.state()[1][name].tobytes()


# -- the learner ------------------------------------------------------------------------------------------------------


@pytest.mark.deep
@needs_torch
def test_same_seed_same_bytes_and_torch_is_left_as_it_was():
    import torch

    threads, dice = torch.get_num_threads(), torch.random.get_rng_state().numpy().tobytes()
    first, again = (TCNForecaster(**TINY).fit(_panel(), CONTEXT) for _ in range(2))
    other = TCNForecaster(**TINY).fit(_panel(), replace(CONTEXT, seed=4))
    panel = _panel()
    future = future_of(panel, HORIZON)
    answers = [x.forecast(panel, future, LEVELS).values.tobytes() for x in (first, again, other)]
    assert answers[0] == answers[1] != answers[2]
    assert first.training == again.training
    assert torch.get_num_threads() == threads
    assert torch.random.get_rng_state().numpy().tobytes() == dice


@pytest.mark.deep
@needs_torch
def test_state_holds_plain_arrays_and_comes_back_byte_equal():
    import json

    panel = _panel()
    future = future_of(panel, 2 * HORIZON)
    learner = TCNForecaster(**TINY, series_code=True).fit(panel, CONTEXT)
    settings, blobs = learner.state()
    back = TCNForecaster.from_state(json.loads(json.dumps(settings)), blobs)
    assert (
        back.forecast(panel, future, LEVELS).values.tobytes()
        == learner.forecast(panel, future, LEVELS).values.tobytes()
    )
    assert {a.dtype for a in blobs.values()} == {np.dtype(np.float32)}


@pytest.mark.deep
@needs_torch
@pytest.mark.parametrize("harm", ["missing", "extra", "shape", "dtype", "nan", "bytes"])
def test_tampered_weights_are_refused(harm):
    settings, blobs = _fitted().state()
    blobs = dict(blobs)
    first = "decode.weight"
    if harm == "missing":
        del blobs[first]
    elif harm == "extra":
        blobs["more"] = np.zeros(1, dtype=np.float32)
    else:
        a = blobs[first]
        blobs[first] = {
            "shape": a[:-1],
            "dtype": a.astype(float),
            "nan": np.where(a == a.max(), np.nan, a).astype(np.float32),
            "bytes": a.tobytes(),
        }[harm]
    with pytest.raises(ModelFileError, match="more" if harm == "extra" else first):
        TCNForecaster.from_state(settings, blobs)


@pytest.mark.deep
@needs_torch
def test_quantiles_are_ordered_and_the_point_is_the_median():
    panel = _panel()
    forecast = _fitted().forecast(panel, future_of(panel, 3 * HORIZON), (0.99, 0.05, 0.1, 0.5, 0.9))
    assert forecast.quantiles == LEVELS
    assert (np.diff(forecast.values[:, :, 1:], axis=2) >= 0).all()
    assert (forecast.values[:, :, 0] == forecast.values[:, :, 3]).all()
    assert (forecast.values[:, :, 5] > forecast.values[:, :, 1]).all()


@pytest.mark.deep
@needs_torch
def test_beyond_the_horizon_medians_are_fed_back_and_spreads_add_up():
    panel = _panel()
    future = future_of(panel, 2 * HORIZON + 1)
    far = _fitted().forecast(panel, future, (0.1, 0.9)).values
    near = _fitted().forecast(panel, future.head(HORIZON), (0.1, 0.9)).values
    np.testing.assert_allclose(far[:, :HORIZON], near, rtol=1e-12)
    width = far[:, :, 2] - far[:, :, 1]
    assert (width[:, HORIZON:].mean(axis=1) > width[:, :HORIZON].mean(axis=1)).all()
    # the second part is what the network says of a panel that ends with the medians of the first
    bare = small_panel((50, 61, 70), season=SEASON, covariates=False)
    learner = TCNForecaster(**TINY).fit(bare, CONTEXT)
    both = learner.forecast(bare, Future.bare(bare, 2 * HORIZON), ()).point
    longer = Panel.from_arrays(
        [np.concatenate([bare.series(i), both[i, :HORIZON]]) for i in range(3)], bare.grid, ids=bare.ids
    )
    second = learner.forecast(longer, Future.bare(longer, HORIZON), ()).point
    np.testing.assert_allclose(both[:, HORIZON:], second, rtol=1e-9)


@pytest.mark.deep
@needs_torch
def test_only_forecasts_with_a_later_origin_see_a_change():
    panel = small_panel((60, 60, 60), season=SEASON, covariates=False)
    learner = TCNForecaster(**TINY).fit(panel, CONTEXT)
    position = np.arange(panel.n_rows) % 60
    moved = replace(panel, y=np.where(position == 40, 1.7 * panel.y, panel.y))
    for origin in range(36, 46):
        cut = [p.head(np.full(3, origin + 1)) for p in (panel, moved)]
        before, after = (learner.forecast(p, Future.bare(p, HORIZON), LEVELS).values for p in cut)
        assert (before.tobytes() == after.tobytes()) == (origin < 40), origin


@pytest.mark.deep
@needs_torch
def test_unseen_series_are_forecast_like_seen_ones():
    panel = _panel()
    future = future_of(panel, HORIZON)
    renamed = replace(panel, ids=tuple((f"new{i}",) for i in range(3)))
    plain = _fitted()
    assert (
        plain.forecast(panel, future, LEVELS).values.tobytes()
        == plain.forecast(renamed, future, LEVELS).values.tobytes()
    )
    coded = _fitted(series_code=True)
    known, unknown = (coded.forecast(p, future, LEVELS).values for p in (panel, renamed))
    assert known.tobytes() != unknown.tobytes()
    assert np.isfinite(unknown).all()


@pytest.mark.deep
@needs_torch
def test_a_new_category_is_an_unknown_one():
    panel = _panel()
    future = future_of(panel, HORIZON)
    price, kind = future.known.values.T

    def answer(codes, *names):
        known = replace(future.known, values=np.stack([price, codes], axis=1), vocabulary=(("kind", names),))
        return _fitted().forecast(panel, replace(future, known=known), LEVELS).values.tobytes()

    assert answer(np.full(len(kind), 2.0), "a", "b", "c") == answer(np.full(len(kind), -1.0), "a", "b")
    assert answer(np.zeros(len(kind)), "a", "b") != answer(np.ones(len(kind)), "a", "b")
    # codes are read through the vocabulary, whatever its order
    assert answer(1 - kind, "b", "a") == answer(kind, "a", "b")


@pytest.mark.deep
@needs_torch
def test_other_covariates_than_in_fit_are_an_error():
    bare = small_panel((50, 61, 70), season=SEASON, covariates=False)
    with pytest.raises(DataError, match=r"known covariates are \[\].*\['price', 'kind'\]"):
        _fitted().forecast(bare, Future.bare(bare, HORIZON), ())


@pytest.mark.deep
@needs_torch
def test_hard_series_are_finite_and_in_their_own_units():
    series = _waves(3)
    hard = {
        "constant": np.full(40, 4.2),
        "zeros": np.zeros(40),
        "huge": 1e12 * series[0],
        "one": np.array([3.0]),
        "short": np.array([3.0, 4.0]),
        "gaps": np.where(np.arange(80) % 3 == 0, np.nan, series[1]),
        "nothing": np.full(10, np.nan),
    }
    panel = Panel.from_arrays([*series, *hard.values()], TimeGrid.steps())
    learner = TCNForecaster(**TINY).fit(panel, CONTEXT)
    forecast = learner.forecast(panel, Future.bare(panel, 2 * HORIZON), LEVELS)
    values = dict(zip(hard, forecast.values[3:], strict=True))
    assert np.isfinite(forecast.values).all()
    assert forecast.fallback.tolist() == [False] * 9 + [True]
    np.testing.assert_allclose(values["constant"], 4.2, rtol=1e-12)
    assert (values["zeros"] == 0).all()
    np.testing.assert_allclose(values["one"], 3.0, rtol=1e-12)
    # scale-free: the huge series is forecast as its small twin
    np.testing.assert_allclose(values["huge"], 1e12 * forecast.values[0], rtol=1e-6)


@pytest.mark.deep
@needs_torch
def test_a_season_and_a_covariate_are_learnt():
    """A known covariate that drives y is learnt: far better than without it, and than the last season repeated."""
    rng = np.random.default_rng(0)
    n, length = 8, 90
    promotion = (rng.random((n, length)) < 0.3).astype(float)
    y = np.stack(_waves(n, length)) + 6 * promotion
    cut = length - HORIZON
    grid = TimeGrid.steps()

    def block(values):
        return Block(("promotion",), values.reshape(-1, 1), np.ones((values.size, 1), dtype=bool))

    params = {"channels": 12, "cells": 2, "max_epochs": 12, "learning_rate": 0.01}
    told = Panel.from_arrays(list(y[:, :cut]), grid, known=block(promotion[:, :cut]))
    untold = Panel.from_arrays(list(y[:, :cut]), grid)
    futures = Future(HORIZON, block(promotion[:, cut:])), Future.bare(untold, HORIZON)
    errors = []
    for panel, future in zip((told, untold), futures, strict=True):
        learner = TCNForecaster(**params).fit(panel, CONTEXT)
        errors.append(np.abs(learner.forecast(panel, future, ()).point - y[:, cut:]).mean())
    naive = np.abs(y[:, cut:] - y[:, cut - SEASON : cut - SEASON + HORIZON]).mean()
    assert errors[0] < 0.5 * errors[1]
    assert errors[0] < 0.4 * naive


@pytest.mark.deep
@needs_torch
def test_time_that_will_not_do_is_said_early():
    panel = small_panel((300, 300, 300), season=SEASON)
    deadline = Deadline.after(60)
    with pytest.raises(DeadlineExceededError, match=r"TCNForecaster needs about \d+ s for 100000 epochs.*max_epochs"):
        TCNForecaster(max_epochs=100_000).fit(panel, replace(CONTEXT, deadline=deadline))
    assert deadline.left() > 0


def test_without_torch_the_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name.partition(".")[0] == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(MissingPackageError, match=r"TCNForecaster needs.*pip install 'forecastle\[deep\]'"):
        TCNForecaster().fit(_panel(), CONTEXT)


@pytest.mark.parametrize(
    "params",
    [
        {"channels": 0}, {"blocks": 0}, {"cells": "many"}, {"cells": 0}, {"dropout": 1.0}, {"learning_rate": 0.0},
        {"max_epochs": 0}, {"patience": 0}, {"transform": "sqrt"}, {"device": "tpu"}, {"learning_rate": math.nan},
    ],
    ids=str,
)  # fmt: skip
def test_settings_check_themselves(params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        TCNForecaster(**params)


@pytest.mark.deep
@needs_torch
def test_a_gpu_that_is_not_there_is_an_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="device='cuda'"):
        TCNForecaster(device="cuda").fit(_panel(), CONTEXT)


@pytest.mark.deep
@needs_torch
def test_a_run_that_allows_it_by_name_has_it_in_its_ensemble(tmp_path):
    from forecasting.forecaster import Forecaster
    from tests.forecasting.frames import monthly, quick

    settings = quick(2, allowed=["SeasonalNaive", "tcn"], n_windows=1, metric="mase")
    model = Forecaster(3, settings=settings).fit(monthly(n_series=2, rows=36), path=tmp_path / "run")
    board = model.leaderboard().set_index("model")
    assert board.loc["TCNForecaster", "status"] == "completed"
    assert dict(model._fitted()[0].entry("VotingEnsemble").weights).keys() >= {"TCNForecaster"}
    forecast = model.predict(model="VotingEnsemble", quantiles=[0.1, 0.9])
    assert (forecast["yhat-q-0.1"] <= forecast["yhat-q-0.9"]).all()
    assert Forecaster.load(tmp_path / "run").predict(model="VotingEnsemble", quantiles=[0.1, 0.9]).equals(forecast)
