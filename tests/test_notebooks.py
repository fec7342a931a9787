"""Every notebook runs from its first cell to its last on a fresh kernel, and is kept without outputs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = "20"

# in a process of its own, whose sockets end with it; this interpreter is the kernel, whatever kernels are registered
EXECUTE = """
import sys
import nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient

source, target, folder = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
manager = KernelManager(kernel_name="python3")
manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
NotebookClient(notebook, km=manager, timeout=180, resources={"metadata": {"path": folder}}).execute()
nbformat.write(notebook, target)
"""


def code_cells(path):
    import nbformat

    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_kept_without_outputs_and_compile(path):
    cells = code_cells(path)
    assert cells
    assert not [i for i, cell in enumerate(cells) if cell.outputs or cell.execution_count]
    for cell in cells:
        compile(cell.source, path.name, "exec")


def executed(name, folder):
    """Path of a notebook's executed copy."""
    done = folder / "done.ipynb"
    command = [sys.executable, "-c", EXECUTE, ROOT / "notebooks" / f"{name}.ipynb", done, folder]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "FORECASTLE_NOTEBOOK_SECONDS": SECONDS, "PYTHONPATH": path, "JUPYTER_PLATFORM_DIRS": "1"}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return done


def shown_by(done):
    return [o["data"].get("text/plain", "") for cell in code_cells(done) for o in cell.outputs if "data" in o]


@pytest.mark.long
def test_the_forecast_requests_notebook_runs(tmp_path):
    shown = shown_by(executed("forecast_requests", tmp_path))
    assert shown[-1] == "(True, True)"
    assert any("cold_start" in text for text in shown)


@pytest.mark.long
def test_the_weekly_sales_notebook_runs(tmp_path):
    done = executed("weekly_sales", tmp_path)
    shown = shown_by(done)
    assert shown[-1] == "(True, True)", "the model came back from disk with other forecasts, or no chart was written"
    assert any("'wape'" in text for text in shown)
    said = [o["text"] for cell in code_cells(done) for o in cell.outputs if o.get("name") == "stderr"]
    assert not [text for text in said if "ipywidgets" not in text], "nothing but tqdm's wish for a package warns"


@pytest.mark.long
def test_the_images_notebook_runs(tmp_path):
    require_torchvision_and_captum()
    done = executed("images", tmp_path)
    shown = shown_by(done)
    assert shown[-1] == "True"
    pictures = [o for cell in code_cells(done) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 1


def require_torchvision_and_captum():
    try:
        import captum  # noqa: F401
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        pytest.skip("the extra vision is not installed")


@pytest.mark.long
def test_the_tabular_notebook_runs(tmp_path):
    done = executed("tabular", tmp_path)
    shown = shown_by(done)
    assert shown[-1] == "(True, True)"
    charts = [
        o for cell in code_cells(done) for o in cell.outputs if "application/vnd.plotly.v1+json" in o.get("data", {})
    ]
    assert len(charts) == 2
