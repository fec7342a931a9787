"""Greedy selection and stacking."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from automl.ensemble import bagged_weights, combine, evened, greedy_arrays, stack
from automl.errors import ConfigError

models = hnp.arrays(float, st.tuples(st.integers(1, 7), st.integers(1, 6)), elements=st.floats(-100, 100))


def _mae(truth):
    return lambda p: float(np.abs(p - truth).mean())


@given(models, st.integers(0, 20))
@settings(max_examples=80, deadline=None)
def test_never_worse_than_the_best_member_and_weights_sum_to_one(predictions, rounds):
    truth = np.linspace(-5, 5, predictions.shape[1])
    weights = greedy_arrays(list(predictions), _mae(truth), rounds=rounds)
    best = min(_mae(truth)(p) for p in predictions)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert _mae(truth)(combine(list(predictions), weights)) <= best + 1e-9


@given(models)
@settings(max_examples=40, deadline=None)
def test_order_of_models_does_not_matter_up_to_ties(predictions):
    truth = np.linspace(-5, 5, predictions.shape[1])
    losses = [_mae(truth)(p) for p in predictions]
    one = _mae(truth)(combine(list(predictions), greedy_arrays(list(predictions), _mae(truth))))
    two = _mae(truth)(combine(list(predictions[::-1]), greedy_arrays(list(predictions[::-1]), _mae(truth))))
    assert max(one, two) <= min(losses) + 1e-9


def test_starts_from_at_most_five_within_five_percent():
    truth = np.zeros(1)
    predictions = [np.array([v]) for v in (1.0, 1.01, 1.02, 1.03, 1.04, 1.045, 1.2)]
    seen = []

    def loss(p):
        seen.append(float(p[0]))
        return float(np.abs(p - truth).mean())

    weights = greedy_arrays(predictions, loss, rounds=0)
    assert weights[0] == 1.0
    prefix_means = [np.mean([1.0, 1.01, 1.02, 1.03, 1.04][:k]) for k in range(1, 6)]
    np.testing.assert_allclose(seen[7:], prefix_means)


def test_opposite_errors_are_averaged_out():
    truth = np.array([1.0, 2.0, 3.0])
    weights = greedy_arrays([truth + 1, truth - 1, truth + 5], _mae(truth))
    assert weights.tolist() == [0.5, 0.5, 0.0]


def test_unusable_models_are_never_chosen():
    truth = np.zeros(2)
    weights = greedy_arrays([np.full(2, np.nan), np.ones(2)], _mae(truth))
    assert weights.tolist() == [0.0, 1.0]
    assert combine([np.full(2, np.nan), np.ones(2)], weights).tolist() == [1.0, 1.0]
    with pytest.raises(ConfigError, match="none of 1 models"):
        greedy_arrays([np.full(2, np.nan)], _mae(truth))


def test_stack_recovers_a_linear_mixture():
    rng = np.random.default_rng(0)
    x = rng.random((400, 3))
    weights = stack(x, 0.7 * x[:, 0] + 0.3 * x[:, 2])
    np.testing.assert_allclose(weights, [0.7, 0.0, 0.3], atol=0.03)
    assert (stack(x, -x[:, 0]) >= 0).all()


def test_bagged_weights_spread_and_beat_the_best_single_model():
    rng = np.random.default_rng(0)
    gained = []
    for _ in range(20):
        truth = rng.normal(size=400)
        models = [truth + rng.normal(size=400) for _ in range(12)]
        parts = [rng.permutation(60)[:30] for _ in range(16)]

        def loss(p, rows, truth=truth):
            return float(np.square(p - truth[rows]).mean())

        weights = bagged_weights([m[:60] for m in models], loss, parts)
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()
        assert 3 <= np.count_nonzero(weights) <= 10
        np.testing.assert_array_equal(bagged_weights([m[:60] for m in models], loss, parts), weights)
        best = min(models, key=lambda m, truth=truth: np.square(m[:60] - truth[:60]).mean())
        both = [np.square(p[60:] - truth[60:]).mean() for p in (combine(models, list(weights)), best)]
        gained.append(both[0] / both[1])
    assert max(gained) < 0.6


def test_bagged_weights_of_models_that_cannot_be_scored():
    bad = np.full(10, np.nan)
    parts = [np.arange(5), np.arange(5, 10)] * 4

    def loss(p, rows):
        return float(np.abs(p).mean())

    np.testing.assert_array_equal(bagged_weights([bad, np.zeros(10)], loss, parts), [0, 1])
    with pytest.raises(ConfigError, match="nothing to combine"):
        bagged_weights([bad], loss, parts)


def test_even_weights_are_taken_as_far_as_the_loss_allows():
    truth = np.arange(6.0)
    best, worse = truth + 0.1, truth + 1.0
    chosen, even = np.array([1.0, 0.0]), np.array([0.5, 0.5])

    def loss(p):
        return float(np.abs(p - truth).mean())

    assert evened([best, worse], chosen, even, loss, share=0.5, limit=loss(best)).tolist() == [1.0, 0.0]
    other = truth - 0.11
    assert evened([best, other], chosen, even, loss, share=0.5, limit=loss(best)).tolist() == [0.75, 0.25]
    far = evened([best, truth - 0.5], chosen, even, loss, share=1.0, limit=loss(best))
    assert far.tolist() == pytest.approx([0.7, 0.3])
