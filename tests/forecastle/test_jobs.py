"""Job files: every key finds its setting, nothing is ignored, and errors name the key."""

import math
import re
from pathlib import Path

import pytest

from automl.errors import AutoMLError, ConfigError
from forecastle import jobs
from forecastle.jobs import load_job, parse_job

ROOT = Path(__file__).parents[2]
COLUMNS = ["Store", "Brand", "WeekStarting", "Quantity", "Price", "Advert", "Income", "logQuantity"]

FULL = """
$schema: https://example.org/automl.schema.json
type: automl
task: forecasting
experiment_name: juice
description: weekly orders
compute: local
primary_metric: normalized_root_mean_squared_error
log_verbosity: warning
data:
  training_data: train.csv
  test_data: ../test.csv
  target_column_name: Quantity
  weight_column_name: Income
  n_cross_validations: 3
limits:
  timeout_minutes: 0.5
  trial_timeout_minutes: 20
  max_trials: 10
  max_concurrent_trials: 2
  max_cores_per_trial: 1
  enable_early_termination: false
  exit_score: 0.25
  memory_limit_mb: 300
forecasting:
  time_column_name: WeekStarting
  time_series_id_column_names: [Store, Brand]
  forecast_horizon: 20
  frequency: W-THU
  target_lags: [1, 2, 52]
  target_rolling_window_size: 4
  target_rolling_window_statistics: [mean, sum]
  feature_lags: [1, 2]
  use_stl: season_trend
  seasonality: 52
  use_further_seasons: false
  country_or_region_for_holidays: US
  holiday_subdivision: CA
  holiday_window: [5, 1]
  target_transform: log
  short_series_handling_config: drop
  target_aggregate_function: sum
  cv_step_size: 4
  known_covariates: [Price, Advert]
  past_covariates: logQuantity
  quantiles: [0.9, 0.1]
  seed: 42
featurization: auto
training:
  allowed_training_algorithms: [LightGBM, Naive, ElasticNet]
  blocked_training_algorithms: [Naive]
  enable_dnn_training: false
  enable_vote_ensemble: false
  enable_stack_ensemble: true
  enable_model_explainability: true
  training_mode: non_distributed
"""


