"""Job files: the settings of a run as YAML, under the names of the described service, mapped to our own settings.

Three passes, each with its own errors: `_normalise` (old names, flat data keys, parts we do not have), `parse_job`
(types, by pydantic against the dataclasses below, with the path of the key in every message) and `Job.settings`
(meaning: minutes to seconds, one name to another).
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from automl import memory
from automl.errors import ConfigError
from forecastle.job_blocks import (
    STRICT,
    JobData,
    JobFeaturization,
    JobForecasting,
    JobLimits,
    JobMany,
    JobTraining,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forecasting.config import Columns, Covariates, Settings
    from forecasting.frame import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A whole job file. `experiment_name` and `description` are for the reader; the file is kept beside the run."""

    __pydantic_config__: ClassVar[dict] = STRICT

    type: Literal["automl"] = "automl"
    task: Literal["forecasting"] = "forecasting"
    experiment_name: str | None = None
    description: str | None = None
    compute: str = "local"
    primary_metric: str | None = None
    log_verbosity: Literal["not_set", "debug", "info", "warning", "error", "critical"] = "info"
    data: JobData = field(default_factory=JobData)
    limits: JobLimits = field(default_factory=JobLimits)
    forecasting: JobForecasting = field(default_factory=JobForecasting)
    featurization: JobFeaturization = field(default_factory=JobFeaturization)
    training: JobTraining = field(default_factory=JobTraining)
    many: JobMany | None = None

    def many_block(self) -> JobMany:
        """Block `many`.

        Raises
        ------
        ConfigError : a limit is set that many models do not have.
        """
        wanted = self.many or JobMany()
        given = {"timeout_minutes": self.limits.timeout_minutes, "max_trials": self.limits.max_trials}
        set_ = [name for name, value in given.items() if value is not None]
        if wanted.search == "shared" and set_:
            raise ConfigError(
                f"limits.{set_[0]} is of each group's own search, and groups that share one try a fixed list of "
                "models. Fix: many.search: each, or remove the key."
            )
        return wanted

    def covariates(self, columns: Sequence[str]) -> Covariates:
        """Say which of a frame's columns are known ahead, past only, or one value a series.

        With `features_unknown_at_forecast_time` the columns it lists are past and all others known; without it only
        what the three lists of covariates name is used.
        """
        from forecasting.config import Covariates

        f = self.forecasting
        known, past, static = (_names(v) for v in (f.known_covariates, f.past_covariates, f.static_covariates))
        if f.features_unknown_at_forecast_time is not None:
            if known or past:
                raise ConfigError(
                    "forecasting.features_unknown_at_forecast_time says what is known ahead for every column; leave "
                    "out forecasting.known_covariates and forecasting.past_covariates, or leave it out."
                )
            past = _names(f.features_unknown_at_forecast_time)
            names = self.roles(columns)
            dropped = _names(self.featurization.drop_columns)
            groups = _names(self.many.partition_column_names) if self.many is not None else ()
            weight = self.data.weight_column_name
            taken = {*names.id, *groups, names.time, names.target, weight, *past, *static, *dropped}
            known = tuple(c for c in columns if c not in taken)
        return Covariates(known=known, past=past, static=static)

    def held_out(self) -> dict[str, str]:
        """Paths of the validation and test data that are given, by their keys."""
        found = {name: getattr(self.data, name) for name in ("validation_data", "test_data")}
        return {name: path for name, path in found.items() if path is not None}

    def columns(self) -> Columns:
        """Say which columns hold the series' identity, the time and the target."""
        from forecasting.config import Columns

        return Columns(
            id=_names(self.forecasting.time_series_id_column_names) or None,
            time=self.forecasting.time_column_name,
            target=self.data.target_column_name,
        )

    def roles(self, columns: Sequence[str]) -> Names:
        """Find the id, time and target columns among those of a frame.

        Raises
        ------
        DataError : one is missing, or none is named and none recognised.
        """
        import pandas as pd

        from forecasting.frame import resolve

        return resolve(pd.DataFrame(columns=list(columns)), self.columns())

    def settings(self, columns: Sequence[str]) -> Settings:
        """Translate to our own settings.

        Parameters
        ----------
        columns : names of the training frame's columns.

        Raises
        ------
        ConfigError : a value that no setting can have; the message names the setting.
        """
        from automl.budget import ExitCriteria
        from forecasting.config import DataSettings, FeatureSettings, SearchSettings, Settings

        f, limits, training = self.forecasting, self.limits, self.training
        cores = limits.max_cores_per_trial
        covariates = self.covariates(columns)
        _check_dropped(_names(self.featurization.drop_columns), columns, covariates)
        ways, constant = _imputers(self.featurization.transformer_params)
        way = ways.pop(self.roles(columns).target, "ffill") if ways else "ffill"
        return Settings(
            data=DataSettings(
                columns=self.columns(),
                covariates=covariates,
                fill_target=way,
                fill_value=constant,
                fill_numbers=ways,
                kinds=_kinds(self.featurization.column_name_and_types),
                freq=f.frequency,
                aggregate=f.target_aggregate_function,
                short_series=f.short_series_handling_config,
                weight=self.data.weight_column_name,
                seed=f.seed,
            ),
            features=FeatureSettings(
                season="auto" if f.seasonality == _INFER else f.seasonality,
                lags=_numbers(f.target_lags),
                windows=_numbers(f.target_rolling_window_size),
                window_statistics=_names(f.target_rolling_window_statistics),
                feature_lags=_numbers(f.feature_lags),
                use_stl=f.use_stl,
                further_seasons=f.use_further_seasons,
                holidays=f.country_or_region_for_holidays,
                holiday_subdivision=f.holiday_subdivision,
                holiday_window=_window(f.holiday_window),
                target_transform=f.target_transform,
                memory_limit_mb=limits.memory_limit_mb,
            ),
            search=SearchSettings(
                metric=self.primary_metric,
                limits=ExitCriteria(
                    time_limit=_seconds(limits.timeout_minutes),
                    max_trials=limits.max_trials,
                    trial_time_limit=_seconds(limits.trial_timeout_minutes),
                    exit_score=limits.exit_score,
                    early_stopping=limits.enable_early_termination,
                ),
                n_windows=self.data.n_cross_validations,
                window_step="auto" if f.cv_step_size is None else f.cv_step_size,
                workers=limits.max_concurrent_trials,
                threads=memory.cores() if cores == _ALL_CORES else cores,
                allowed=_names(training.allowed_training_algorithms) or None,
                blocked=_names(training.blocked_training_algorithms),
                own_learners=dict(training.own_learners),
                deep=training.enable_dnn_training,
                vote=training.enable_vote_ensemble,
                stack=training.enable_stack_ensemble,
                verbosity={"not_set": "info", "critical": "error"}.get(self.log_verbosity, self.log_verbosity),
            ),
            quantiles=tuple(f.quantiles or ()),
            integer=self.featurization.prediction_transform_type is not None,
            non_negative=f.non_negative_forecasts,
        )


