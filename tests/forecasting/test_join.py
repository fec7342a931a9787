"""Joining histories."""

import numpy as np

from forecasting.join import join
from tests.forecasting.panels import small_panel


def test_cut_and_joined_is_the_whole():
    panel = small_panel((40, 52, 61))
    cut = np.array([30, 20, 60])
    both = join(panel.head(cut), panel.window(cut, panel.lengths))
    assert both.ids == panel.ids
    for name in ("indptr", "start", "y", "observed", "weight"):
        np.testing.assert_array_equal(getattr(both, name), getattr(panel, name))
    for name in ("known", "past", "static"):
        np.testing.assert_array_equal(getattr(both, name).values, getattr(panel, name).values)
        np.testing.assert_array_equal(getattr(both, name).observed, getattr(panel, name).observed)


def test_gap_between_becomes_unobserved_rows():
    panel = small_panel((40, 52, 61))
    both = join(panel.head(np.array([10, 10, 10])), panel.window(np.array([12, 10, 10]), panel.lengths))
    assert both.lengths.tolist() == panel.lengths.tolist()
    assert both.observed[:14].tolist() == [True] * 10 + [False] * 2 + [True] * 2
    assert both.y[10] == both.y[9]
    assert not both.known.observed[10].any()


def test_series_of_either_side_are_kept():
    panel = small_panel((40, 52, 61))
    both = join(panel.select(np.array([0, 1])), panel.select(np.array([2])))
    assert both.ids == panel.ids
    np.testing.assert_array_equal(both.y, panel.y)
    np.testing.assert_array_equal(both.static.values, panel.static.values)
