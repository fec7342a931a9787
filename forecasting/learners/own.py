"""Learners of the user's own: registered by import path, checked against the protocol, found again by workers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_args

from automl.candidates import Choice, Float, Int
from automl.errors import ConfigError
from forecasting.learners.base import LEARNERS, Learner, NewHistory, Unseen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from automl.candidates import Dimension

_OWN: dict[str, str] = {}
"""Name -> "package.module:Class" of what is registered in this process."""

_METHODS = tuple(
    name for name in vars(Learner) if not name.startswith("_") and name != "inputs" and callable(getattr(Learner, name))
)
_WORDS = {"new_history": get_args(NewHistory), "unseen": get_args(Unseen)}
_FLAGS = ("native_quantiles", "uses_covariates")


def register_learner(name: str, target: str) -> None:
    """Make a learner of your own known under a name; every Forecaster made afterwards tries it like the built-in ones.

    The path is kept in the run's settings and in saved models, so that workers, resumed runs and `Forecaster.load` find
    the class. Its module must therefore be importable there: in a package or file on the Python path, not in a
    notebook's cells. Registering the same once more does nothing.

    Parameters
    ----------
    name : as in `allowed` and the leaderboard; the class's own `name`. target : "package.module:Class" of a class that
        follows `forecasting.learners.base.Learner`. A class attribute `search_space` (parameter ->
        `automl.candidates.Choice`, `Int` or `Float`) is searched around the defaults.

    Raises
    ------
    ConfigError : the name is taken, the path cannot be imported, or the class does not follow the protocol.

    Examples
    --------
    >>> register_learner("Mine", "forecasting.learners.naive:Naive")
    Traceback (most recent call last):
        ...
    automl.errors.ConfigError: 'forecasting.learners.naive:Naive' is no learner: its name is 'Naive', not 'Mine'.
    """
    _check_free(name, target)
    check_learner(name, target)
    adopt({name: target})


def unregister_learner(name: str) -> None:
    """Forget a learner of your own.

    Raises
    ------
    ConfigError : no such learner was registered.
    """
    if name not in _OWN:
        raise ConfigError(f"{name!r} is no learner of your own. Registered: {', '.join(_OWN) or 'none'}.")
    del _OWN[name]
    LEARNERS.remove(name)


def own_learners() -> dict[str, str]:
    """Name -> "package.module:Class" of the learners registered in this process."""
    return dict(_OWN)


def adopt(learners: Mapping[str, str]) -> None:
    """Register what settings, a run or a saved model name; nothing is imported until it is needed.

    Raises
    ------
    ConfigError : a name stands for another class here.
    """
    for name, target in learners.items():
        _check_free(name, target)
        if name not in _OWN:
            LEARNERS.register(name, target)
            _OWN[name] = target


def _check_free(name: str, target: str) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"the name of a learner must be letters, digits and '_', got {name!r}.")
    if name in _OWN:
        if _OWN[name] != target:
            raise ConfigError(
                f"learner {name!r} is registered as {_OWN[name]!r}, so it cannot be {target!r} too. Fix: another name, "
                f"or unregister_learner({name!r}) first."
            )
    elif name in LEARNERS:
        raise ConfigError(f"learner {name!r} exists already, as {LEARNERS.resolve(name)}. Fix: another name.")


def check_learner(name: str, target: str) -> None:
    """Import a class and check it against the protocol.

    Raises
    ------
    ConfigError : it cannot be imported, or what is missing or wrong about it.
    """
    from automl.candidates import import_object

    cls = import_object(target)
    wrong = _wrong(name, cls)
    if wrong:
        raise ConfigError(f"{target!r} is no learner: {'; '.join(wrong)}.")


def search_space(name: str) -> dict[str, Dimension]:
    """What is searched around the defaults of a learner of the user's own; empty where it says nothing."""
    return dict(getattr(LEARNERS.load(name), "search_space", {}))


def _wrong(name: str, cls: Any) -> list[str]:
    """Everything about a class that the protocol does not allow."""
    if not inspect.isclass(cls):
        return [f"it is {type(cls).__name__}, not a class"]
    wrong = []
    if getattr(cls, "name", None) != name:
        wrong.append(f"its name is {getattr(cls, 'name', None)!r}, not {name!r}")
    for attribute, words in _WORDS.items():
        found = getattr(cls, attribute, None)
        if found not in words:
            wrong.append(f"{attribute} must be one of {', '.join(map(repr, words))}, found {found!r}")
    wrong += [f"{flag} must be True or False" for flag in _FLAGS if not isinstance(getattr(cls, flag, None), bool)]
    missing = [method for method in _METHODS if not callable(getattr(cls, method, None))]
    if missing:
        wrong.append(f"it has no {', '.join(missing)}")
    elif not inspect.ismethod(getattr(cls, "from_state", None)):
        wrong.append("from_state must be a classmethod")
    space = getattr(cls, "search_space", {})
    bad = [key for key, value in space.items() if not isinstance(value, Choice | Int | Float)]
    if bad:
        wrong.append(f"search_space must map parameters to Choice, Int or Float, not so {', '.join(bad)}")
    wrong += _wrong_parameters(cls, space)
    return wrong


def _wrong_parameters(cls: type, space: Mapping[str, Dimension]) -> list[str]:
    """Whether it can be made without arguments, and with every parameter that is searched."""
    try:
        inspect.signature(cls).bind(**dict.fromkeys(space))
        inspect.signature(cls).bind()
    except (TypeError, ValueError) as error:
        return [f"its constructor must take no or keyword arguments: {error}"]
    return []
