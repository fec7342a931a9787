"""Importing costs little more than pandas does: nobody waits for packages that are not used."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import forecastle

ROOT = Path(__file__).parents[2]
CLOCK = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def seconds(modules, runs=5):
    """Least CPU seconds of an import over fresh processes, so that a busy machine matters little."""
    costs = []
    for _ in range(runs):
        command = [sys.executable, "-c", CLOCK.format(modules)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        costs.append(float(done.stdout))
    return min(costs)


@pytest.mark.parametrize("package", ["forecasting", "forecastle"])
def test_import_costs_at_most_a_fifth_of_a_second_more_than_pandas(package):
    seconds("pandas", runs=1)  # the first one reads files the others find in memory
    assert seconds(package) <= seconds("pandas") + 0.2


def test_the_forecaster_itself_costs_at_most_half_a_second_more_than_pandas():
    assert seconds("forecasting.forecaster") <= seconds("pandas") + 0.5


def test_the_version_is_the_one_of_the_distribution():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == forecastle.__version__
