"""Imports only go down: forecastle -> forecasting -> automl; the engine knows no data frame, no network, no task."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "automl": {"automl"},
    "forecasting": {"automl", "forecasting"},
    "tabular": {"automl", "tabular"},
    "vision": {"automl", "vision"},
    "forecastle": {"automl", "forecasting", "tabular", "vision", "forecastle"},
}
OURS = {"automl", "forecasting", "forecastle", "tabular", "vision"}
NEVER_IN_ENGINE = {"pandas", "torch", "polars"}
HEAVY = {
    "torch", "torchvision", "xgboost", "prophet", "pmdarima", "statsmodels", "lightgbm", "optuna", "sklearn", "numba",
    "pydantic",
    "matplotlib",
    "plotly",
    "shap",
}  # fmt: skip
LAZY = HEAVY | {"pebble", "joblib", "skops", "holidays", "pyarrow"}
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def imported(path, *, at_load_only=False):
    """(line, module) of every import of a file; relative ones made absolute, those for type checkers left out."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []

    def walk(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and at_load_only:
            for child in node.orelse:
                walk(child)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and at_load_only:
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            found.append((node.lineno, ".".join((*base, *filter(None, [node.module])))))
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(tree)
    return found


def dotted_strings(path):
    """(line, package) of strings such as "package.module:Name" or "package.module": the registries' lazy imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            head, dot, rest = node.value.partition(".")
            if dot and head in OURS and rest.replace(":", "_").replace(".", "_").isidentifier():
                yield node.lineno, head


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    floor = path.relative_to(ROOT).parts[0]
    names = [(line, name.partition(".")[0]) for line, name in imported(path)]
    names += dotted_strings(path)
    wrong = [f"line {line}: {name}" for line, name in names if name in OURS - FLOORS[floor]]
    if floor == "automl":
        wrong += [f"line {line}: {name}" for line, name in names if name in NEVER_IN_ENGINE]
    assert not wrong, f"{path.relative_to(ROOT)} imports what lies above or beside it: {wrong}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_are_imported_inside_functions(path):
    loaded = imported(path, at_load_only=True)
    if path.is_relative_to(ROOT / "forecasting" / "kernels"):  # these are what is imported inside functions
        loaded = [(n, m) for n, m in loaded if m != "numba"]
    elif path.is_relative_to(ROOT / "vision" / "networks"):  # and so are these
        loaded = [(n, m) for n, m in loaded if m.partition(".")[0] not in {"torch", "torchvision"}]
        loaded = [(n, m) for n, m in loaded if not m.startswith("vision.networks")]
    else:
        heavy = {"forecasting.kernels": "numba", "vision.networks": "torch"}
        loaded = [(n, next((h for package, h in heavy.items() if m.startswith(package)), m)) for n, m in loaded]
    if path == ROOT / "tabular" / "estimators.py":  # estimators of scikit-learn inherit from its base
        loaded = [(n, m) for n, m in loaded if m != "sklearn.base"]
    wrong = [f"line {n}: {m}" for n, m in loaded if m.partition(".")[0] in LAZY]
    assert not wrong, f"{path.relative_to(ROOT)} loads heavy packages when it is imported: {wrong}"


def test_the_walker_sees_what_it_must(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    source = (
        "import os, torch.nn\nfrom ..forecasting import x\nNAME = 'forecasting.learners.naive:Naive'\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n"
        "def f():\n    import optuna\nclass C:\n    import sklearn\n"
    )
    (tmp_path / "automl").mkdir()
    path = tmp_path / "automl" / "bad.py"
    path.write_text(source)
    everything = [name for _, name in imported(path)]
    assert everything == ["os", "torch.nn", "forecasting", "typing", "pandas", "optuna", "sklearn"]
    assert [name for _, name in imported(path, at_load_only=True)] == [
        "os",
        "torch.nn",
        "forecasting",
        "typing",
        "sklearn",
    ]
    assert list(dotted_strings(path)) == [(3, "forecasting")]


@pytest.mark.parametrize("package", ["automl", "forecasting", "tabular", "vision", "forecastle"])
def test_importing_a_package_loads_nothing_heavy(package):
    code = f"import sys, {package}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert package in loaded
    assert not loaded & HEAVY
    if package == "automl":
        assert not loaded & NEVER_IN_ENGINE


def test_the_lazy_names_of_the_public_packages_exist():
    code = (
        "import forecastle, forecasting, tabular\n"
        "for package in (forecastle, forecasting, tabular):\n"
        "    for name in package.__all__:\n"
        "        assert getattr(package, name) is not None, name\n"
        "    assert set(package.__all__) <= set(dir(package))\n"
        "from forecastle import Forecaster, datasets\n"
        "try:\n"
        "    forecastle.Forecastr\n"
        "except AttributeError as error:\n"
        "    assert 'Forecaster' in str(error)\n"
        "else:\n"
        "    raise SystemExit('a name that does not exist was found')\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
