"""What users of the described service may count on: where each promise is tested, and tests of those without a home."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from automl.budget import ExitCriteria
from forecasting.forecaster import Forecaster
from tests.forecasting.frames import monthly, quick

TESTS = Path(__file__).parents[1]
PROMISES = {
    "lag expansion as in the worked table, nothing later than the origin": (
        "forecasting/test_features.py::test_lag_expansion_table",
        "forecasting/test_features.py::test_rows_never_read_past_their_origin",
    ),
    "calendar row, pruned by frequency": (
        "forecasting/test_features.py::test_calendar_golden_row",
        "forecasting/test_features.py::test_calendar_is_pruned_by_frequency",
    ),
    "rolling origins, newest first, least history, step between them": (
        "forecasting/test_backtest.py::test_windows_are_newest_first_and_follow_their_training_part",
        "forecasting/test_backtest.py::test_minimum_length_formula",
        "forecasting/test_acceptance.py::test_the_step_between_windows_moves_their_origins",
    ),
    "frequencies of every kind": ("forecasting/test_stamps.py::test_difficult_stamps_work_or_are_told",),
    "gaps: target forward, features by median, flags": (
        "forecasting/test_frame.py::test_gaps_are_filled_and_marked",
        "forecasting/test_reading.py::test_gaps_of_numbers_are_filled_as_said",
        "forecasting/test_reading.py::test_gaps_become_flags_when_asked_for",
    ),
    "short series: dropped, padded, kept, missing forecasts, older names": (
        "forecasting/test_frame.py::test_short_series_are_dropped_padded_or_kept",
        "forecasting/test_request.py::test_dropped_series_are_missing_values_in_the_users_order",
        "forecastle/test_jobs.py::test_short_series_handling_true_and_parameters_block",
    ),
    "aggregation, the same later": (
        "forecasting/test_frame.py::test_aggregation_by_period",
        "forecasting/test_reading.py::test_dates_are_put_together_by_min_max_and_mode",
        "forecasting/test_reading.py::test_later_rows_are_put_together_as_in_training_even_before_the_first_period",
    ),
    "requests: plain, destination, context, gap, recursion, known values, finite quantiles": (
        "forecasting/test_request.py::test_until_a_date",
        "forecasting/test_request.py::test_context_rows_move_the_origin_of_each_series_by_itself",
        "forecasting/test_request.py::test_a_gap_after_training_is_bridged",
        "forecasting/test_request.py::test_twice_the_horizon_equals_feeding_forecasts_back",
        "forecasting/test_request.py::test_known_values_in_the_request_are_kept_and_serve_as_history",
        "forecasting/test_request.py::test_quantiles_past_the_horizon_are_finite_and_wider",
    ),
    "rolling forecasts": ("forecasting/test_forecaster.py::test_rolling_forecast_counts_its_windows",),
    "no early stop before trial 31; ensembles after every end": (
        "automl/test_search.py::test_early_stopping_comes_at_trial_31_and_not_before",
        "forecasting/test_acceptance.py::test_the_ensemble_is_made_however_the_search_ends",
    ),
    "greedy ensembles": (
        "automl/test_ensemble.py::test_starts_from_at_most_five_within_five_percent",
        "automl/test_ensemble.py::test_never_worse_than_the_best_member_and_weights_sum_to_one",
    ),
    "stacking off by default": ("forecasting/test_forecaster.py::test_stacking_is_off_unless_asked_for",),
    "guardrails": (
        "forecasting/test_guardrails.py::test_every_guardrail_is_always_there_and_is_stored",
        "forecasting/test_guardrails.py::test_findings_say_how_many_series_and_which",
    ),
    "best by another metric": ("forecasting/test_acceptance.py::test_another_metric_may_choose_another_model",),
    "cancel, pause, resume, continue": (
        "automl/test_search.py::test_pause_resume_cancel_trial_and_cancel_from_another_process",
        "forecasting/test_forecaster.py::test_continue_keeps_earlier_trials",
    ),
    "saved models": (
        "forecasting/test_forecaster.py::test_a_saved_model_opens_in_a_clean_process",
        "automl/test_bundle.py::test_a_damaged_manifest_is_refused",
    ),
}  # fmt: skip


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_has_its_tests(promise):
    for place in PROMISES[promise]:
        file, _, name = place.partition("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place


def test_the_step_between_windows_moves_their_origins():
    for step in (1, 6):
        settings = quick(1, allowed=["Naive"], n_windows=3, window_step=step)
        cuts = Forecaster(6, settings=settings).fit(monthly())._model.task.cuts
        assert [int(cut[0]) for cut in cuts] == [54, 54 - step, 54 - 2 * step]


@pytest.mark.parametrize("end", ["trials", "score", "progress"])
def test_the_ensemble_is_made_however_the_search_ends(end):
    limits, said = {
        "trials": (ExitCriteria(max_trials=3), "max_trials"),
        "score": (ExitCriteria(max_trials=30, exit_score=50.0), "exit_score"),
        "progress": (ExitCriteria(max_trials=30, patience=1, landmarks=2), "early_stopping"),
    }[end]
    settings = quick(3, workers=2, vote=True)
    model = Forecaster(3, settings=replace(settings, search=replace(settings.search, limits=limits))).fit(monthly())
    done = (model.leaderboard()["status"] == "completed").sum()
    assert model.stopped_because == said
    assert ("VotingEnsemble" in set(model.leaderboard()["model"])) == (done > 1)


def test_another_metric_may_choose_another_model():
    """One huge series of noise and many small ones with a season: their mean and their sum prefer different models."""
    frame = monthly(n_series=4, noise=0.1)
    rng = np.random.default_rng(0)
    big = frame["unique_id"] == "s3"
    frame.loc[big, "y"] = 1e4 + 2e3 * rng.standard_normal(int(big.sum()))
    settings = quick(2, allowed=["SeasonalNaive", "Average"], vote=False, metric="mase")
    model = Forecaster(6, settings=settings).fit(frame)
    assert model.best() == model.best("mase") == "SeasonalNaive"
    assert model.best("wape") == "Average"