def _check_dropped(dropped: Sequence[str], columns: Sequence[str], covariates: Covariates) -> None:
    for name in dropped:
        if name not in columns:
            raise ConfigError(f"featurization.drop_columns names {name!r}, which the data does not have.")
        if name in covariates.all:
            raise ConfigError(f"featurization.drop_columns drops {name!r}, which another list uses. Fix: keep one.")


def _imputers(params: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[dict[str, str], float]:
    """How gaps of columns are filled, and the constant.

    Examples
    --------
    >>> _imputers({"imputer": [{"fields": ["qty"], "parameters": {"strategy": "constant", "fill_value": 0}}]})
    ({'qty': 'constant'}, 0.0)
    """
    ways: dict[str, str] = {}
    constants: set[float] = set()
    key = "featurization.transformer_params"
    for name, entries in params.items():
        if name.lower() != "imputer":
            raise ConfigError(f"{key}.{name} is not supported for forecasting. Known: imputer.")
        for entry in entries:
            given = entry.get("parameters")
            if set(entry) != {"fields", "parameters"} or not isinstance(given, dict) or "strategy" not in given:
                raise ConfigError(
                    f"{key}.imputer: each entry has fields and parameters with a strategy, got {entry!r}."
                )
            if given["strategy"] == "constant":
                try:
                    constants.add(float(given.get("fill_value", 0.0)))
                except (TypeError, ValueError) as error:
                    raise ConfigError(
                        f"{key}.imputer: fill_value must be a number, got {_describe(given['fill_value'])}."
                    ) from error
            ways |= dict.fromkeys(_names(entry["fields"]), str(given["strategy"]))
    if len(constants) > 1:
        raise ConfigError(f"{key}.imputer: one fill_value for all columns, got {sorted(constants)}.")
    return ways, constants.pop() if constants else 0.0


def _kinds(purposes: Mapping[str, str]) -> dict[str, Any]:
    """Column purposes under our names.

    Examples
    --------
    >>> _kinds({"store_size": "Categorical"})
    {'store_size': 'category'}
    """
    ours = {"numeric": "number", "categorical": "category", "datetime": "date"}
    for name, purpose in purposes.items():
        if purpose.lower() not in ours:
            key = f"featurization.column_name_and_types.{name}"
            raise ConfigError(f"{key}: expected Numeric, Categorical or DateTime, got {purpose!r}.")
    return {name: ours[purpose.lower()] for name, purpose in purposes.items()}


_INFER, _ALL_CORES = -1, -1


def load_job(path: str | Path) -> Job:
    """Read a job file; its data paths become absolute.

    Raises
    ------
    ConfigError : the file is no YAML, a key is unknown or not supported, or a value has the wrong type.
    OSError : it cannot be read.
    """
    import yaml

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text: {error}. Fix: save it as UTF-8.") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is no valid YAML: {reason}.") from error
    try:
        job = parse_job({} if raw is None else raw)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    here = path.resolve().parent

    def absolute(name: str | None) -> str | None:
        return None if name is None else str(here / name)

    data = job.data
    return replace(
        job,
        data=replace(
            data,
            training_data=absolute(data.training_data),
            validation_data=absolute(data.validation_data),
            test_data=absolute(data.test_data),
        ),
    )