@pytest.fixture
def full(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(FULL)
    return load_job(path)


def test_every_key_finds_its_setting(full, tmp_path):
    settings = full.settings(COLUMNS)
    data, features, search = settings.data, settings.features, settings.search
    assert (data.columns.id, data.columns.time, data.columns.target) == (("Store", "Brand"), "WeekStarting", "Quantity")
    assert (data.covariates.known, data.covariates.past) == (("Price", "Advert"), ("logQuantity",))
    assert (data.freq, data.aggregate, data.short_series, data.weight) == ("W-THU", "sum", "drop", "Income")
    assert (features.season, features.lags, features.windows, features.holidays) == (52, (1, 2, 52), (4,), "US")
    assert features.window_statistics == ("mean", "sum")
    assert (features.feature_lags, features.use_stl) == ((1, 2), "season_trend")
    assert (features.target_transform, features.memory_limit_mb) == ("log", 300)
    assert (features.country, features.holiday_window, features.further_seasons) == ("US-CA", (5, 1), False)
    assert (search.n_windows, search.window_step, search.workers, search.threads) == (3, 4, 2, 1)
    assert search.metric == "normalized_root_mean_squared_error"
    assert (search.allowed, search.blocked) == (("LightGBM", "Naive", "ElasticNet"), ("Naive",))
    assert (search.deep, search.vote, search.stack, search.verbosity) == (False, False, True, "warning")
    limits = search.limits
    assert (limits.time_limit, limits.trial_time_limit, limits.max_trials, limits.exit_score) == (30, 1200, 10, 0.25)
    assert limits.early_stopping is False
    assert settings.quantiles == (0.1, 0.9) or settings.quantiles == (0.9, 0.1)
    assert (full.forecasting.forecast_horizon, full.forecasting.seed) == (20, 42)
    assert full.training.enable_model_explainability
    assert full.data.training_data == str(tmp_path.resolve() / "train.csv")
    assert Path(full.data.test_data).resolve() == (tmp_path.parent / "test.csv").resolve()


def test_the_horizon_may_be_left_to_the_data():
    assert parse_job({"forecasting": {"forecast_horizon": "auto"}}).forecasting.forecast_horizon == "auto"


def test_an_empty_job_means_our_defaults(tmp_path):
    from forecasting.config import Settings

    path = tmp_path / "empty.yml"
    path.write_text("# nothing\n")
    job = load_job(path)
    assert job == parse_job({})
    assert job.settings(COLUMNS) == Settings()
    assert job.forecasting.forecast_horizon == 1


def test_what_is_known_of_single_columns():
    job = parse_job(
        {
            "data": {"target_column_name": "Quantity"},
            "forecasting": {
                "time_column_name": "WeekStarting", "time_series_id_column_names": ["Store", "Brand"],
                "features_unknown_at_forecast_time": ["logQuantity"], "non_negative_forecasts": False,
            },
            "featurization": {
                "mode": "custom", "drop_columns": ["Income"], "prediction_transform_type": "Integer",
                "column_name_and_types": {"Advert": "Categorical"},
                "transformer_params": {
                    "imputer": [
                        {"fields": ["Quantity"], "parameters": {"strategy": "constant", "fill_value": 0}},
                        {"fields": "Price", "parameters": {"strategy": "ffill"}},
                    ]
                },
            },
        }
    )  # fmt: skip
    settings = job.settings(COLUMNS)
    data = settings.data
    assert (data.covariates.known, data.covariates.past) == (("Price", "Advert"), ("logQuantity",))
    assert (data.fill_target, data.fill_value, data.fill_numbers) == ("constant", 0.0, {"Price": "ffill"})
    assert data.kinds == {"Advert": "category"}
    assert (settings.integer, settings.non_negative) == (True, False)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"drop_columns": "Prise"}, "drop_columns names 'Prise', which the data does not have"),
        ({"drop_columns": "Price"}, "drop_columns drops 'Price', which another list uses"),
        ({"column_name_and_types": {"Price": "Text"}}, r"types\.Price: expected Numeric, Categorical or DateTime"),
        ({"column_name_and_types": {"Income": "Numeric"}}, "kinds names 'Income', which is no covariate"),
        ({"column_name_and_types": ["Price"]}, r"column_name_and_types: expected a block of keys"),
        ({"transformer_params": {"hash": []}}, r"transformer_params\.hash is not supported"),
        ({"transformer_params": {"imputer": [{"fields": ["Price"]}]}}, "each entry has fields and parameters"),
        (
            {"transformer_params": {"imputer": [{"fields": ["y"], "parameters": {"strategy": "median"}}]}},
            "fill_target must be one of 'ffill', 'constant', got 'median'",
        ),
        ({"prediction_transform_type": "Float"}, "prediction_transform_type: expected 'Integer' or null"),
    ],
)
def test_single_columns_that_are_not_as_said(block, message):
    with pytest.raises(ConfigError, match=message):
        parse_job({"forecasting": {"known_covariates": ["Price"]}, "featurization": block}).settings(
            ["unique_id", "ds", "y", "Price", "Income"]
        )


OLD = {
    "label_column_name": ("y2", "data.target_column_name", "y2"),
    "experiment_timeout_minutes": (3, "limits.timeout_minutes", 3),
    "experiment_timeout_hours": (0.25, "limits.timeout_minutes", 15),
    "iteration_timeout_minutes": (2, "limits.trial_timeout_minutes", 2),
    "iterations": (7, "limits.max_trials", 7),
    "max_concurrent_iterations": (2, "limits.max_concurrent_trials", 2),
    "concurrent_iterations": (2, "limits.max_concurrent_trials", 2),
    "max_cores_per_iteration": (-1, "limits.max_cores_per_trial", -1),
    "enable_early_stopping": (False, "limits.enable_early_termination", False),
    "mem_in_mb": (512, "limits.memory_limit_mb", 512),
    "experiment_exit_score": (0.5, "limits.exit_score", 0.5),
    "grain_column_names": (["a"], "forecasting.time_series_id_column_names", ["a"]),
    "max_horizon": (9, "forecasting.forecast_horizon", 9),
    "freq": ("MS", "forecasting.frequency", "MS"),
    "country_or_region": ("DE", "forecasting.country_or_region_for_holidays", "DE"),
    "holiday_country": ("DE", "forecasting.country_or_region_for_holidays", "DE"),
    "country": ("DE", "forecasting.country_or_region_for_holidays", "DE"),
    "short_series_handling_configuration": ("pad", "forecasting.short_series_handling_config", "pad"),
    "short_series_handling": (False, "forecasting.short_series_handling_config", None),
    "target_aggregation_function": ("mean", "forecasting.target_aggregate_function", "mean"),
    "allowed_models": (["Naive"], "training.allowed_training_algorithms", ["Naive"]),
    "whitelist_models": (["Naive"], "training.allowed_training_algorithms", ["Naive"]),
    "blocked_models": (["Naive"], "training.blocked_training_algorithms", ["Naive"]),
    "blacklist_models": (["Naive"], "training.blocked_training_algorithms", ["Naive"]),
    "enable_dnn": (True, "training.enable_dnn_training", True),
    "enable_voting_ensemble": (False, "training.enable_vote_ensemble", False),
    "model_explainability": (True, "training.enable_model_explainability", True),
}


