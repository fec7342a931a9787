"""Rolling-origin windows: where they lie, what they see, how many there are."""

import numpy as np
import pytest

from automl.errors import DataError
from forecasting import backtest as bt
from forecasting.metrics import naive_scales
from tests.forecasting.panels import small_panel


def test_windows_are_newest_first_and_follow_their_training_part():
    panel = small_panel((40, 52, 61))
    cuts = bt.cutoffs(panel, horizon=6, n_windows=3, step=4)
    for number, window in enumerate(bt.windows(panel, cuts, 6, 12)):
        end = panel.lengths - 6 - 4 * number
        assert window.train.lengths.tolist() == end.tolist()
        for i in range(3):
            np.testing.assert_array_equal(window.truth.y[i], panel.series(i)[end[i] : end[i] + 6])
            np.testing.assert_array_equal(window.train.series(i), panel.series(i)[: end[i]])
            rows = slice(panel.indptr[i] + end[i], panel.indptr[i] + end[i] + 6)
            np.testing.assert_array_equal(window.future.known.values.reshape(3, 6, -1)[i], panel.known.values[rows])


def test_error_scales_come_from_the_training_part():
    panel = small_panel((40, 52, 61))
    window = next(bt.windows(panel, bt.cutoffs(panel, 6, 1, 6), 6, 12))
    want = [np.abs(s[12:] - s[:-12]).mean() for s in (panel.series(i)[:-6] for i in range(3))]
    np.testing.assert_allclose(window.truth.mae_scale, want)


def test_a_short_series_sits_out_the_windows_it_cannot_take():
    panel = small_panel((9, 52, 61))
    windows = list(bt.windows(panel, bt.cutoffs(panel, 6, 2, 6), 6, 12))
    assert windows[0].series.tolist() == [0, 1, 2]
    assert windows[1].series.tolist() == [1, 2]
    assert bt.scatter(np.ones((2, 6)), windows[1].series, 3)[:, 0].tolist() == pytest.approx(
        [np.nan, 1, 1], nan_ok=True
    )


def test_no_series_long_enough_is_an_error_with_the_longest():
    panel = small_panel((6, 5))
    with pytest.raises(DataError, match="the longest has 6 rows"):
        next(bt.windows(panel, bt.cutoffs(panel, 6, 1, 6), 6, 12))


@pytest.mark.parametrize(
    ("lengths", "horizon", "season", "want"),
    [
        ([500] * 5, 10, 7, (5, 10)),
        ([500] * 50, 10, 7, (3, 10)),
        ([500] * 500, 10, 7, (2, 10)),
        ([20], 8, 1, (2, 4)),
        ([12], 6, 12, (1, 6)),
        ([50] * 300, 18, 12, (1, 18)),
        ([60] * 300, 12, 12, (2, 12)),
    ],
)
def test_choice_of_windows(lengths, horizon, season, want):
    assert bt.choose_windows(np.array(lengths), horizon, season) == want


def test_minimum_length_formula():
    assert bt.minimum_length(horizon=4, n_windows=3, step=2, lookback=12) == 25


def test_naive_scale_skips_unobserved_pairs_and_says_nan_where_nothing_changes():
    from forecasting.panel import Panel
    from forecasting.timegrid import TimeGrid

    panel = Panel.from_arrays([np.array([1.0, 2, np.nan, 4, 8]), np.full(5, 3.0), np.array([7.0])], TimeGrid.steps())
    mae, rmse, spread = naive_scales(panel, season=1)
    np.testing.assert_allclose(mae, [2.5, np.nan, np.nan])
    np.testing.assert_allclose(rmse, [np.sqrt((1 + 16) / 2), np.nan, np.nan])
    np.testing.assert_allclose(spread, [7, np.nan, np.nan])
