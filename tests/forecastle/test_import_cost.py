"""Importing loads nothing that pandas does not: nobody waits for packages that are not used."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import forecastle

ROOT = Path(__file__).parents[2]
LOADED = "import {}, json, sys; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
OURS = {"automl", "forecasting", "forecastle"}


def loaded(modules):
    """Packages that a fresh process holds after an import."""
    command = [sys.executable, "-c", LOADED.format(modules)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def outside(packages):
    """Those that are neither ours nor Python's own."""
    return {p for p in packages if p not in sys.stdlib_module_names and not p.startswith("_")} - OURS


@pytest.mark.parametrize("package", ["forecasting", "forecastle", "forecasting.forecaster"])
def test_importing_loads_no_package_that_pandas_does_not_load(package):
    assert outside(loaded(package)) <= outside(loaded("pandas"))


def test_the_version_is_the_one_of_the_distribution():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == forecastle.__version__