@pytest.mark.parametrize("name", sorted(OLD))
def test_old_names_work_in_their_block_and_at_the_top(name):
    value, path, wanted = OLD[name]
    block, key = path.split(".")
    for raw in ({name: value}, {block: {name: value}}):
        assert getattr(getattr(parse_job(raw), block), key) == wanted


def test_all_old_names_are_tried_here():
    assert {name for block in jobs._ALIASES.values() for name in block} == set(OLD)


def test_short_series_handling_true_and_parameters_block():
    job = parse_job({"forecasting_parameters": {"short_series_handling": True, "freq": "D"}})
    assert (job.forecasting.short_series_handling_config, job.forecasting.frequency) == ("auto", "D")


def test_unknown_ahead_makes_every_other_column_known():
    base = {"time_series_id_column_names": ["Store", "Brand"], "time_column_name": "WeekStarting"}
    data = {"target_column_name": "Quantity", "weight_column_name": "Income"}

    def covariates(**more):
        return parse_job({"data": data, "forecasting": {**base, **more}}).covariates(COLUMNS)

    some = covariates(features_unknown_at_forecast_time=["logQuantity"])
    assert (some.known, some.past) == (("Price", "Advert"), ("logQuantity",))
    everything = covariates(features_unknown_at_forecast_time=[])
    assert (everything.known, everything.past) == (("Price", "Advert", "logQuantity"), ())
    with_static = covariates(features_unknown_at_forecast_time="logQuantity", static_covariates=["Advert"])
    assert (with_static.known, with_static.static) == (("Price",), ("Advert",))
    nothing_said = covariates()
    assert (nothing_said.known, nothing_said.past, nothing_said.static) == ((), (), ())
    with pytest.raises(ConfigError, match="features_unknown_at_forecast_time"):
        covariates(features_unknown_at_forecast_time=[], known_covariates=["Price"])


def test_default_columns_are_not_taken_for_covariates():
    job = parse_job({"forecasting": {"features_unknown_at_forecast_time": []}})
    assert job.covariates(["unique_id", "ds", "y", "price"]).known == ("price",)
    assert job.covariates(["item_id", "timestamp", "target", "price"]).known == ("price",)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"forecasting": {"frequencyy": "W"}}, r"forecasting\.frequencyy; did you mean forecasting\.frequency\?"),
        ({"limits": {"timeout": 2}}, r"limits\.timeout; did you mean limits\.timeout_minutes"),
        ({"forcasting": {}}, r"forcasting; did you mean forecasting\?"),
        ({"forecast_horizn": 3}, r"forecast_horizn; did you mean forecasting\.forecast_horizon\?"),
        ({"data": {"zzz": 3}}, r"data\.zzz\. Known: .*data\.target_column_name"),
        ({7: 3}, r"unknown key 7"),
        ({"forecasting": {7: 3}}, r"unknown key forecasting\.7"),
        ({"limits": {"timeout_minutes": "2"}}, r"limits\.timeout_minutes: expected a number or null, got the text '2'"),
        ({"limits": {"max_trials": 2.5}}, r"limits\.max_trials: expected a whole number"),
        ({"limits": {"max_trials": True}}, r"limits\.max_trials: expected a whole number or null, got true"),
        ({"limits": {"enable_early_termination": 1}}, r"enable_early_termination: expected true or false"),
        ({"limits": 3}, r"limits: expected a block of keys and values, got the number 3"),
        (
            {"forecasting": {"forecast_horizon": "all"}},
            r"forecast_horizon: expected a whole number or 'auto', got the text 'all'",
        ),
        (
            {"forecasting": {"target_lags": [1, "x"]}},
            r"target_lags: expected .*a list of whole numbers, 'default' or 'auto' or null",
        ),
        (
            {"forecasting": {"short_series_handling_config": "padd"}},
            r"short_series_handling_config: expected 'auto' or 'pad' or 'drop' or null, got the text 'padd'",
        ),
        ({"forecasting": {"time_column_name": ["a"]}}, r"time_column_name: expected a text or null, got the list"),
        ({"task": "classification"}, r"task: expected 'forecasting', got the text 'classification'"),
        ({"compute": "azureml:cluster"}, r"compute: expected 'local'"),
        ({"freq": "D", "forecasting": {"frequency": "W"}}, r"forecasting\.frequency is given twice"),
        (
            {"featurization": {"blocked_transformers": ["TfIdf"]}},
            r"featurization\.blocked_transformers is not supported",
        ),
        ({"featurization": "off"}, r"featurization\.mode: expected 'auto' or 'custom', got the text 'off'"),
        (
            {"training": {"enable_onnx_compatible_models": True}},
            r"training\.enable_onnx_compatible_models is not supported",
        ),
        ({"training": {"training_mode": "distributed"}}, r"training\.training_mode is not supported"),
        (
            {"forecasting": {"use_stl": "trend"}},
            r"use_stl: expected 'season' or 'season_trend' or null, got the text 'trend'",
        ),
        ({"forecasting": {"hierarchy_column_names": ["a"]}}, r"hierarchy_column_names is not supported"),
        ({"data": {"validation_data_size": 0.2}}, r"data\.validation_data_size is not supported"),
        (["a", "b"], r"a job is a mapping"),
        ("text", r"a job is a mapping"),
    ],
)
def test_errors_name_the_key_and_what_was_expected(raw, message):
    with pytest.raises(ConfigError, match=message):
        parse_job(raw)