def parse_job(raw: Any) -> Job:
    """Check a job that was read from a file or written as plain Python values.

    Examples
    --------
    >>> parse_job({"limits": {"timeout_minutes": 2}}).limits.timeout_minutes
    2.0
    >>> parse_job({"forecasting": {"max_horizon": 4}}).forecasting.forecast_horizon
    4
    >>> parse_job({"forecasting": {"frequencyy": "W"}})
    Traceback (most recent call last):
        ...
    automl.errors.ConfigError: unknown key forecasting.frequencyy; did you mean forecasting.frequency?
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"a job is a mapping of keys to values, found {_describe(raw)}.")
    from pydantic import TypeAdapter, ValidationError

    job = _normalise(raw)
    try:
        # by way of JSON: strict there means that a text is no number, while lists and mappings may still be ours
        return TypeAdapter(Job).validate_json(json.dumps(job, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(_explain(error.errors(include_url=False), job)) from error


# -- old names, flat keys, parts we do not have ----------------------------------------------------------------------

_BLOCKS: dict[str, type] = {
    "data": JobData, "limits": JobLimits, "forecasting": JobForecasting, "featurization": JobFeaturization,
    "training": JobTraining, "many": JobMany,
}  # fmt: skip

_ALIASES: dict[str, dict[str, str]] = {
    "data": {"label_column_name": "target_column_name"},
    "limits": {
        "experiment_timeout_minutes": "timeout_minutes",
        "experiment_timeout_hours": "timeout_minutes",
        "iteration_timeout_minutes": "trial_timeout_minutes",
        "iterations": "max_trials",
        "max_concurrent_iterations": "max_concurrent_trials",
        "concurrent_iterations": "max_concurrent_trials",
        "max_cores_per_iteration": "max_cores_per_trial",
        "enable_early_stopping": "enable_early_termination",
        "experiment_exit_score": "exit_score",
        "mem_in_mb": "memory_limit_mb",
    },
    "forecasting": {
        "grain_column_names": "time_series_id_column_names",
        "max_horizon": "forecast_horizon",
        "freq": "frequency",
        "country_or_region": "country_or_region_for_holidays",
        "holiday_country": "country_or_region_for_holidays",
        "country": "country_or_region_for_holidays",
        "short_series_handling_configuration": "short_series_handling_config",
        "short_series_handling": "short_series_handling_config",
        "target_aggregation_function": "target_aggregate_function",
    },
    "training": {
        "allowed_models": "allowed_training_algorithms",
        "whitelist_models": "allowed_training_algorithms",
        "blocked_models": "blocked_training_algorithms",
        "blacklist_models": "blocked_training_algorithms",
        "enable_dnn": "enable_dnn_training",
        "enable_voting_ensemble": "enable_vote_ensemble",
        "model_explainability": "enable_model_explainability",
    },
}

_ENGINES = ("dask://", "ray://", "spark://")
_LATER = "forecastle has no such part yet"
_NOT_FORECASTING = "it belongs to other tasks than forecasting"
_ABSENT: dict[str, dict[str, str]] = {
    "data": {
        "validation_data_size": "a share of the rows is no honest test of a forecast; the last windows are used",
        "validation_size": "a share of the rows is no honest test of a forecast; the last windows are used",
        "test_data_size": "a share of the rows is no honest test of a forecast; give data.test_data",
        "test_size": "a share of the rows is no honest test of a forecast; give data.test_data",
        "cv_split_column_names": "windows of a forecast follow the time; see data.n_cross_validations",
        "positive_label": _NOT_FORECASTING,
    },
    "limits": {"max_nodes": _LATER},
    "forecasting": {
        "group_column_names": "many.partition_column_names tells groups apart, `forecastle many fit` fits them",
        "hierarchy_column_names": _LATER,
        "hierarchy_training_level": _LATER,
    },
    "featurization": {
        "blocked_transformers": _NOT_FORECASTING,
        "dataset_language": _NOT_FORECASTING,
        "enable_dnn_featurization": _NOT_FORECASTING,
    },
    "training": {
        "enable_onnx_compatible_models": "forecasting models have no ONNX form",
        "ensemble_model_download_timeout": "members of an ensemble are not downloaded",
        "ensemble_download_models_timeout_sec": "members of an ensemble are not downloaded",
        "stack_ensemble_settings": _LATER,
        "stack_meta_learner_type": _LATER,
        "stack_meta_learner_train_percentage": _LATER,
        "stack_meta_learner_kwargs": _LATER,
        "training_mode": _LATER,
        "enable_tf": _LATER,
    },
}
_HARMLESS: tuple[Any, ...] = (None, False, [], {})
"""Values that ask for nothing: a part we do not have may be switched off."""
_AS_IT_IS = {"training_mode": ("auto", "non_distributed")}
"""Values of keys we do not have that say what happens anyway."""


def _normalise(raw: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the job under today's names, with only the parts we have."""
    top = {f.name for f in fields(Job)}
    places = {**_ABSENT, **{block: {} for block in _BLOCKS if block not in _ABSENT}}
    homes = {name: block for block in places for name in _known(block)}
    job: dict[str, Any] = {}
    blocks: dict[str, dict[str, Any]] = {block: {} for block in places}
    for key, value in raw.items():
        name = {"forecasting_parameters": "forecasting"}.get(key, key)
        if name == "featurization" and (value is None or isinstance(value, str)):
            blocks["featurization"] |= {} if value is None else {"mode": value}
        elif name in blocks:
            if value is not None and not isinstance(value, dict):
                raise ConfigError(f"{key}: expected a block of keys and values, got {_describe(value)}.")
            for inner, content in (value or {}).items():
                if inner not in _known(name):
                    raise ConfigError(_unknown(f"{name}.{inner}", {k: f"{name}.{k}" for k in _ours(name)}))
                _put(blocks[name], name, inner, content)
        elif name in top or name == "$schema":
            job[name] = value
        elif name in homes:
            _put(blocks[homes[name]], homes[name], name, value)
        else:
            everywhere = {k: f"{block}.{k}" for block in _BLOCKS for k in _ours(block)}
            raise ConfigError(_unknown(str(key), {**everywhere, **{k: k for k in (*top, *blocks)}}))
    job.pop("$schema", None)
    where = str(job.get("compute", "local"))
    if where not in {"local", "spark"} and not where.startswith(_ENGINES):
        known = ", ".join([repr("local"), *(repr(f"{engine}host:port") for engine in _ENGINES), repr("spark")])
        raise ConfigError(f"compute: expected {known}, got {_describe(job['compute'])}.")
    _refuse_absent(blocks)
    return {**job, **{block: blocks[block] for block in _BLOCKS if block != "many" or blocks[block]}}


