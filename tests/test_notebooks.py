"""The committed notebooks are sources: readable, parameterised, and without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchbook import experiments

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "experiments").glob("*.ipynb"))
SKIPPED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path):
    """No output, no execution count, no widget state, no path of a machine."""
    notebook = json.loads(path.read_text())
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path, "code"))
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info", "benchbook"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_a_title_and_parameters_that_say_what_they_mean(path):
    """Each parameter has a type, a default and a meaning."""
    experiment = experiments.read(path)
    assert experiment.title != path.stem
    assert experiment.parameters
    assert all(parameter.help for parameter in experiment.parameters.values())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_alternative_text(path):
    """A cell that shows a figure says in words what it shows."""
    for cell in cells(path, "code"):
        if re.search(r"^figures\.(?!style)", experiments.source(cell), re.MULTILINE):
            image = cell["metadata"].get("mystnb", {}).get("image", {})
            assert len(image.get("alt", "")) > 20, experiments.source(cell)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_that_a_reader_sees_are_short(path):
    """Code that is shown fits a glance."""
    for cell in cells(path, "code"):
        if not SKIPPED & set(experiments.tags(cell)):
            assert len(experiments.source(cell).splitlines()) <= 36, experiments.source(cell)