def test_all_wrong_types_are_told_at_once():
    with pytest.raises(
        ConfigError, match=r"(?s)limits\.max_trials.*forecasting\.seed|forecasting\.seed.*limits\.max_trials"
    ):
        parse_job({"limits": {"max_trials": "x"}, "forecasting": {"seed": "y"}})


@pytest.mark.parametrize("harmless", [None, False, [], {}])
def test_parts_we_do_not_have_may_be_switched_off(harmless):
    raw = {block: dict.fromkeys(keys, harmless) for block, keys in jobs._ABSENT.items()}
    assert parse_job(raw) == parse_job({})


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ({"forecasting": {"forecast_horizon": 1}, "limits": {"timeout_minutes": -1}}, "time_limit"),
        ({"limits": {"timeout_minutes": math.inf}, "primary_metric": "acuracy"}, "metric"),
        ({"forecasting": {"quantiles": [1.5]}}, "quantiles"),
        ({"training": {"allowed_training_algorithms": ["LightGM"]}}, "LightGBM"),
        ({"forecasting": {"country_or_region_for_holidays": "ATLANTIS"}}, "ATLANTIS"),
        ({"forecasting": {"forecast_horizon": 0}}, "horizon"),
        ({"forecasting": {"frequency": "fortnightly"}}, "fortnightly"),
        ({"forecasting": {"target_lags": 0}}, "lags"),
        ({"forecasting": {"target_rolling_window_size": 1}}, "windows"),
        ({"forecasting": {"target_aggregate_function": "sum"}}, "freq"),
    ],
)
def test_values_no_setting_can_have_are_found_before_any_data_is_read(raw, name):
    from forecasting.forecaster import Forecaster

    job = parse_job(raw)
    with pytest.raises(AutoMLError, match=name):
        Forecaster(job.forecasting.forecast_horizon, settings=job.settings(COLUMNS))


def test_what_is_no_yaml_or_no_file(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text("a: [1, 2\nb: }")
    with pytest.raises(ConfigError, match=r"job\.yml is no valid YAML.*line 2"):
        load_job(path)
    path.write_text("limits: {max_trails: 3}")
    with pytest.raises(ConfigError, match=r"job\.yml: unknown key limits\.max_trails; did you mean limits\.max_trials"):
        load_job(path)
    with pytest.raises(FileNotFoundError):
        load_job(tmp_path / "none.yml")


def test_the_settings_page_names_every_key():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([^`\s]+)`", page))
    keys = {f for block in (*jobs._BLOCKS, "featurization") for f in jobs._known(block)}
    assert not keys - named


def test_the_example_of_the_settings_page_and_the_readme_are_jobs():
    import yaml

    for page in ("docs/settings.md", "README.md"):
        blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        assert blocks
        for block in blocks:
            job = parse_job(yaml.safe_load(block))
            assert job.forecasting.time_series_id_column_names == ["Store", "Brand"]