def _ours(block: str) -> list[str]:
    """Today's keys of a block, as they stand in its class."""
    return [f.name for f in fields(_BLOCKS[block])] if block in _BLOCKS else []


def _known(block: str) -> set[str]:
    return {*_ours(block), *_ALIASES.get(block, ()), *_ABSENT.get(block, ())}


def _put(values: dict[str, Any], block: str, key: str, value: Any) -> None:
    """Store a value under today's name of its key."""
    name = _ALIASES.get(block, {}).get(key, key)
    if key == "experiment_timeout_hours" and isinstance(value, int | float):
        value *= 60
    if key == "short_series_handling" and isinstance(value, bool):
        value = "auto" if value else None
    if name in values:
        raise ConfigError(f"{block}.{name} is given twice, under an old name or in two places; keep one of the two.")
    values[name] = value


def _refuse_absent(blocks: dict[str, dict[str, Any]]) -> None:
    for block, absent in _ABSENT.items():
        for key, reason in absent.items():
            if key not in blocks[block]:
                continue
            value = blocks[block].pop(key)
            if value not in _HARMLESS and value not in _AS_IT_IS.get(key, ()):
                raise ConfigError(f"{block}.{key} is not supported for forecasting: {reason}. Fix: remove the key.")


def _unknown(path: str, homes: Mapping[str, str]) -> str:
    """Say that a key is unknown; `homes` maps the keys that could be meant to their paths."""
    close = difflib.get_close_matches(path.rpartition(".")[2], homes, n=1, cutoff=0.6)
    if close:
        return f"unknown key {path}; did you mean {homes[close[0]]}?"
    return f"unknown key {path}. Known: {', '.join(homes.values())}."


