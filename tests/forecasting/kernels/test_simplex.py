"""The simplex search and the driver of kernels over slices."""

import threading
from time import monotonic

import numpy as np
import pytest

from automl.budget import Deadline
from automl.errors import DeadlineExceededError
from forecasting.kernels.batch import cut, over_slices
from forecasting.kernels.compiled import kernel
from forecasting.kernels.simplex import ask, begin, new_simplex, tell


@kernel
def _value(which, x):
    if which == 0:  # a bowl with its lowest point at 1, 2, ...
        total = 0.0
        for i in range(len(x)):
            total += (i + 1) * (x[i] - i - 1) ** 2
        return total
    if which == 1:  # Rosenbrock's valley
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    return np.nan if x[0] < 0.5 else x[0] - 0.5 + x[1] ** 2


@kernel
def _search(which, start, lower, upper, tolerance, most):
    search = new_simplex(len(start))
    begin(search, start, np.full(len(start), 0.3), lower, upper)
    while ask(search, lower, upper, tolerance, most):
        if np.any(search.trial < lower) or np.any(search.trial > upper):
            return search.trial, np.inf, -1
        tell(search, _value(which, search.trial))
    return search.points[0], search.values[0], search.at[2]


def _free(n):
    return np.full(n, -np.inf), np.full(n, np.inf)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_finds_the_lowest_point_of_a_bowl(n):
    x, value, count = _search(0, np.zeros(n), *_free(n), 1e-13, 5_000)
    np.testing.assert_allclose(x, np.arange(1, n + 1), atol=1e-4)
    assert value < 1e-8
    assert count < 1_500


def test_follows_a_bent_valley():
    x, _, _ = _search(1, np.array([-1.2, 1.0]), *_free(2), 1e-14, 2_000)
    np.testing.assert_allclose(x, 1, atol=1e-4)


def test_stays_inside_the_bounds_and_ends_at_them():
    x, value, count = _search(0, np.zeros(2), np.array([-1.0, -1.0]), np.array([0.5, 5.0]), 1e-13, 2_000)
    np.testing.assert_allclose(x, [0.5, 2], atol=1e-4)
    assert value == pytest.approx(0.25, abs=1e-6)
    assert count > 0


@pytest.mark.parametrize("most", [1, 3, 20])
def test_cap_counts_evaluations(most):
    _, _, count = _search(1, np.array([-1.2, 1.0]), *_free(2), 0.0, most)
    assert count == most


def test_values_that_are_no_numbers_are_avoided():
    x, value, _ = _search(2, np.array([2.0, 1.0]), *_free(2), 1e-12, 2_000)
    assert np.isfinite(value)
    np.testing.assert_allclose(x, [0.5, 0], atol=1e-3)


def test_two_searches_are_equal():
    first, second = (_search(1, np.array([-1.2, 1.0]), *_free(2), 1e-10, 500)[0].tobytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("threads", [1, 3])
def test_slices_cover_each_series_once(threads):
    count, lock = np.zeros(1_000, dtype=int), threading.Lock()

    def run(first, end):
        with lock:
            count[first:end] += 1

    over_slices(run, np.random.default_rng(0).random(1_000), threads=threads)
    assert (count == 1).all()


def test_slices_have_about_equal_work():
    work = np.random.default_rng(0).random(10_000)
    sums = np.add.reduceat(work, cut(work, 10)[:-1])
    assert len(sums) == 10
    assert sums.max() < 1.01 * sums.min()
    assert cut(np.array([5.0]), 64).tolist() == [0, 1]


def test_no_series_no_call():
    over_slices(lambda *_: pytest.fail("called"), np.empty(0))


@pytest.mark.parametrize("threads", [1, 2])
def test_deadline_stops_between_slices(threads):
    calls = []
    with pytest.raises(DeadlineExceededError, match="counting"):
        over_slices(
            lambda *x: calls.append(x),
            np.ones(50),
            threads=threads,
            deadline=Deadline(monotonic() - 1),
            what="counting",
        )
    assert len(calls) <= 1


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_pass_on(threads):
    def run(first, end):
        if first <= 30 < end:
            raise ZeroDivisionError("slice of series 30")

    with pytest.raises(ZeroDivisionError, match="30"):
        over_slices(run, np.ones(50), threads=threads)
