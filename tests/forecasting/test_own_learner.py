"""A learner of the user's own: registered by path, tried by workers, saved and loaded; the example of the docs runs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import forecastle
from automl.errors import ConfigError, ModelFileError
from forecasting import Forecaster, register_learner, unregister_learner
from forecasting.config import SearchSettings
from forecasting.learners import own
from forecasting.learners.base import LEARNERS
from tests.forecasting.frames import monthly, quick

DOC = Path(__file__).parents[2] / "docs" / "own_learner.md"
EXAMPLE = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), flags=re.DOTALL)[0]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `shop` on the path that holds the example of the docs; whatever gets registered is forgotten after."""
    folder = tmp_path / "site" / "shop"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "drifts.py").write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder.parent))
    yield folder
    for name in list(own.own_learners()):
        unregister_learner(name)
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        del sys.modules[name]


def test_a_run_tries_saves_and_loads_it(package, tmp_path):
    forecastle.register_learner("Drift", "shop.drifts:Drift")
    settings = quick(3, allowed=["Drift", "Average"], vote=False, workers=2)
    model = Forecaster(6, settings=settings).fit(monthly(noise=0.01), path=tmp_path / "run")
    board = model.leaderboard().set_index("model")
    assert board.loc[["Drift", "Drift_2"], "status"].tolist() == ["completed"] * 2
    assert board.loc["Drift", "params"] == {}
    assert 2 <= board.loc["Drift_2", "params"]["rows"] <= 24
    forecast = model.predict(model="Drift_2", level=[80])
    assert (forecast["yhat-lo-80"] < forecast["yhat-hi-80"]).all()
    last = monthly(noise=0.01).groupby("unique_id")["y"].last().to_numpy()
    first = forecast.groupby("unique_id")["yhat"].first().to_numpy()
    assert np.abs(first - last).max() < 3
    unregister_learner("Drift")
    back = Forecaster.load(tmp_path / "run")
    assert own.own_learners() == {"Drift": "shop.drifts:Drift"}
    name = model.best()
    assert back.predict(model=name).equals(model.predict(model=name))
    more = Forecaster.resume(tmp_path / "run", more_trials=1)
    assert len(more.run.trials()) == 4


def test_settings_name_it_and_a_clean_process_needs_the_module(package, tmp_path):
    search = {"allowed": ["drift"], "own_learners": {"Drift": "shop.drifts:Drift"}}
    Forecaster(3, settings=quick(1, **search)).fit(monthly()).save(tmp_path / "model")
    code = f"""
import sys
from forecastle import Forecaster, ModelFileError
sys.path[:0] = {{path!r}}
try:
    print(len(Forecaster.load({str(tmp_path / "model")!r}).predict()))
except ModelFileError as error:
    print(error)
"""
    said = []
    for path in ([], [str(package.parent)]):
        run = subprocess.run([sys.executable, "-c", code.format(path=path)], capture_output=True, text=True, check=True)
        said.append(run.stdout)
    assert "learner of your own" in said[0]
    assert "'shop.drifts:Drift' cannot be imported: there is no module 'shop'. Fix: install it" in said[0]
    assert said[1] == "9\n"


def test_a_model_whose_class_changed_is_refused(package, tmp_path):
    register_learner("Drift", "shop.drifts:Drift")
    Forecaster(3, settings=quick(1, allowed=["Drift"])).fit(monthly()).save(tmp_path / "model")
    unregister_learner("Drift")
    (package / "drifts.py").write_text("Drift = 3\n", encoding="utf-8")
    del sys.modules["shop.drifts"]
    with pytest.raises(ModelFileError, match=r"'shop\.drifts:Drift' is no learner: it is int, not a class"):
        Forecaster.load(tmp_path / "model")


def test_it_stands_in_the_leaderboard_when_it_is_not_tried(package):
    register_learner("Drift", "shop.drifts:Drift")
    board = Forecaster(3, settings=quick(1, allowed=["Average"])).fit(monthly()).leaderboard().set_index("model")
    assert (board.loc["Drift", "status"], board.loc["Drift", "reason"]) == (
        "skipped",
        "not among the learners allowed",
    )


def test_names_and_paths_are_checked(package):
    with pytest.raises(ConfigError, match="'naive' exists already, as Naive"):
        register_learner("naive", "shop.drifts:Drift")
    with pytest.raises(ConfigError, match="letters, digits"):
        register_learner("my drift", "shop.drifts:Drift")
    with pytest.raises(ConfigError, match=r"must be written 'package\.module:Name'"):
        register_learner("Drift", "shop.drifts.Drift")
    with pytest.raises(ConfigError, match=r"there is no module 'shop\.drift'"):
        register_learner("Drift", "shop.drift:Drift")
    with pytest.raises(ConfigError, match=r"module 'shop\.drifts' has no 'Drft'"):
        register_learner("Drift", "shop.drifts:Drft")
    assert "Drift" not in LEARNERS
    register_learner("Drift", "shop.drifts:Drift")
    register_learner("Drift", "shop.drifts:Drift")
    with pytest.raises(ConfigError, match=r"registered as 'shop\.drifts:Drift'"):
        register_learner("Drift", "shop.other:Drift")
    with pytest.raises(ConfigError, match=r"registered as 'shop\.drifts:Drift'"):
        Forecaster(3, settings=forecastle.Settings(search=SearchSettings(own_learners={"Drift": "shop.other:Drift"})))
    unregister_learner("Drift")
    with pytest.raises(ConfigError, match="no learner of your own"):
        unregister_learner("Drift")


FAULTS = {
    "another name": (
        'name: ClassVar[str] = "Drift"',
        'name: ClassVar[str] = "Drft"',
        "its name is 'Drft', not 'Drift'",
    ),
    "a wrong word": ('= "refilter"', '= "filter"', "new_history must be one of 'refilter', 'refit', 'ignored'"),
    "a flag too few": ("    uses_covariates: ClassVar[bool] = False\n", "", "uses_covariates must be True or False"),
    "a method too few": ("def state(", "def states(", "it has no state"),
    "no class method": ("    @classmethod\n", "", "from_state must be a classmethod"),
    "a space of numbers": ("Int(2, 24)", "(2, 24)", "search_space must map parameters to Choice, Int or Float"),
    "an unknown parameter": ('{"rows": Int', '{"row": Int', "unexpected keyword argument 'row'"),
    "a needed parameter": ("rows: int = 8", "rows: int", "missing a required"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_class_that_breaks_the_protocol_is_refused(package, fault):
    before, after, message = FAULTS[fault]
    assert before in EXAMPLE
    (package / "faulty.py").write_text(EXAMPLE.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(message)):
        register_learner("Drift", "shop.faulty:Drift")
    assert "Drift" not in LEARNERS


def test_a_module_that_lacks_a_package_says_which(package):
    (package / "lacking.py").write_text("import a_package_nobody_has\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match="a_package_nobody_has"):
        register_learner("Drift", "shop.lacking:Drift")