# -- wrong types in plain words --------------------------------------------------------------------------------------


def _explain(errors: Sequence[Any], job: Mapping[str, Any]) -> str:
    """One sentence for every key with a value of the wrong type."""
    paths = dict.fromkeys(tuple(str(p) for p in e["loc"][: 2 if e["loc"][0] in _BLOCKS else 1]) for e in errors)
    return " ".join(_sentence(path, job) for path in paths)


def _sentence(path: tuple[str, ...], job: Mapping[str, Any]) -> str:
    value: Any = job
    for name in path:
        value = value[name]
    owner = _BLOCKS[path[0]] if len(path) > 1 else Job
    expected = _in_words(get_type_hints(owner)[path[-1]])
    return f"{'.'.join(path)}: expected {expected}, got {_describe(value)}."


def _in_words(kind: Any) -> str:
    if get_origin(kind) in {Union, UnionType}:
        words = [_in_words(k) for k in get_args(kind)]
        return f"{', '.join(words[:-1])} or {words[-1]}"
    if get_origin(kind) is Literal:
        return " or ".join(repr(v) for v in get_args(kind))
    if get_origin(kind) is dict:
        return "a block of keys"
    if get_origin(kind) is list:
        return {str: "a list of texts", int: "a list of whole numbers", float: "a list of numbers"}[get_args(kind)[0]]
    words_of = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    return words_of[kind]


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, list):
        return f"the list {value!r}"
    kind = {bool: "", str: "the text ", int: "the number ", float: "the number "}.get(type(value), "")
    return f"{kind}{str(value).lower() if isinstance(value, bool) else repr(value)}"


# -- values ----------------------------------------------------------------------------------------------------------


def _names(value: str | list[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _numbers(value: int | list[int] | str | None) -> Any:
    """Lags or windows as our settings take them: a word, None, or a tuple."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, int) else value


def _window(value: int | list[int]) -> Any:
    """Days around holidays as our settings take them: a number, or days before and after."""
    return tuple(value) if isinstance(value, list) else value


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else 60 * minutes
