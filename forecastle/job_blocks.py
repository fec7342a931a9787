"""The blocks of a job file: their keys, types and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

STRICT = {"extra": "forbid"}
Auto = Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobData:
    """Block `data`: which columns and files. Paths are relative to the job file."""

    __pydantic_config__: ClassVar[dict] = STRICT

    training_data: str | None = None
    validation_data: str | None = None
    test_data: str | None = None
    target_column_name: str | None = None
    weight_column_name: str | None = None
    n_cross_validations: int | Auto = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """Block `limits`: when the search ends. Minutes may be fractions."""

    __pydantic_config__: ClassVar[dict] = STRICT

    timeout_minutes: float | None = None
    trial_timeout_minutes: float | None = None
    max_trials: int | None = None
    max_concurrent_trials: int | None = None
    max_cores_per_trial: int = 1
    enable_early_termination: bool = True
    exit_score: float | None = None
    memory_limit_mb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobForecasting:
    """Block `forecasting`: what the series are and what is known ahead. Lengths in time steps."""

    __pydantic_config__: ClassVar[dict] = STRICT

    time_column_name: str | None = None
    time_series_id_column_names: str | list[str] | None = None
    forecast_horizon: int | Auto = 1
    frequency: str | None = None
    target_lags: int | list[int] | Literal["default", "auto"] | None = "default"
    target_rolling_window_size: int | list[int] | Literal["default", "auto"] | None = "default"
    target_rolling_window_statistics: str | list[str] = field(default_factory=lambda: ["mean", "min", "max", "std"])
    feature_lags: int | list[int] | Auto | None = None
    use_stl: Literal["season", "season_trend"] | None = None
    seasonality: int | Auto | None = "auto"
    use_further_seasons: bool = True
    country_or_region_for_holidays: str | None = None
    holiday_subdivision: str | None = None
    holiday_window: int | list[int] = 3
    target_transform: Literal["auto", "none", "log", "difference"] = "auto"
    short_series_handling_config: Literal["auto", "pad", "drop"] | None = "auto"
    target_aggregate_function: Literal["sum", "mean", "min", "max"] | None = None
    cv_step_size: int | Auto | None = "auto"
    features_unknown_at_forecast_time: str | list[str] | None = None
    known_covariates: str | list[str] | None = None
    past_covariates: str | list[str] | None = None
    static_covariates: str | list[str] | None = None
    quantiles: list[float] | None = None
    non_negative_forecasts: bool | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFeaturization:
    """Block `featurization`: what the user knows about single columns."""

    __pydantic_config__: ClassVar[dict] = STRICT

    mode: Literal["auto", "custom"] = "auto"
    drop_columns: str | list[str] | None = None
    column_name_and_types: dict[str, str] = field(default_factory=dict)
    transformer_params: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    prediction_transform_type: Literal["Integer"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTraining:
    """Block `training`: which learners and ensembles."""

    __pydantic_config__: ClassVar[dict] = STRICT

    allowed_training_algorithms: str | list[str] | None = None
    blocked_training_algorithms: str | list[str] | None = None
    own_learners: dict[str, str] = field(default_factory=dict)
    enable_dnn_training: bool = False
    enable_vote_ensemble: bool = True
    enable_stack_ensemble: bool = False
    enable_model_explainability: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMany:
    """Block `many`: a model for each group of series (`forecastle many`)."""

    __pydantic_config__: ClassVar[dict] = STRICT

    partition_column_names: str | list[str] | None = None
    search: Literal["shared", "each"] = "shared"
    piece_rows: int = 100_000
