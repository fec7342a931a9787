"""Which models an ensemble is made of: by one metric where it was named, by points and quantiles where none was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from automl.candidates import Candidate
from automl.runs import TrialRecord
from forecasting.assemble import Assembly
from forecasting.config import SearchSettings, Settings
from forecasting.fitting import chosen_metric, metric_beside, plan_task
from forecasting.metrics import find_metric
from tests.forecasting.panels import small_panel

MASE, WQL = find_metric("mase"), find_metric("wql")


@pytest.fixture(scope="module")
def task():
    panel = small_panel((70,) * 60, covariates=False)
    return plan_task(panel, 4, Settings(search=SearchSettings(n_windows=2, window_step=4)), seed=0).task


def _assembly(task, channels, beside):
    records = []
    for number, values in enumerate(channels):
        candidate = Candidate.of("Prophet", {"changepoint_prior_scale": 0.1 + number})  # a learner with own quantiles
        record = TrialRecord(
            number=number,
            learner=candidate.learner,
            candidate=candidate,
            params=candidate.values(),
            status="completed",
            scores=task.score(values),
            info={"windows": len(task.cuts)},
            path=Path("none"),
        )
        records.append(record)
    assembly = Assembly(task, records, MASE, beside)
    assembly._channels |= dict(enumerate(channels))
    return assembly


def _forecasts(task, error, width):
    """Points that miss by about `error` scales, alike in all models; quantiles `width` times as wide as is right."""
    truth = task.truth()
    shape = (len(task.cuts), task.panel.n_series, task.settings.horizon)
    noise = np.random.default_rng(0).standard_normal(shape)
    scale = truth.mae_scale.reshape(shape[:2])[:, :, None]
    point = truth.y.reshape(shape) + error * noise * scale
    normal = np.linspace(-2, 2, len(task.settings.levels)) * width * error
    return np.concatenate([point[..., None], point[..., None] + normal * scale[..., None]], axis=3)


def test_a_little_better_point_does_not_pay_for_quantiles_that_are_no_use(task):
    channels = [_forecasts(task, 1.0, 30.0), _forecasts(task, 1.03, 1.0)]
    assert list(_assembly(task, channels, None).vote(15)) == [0]
    assert list(_assembly(task, channels, WQL).vote(15)) == [1]


def test_a_little_better_quantile_does_not_pay_for_points_that_are_no_use(task):
    good, wide = _forecasts(task, 1.0, 1.2), _forecasts(task, 1.0, 1.0)
    wide[..., 0] += 5 * np.abs(wide[..., 0])
    assert list(_assembly(task, [wide, good], WQL).vote(15)) == [1]


def test_loss_is_two_for_what_is_best_by_both_and_the_metric_itself_without_another(task):
    channels = [_forecasts(task, 1.0, 1.0), _forecasts(task, 2.0, 1.0)]
    both, alone = _assembly(task, channels, WQL), _assembly(task, channels, None)
    assert both.loss(both.records[0].scores) == pytest.approx(2.0)
    assert both.loss(both.records[1].scores) > 2.5
    assert alone.loss(alone.records[0].scores) == alone.records[0].scores["mase"]


def test_without_a_unit_the_metric_counts_alone(task):
    perfect = _forecasts(task, 0.0, 1.0)
    assembly = _assembly(task, [perfect, _forecasts(task, 1.0, 1.0)], WQL)
    assert assembly.loss({"mase": 0.3, "wql": 7.0}) == 0.3
    assert list(assembly.vote(15)) == [0]


@pytest.mark.parametrize(
    ("settings", "beside"),
    [
        (Settings(), "wql"),
        (Settings(quantiles=(0.1,)), None),
        (Settings(search=SearchSettings(metric="mase")), None),
        (Settings(search=SearchSettings(metric="wape")), None),
    ],
)
def test_only_who_named_nothing_is_served_by_two_metrics(settings, beside):
    found = metric_beside(settings, chosen_metric(settings))
    assert (found and found.name) == beside
    assert metric_beside(replace(settings), find_metric("mean_absolute_error")) is None
