"""The wall between the packages, and the floors inside each."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from benchbook.fingerprint import imports

SOURCES = Path(__file__).parents[1] / "src"

# A module imports only from floors below its own. CONTRIBUTING.md explains the table.
FLOORS = {
    "convnets": {
        0: {"archives"},
        1: {
            *("calibration", "colour", "colourings", "describe", "figures", "image_processing", "layers"),
            *("losses", "metrics", "optimisers", "perception", "photographs", "polylines", "scenes", "scrubber"),
            *("stationary", "super_resolution", "theory", "tiling"),
        },
        2: {
            *("activations", "approximation", "augmentations", "classifiers", "collages", "data", "deeplab", "models"),
            *("table_net", "widgets"),
        },
        3: {"flowers", "preferences", "training"},
        4: {"kept", "segmentation"},
        5: {"parallel"},
    },
    "benchbook": {
        0: {"errors"},
        1: {
            *(
                "artefacts",
                "atomic",
                "compression",
                "conditions",
                "folders",
                "forks",
                "forkserver",
                "gpus",
                "lines",
                "machine",
            ),
            *("object_streams", "record", "size", "toc"),
        },
        2: {
            *("answers", "experiments", "executors", "fingerprint", "formulas", "outputs", "rendering"),
            "rows",
        },
        3: {"kernel", "mend", "pictures", "project", "provenance", "scaffold", "seals"},
        4: {"plan"},
        5: {"covers", "foot", "state", "sheet", "theme", "typeset"},
        6: {
            *("built", "run", "changes", "compare", "display", "drawings", "notebook", "runs_data", "site", "pdf"),
            *("appendix", "downloads", "reference"),
        },
        7: {
            *("schedule", "reports", "book", "estimate", "answers_page", "bench_page", "cells", "chapters_page"),
            *("costs_page", "faults_page", "reproduced_page", "runs_page"),
        },
        8: {"standalone"},
        9: {"submission"},
        10: {"commands"},
        11: {"cli"},
    },
}
MODULES = sorted(path for package in FLOORS for path in (SOURCES / package).glob("*.py"))
NAMES = [f"{path.parent.name}.{path.stem}" for path in MODULES]


def floor_of(name: str) -> int:
    package, module = name.split(".")[:2]
    return next(floor for floor, modules in FLOORS[package].items() if module in modules)


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_imports_only_from_floors_below(path):
    """No import goes up or sideways, and none crosses the wall between the packages."""
    package = path.parent.name
    found = [name for name in imports(path.read_text(), package) if name.split(".")[0] in FLOORS]
    assert {name.split(".")[0] for name in found} <= {package}
    if path.stem == "__init__":
        return
    modules = {
        name for name in found if name.count(".") == 1 and (SOURCES / package / f"{name.split('.')[1]}.py").exists()
    }
    for name in modules:
        assert floor_of(name) < floor_of(f"{package}.{path.stem}"), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_every_public_function_and_class_says_what_it_is(path):
    """A module has a docstring, and so has each public class and function longer than three lines."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            long = (node.end_lineno or 0) - node.lineno > 3
            assert ast.get_docstring(node) or not long, f"{path.name}: {node.name} has no docstring"


@pytest.mark.parametrize("heavy", ["torch", "papermill", "snakemake", "sphinx", "rich", "IPython", "scipy", "convnets"])
def test_the_command_line_starts_without_what_it_may_not_need(heavy):
    """Asking how things stand loads no notebook runner, no scheduler, no Sphinx, and never torch."""
    script = f"import sys, benchbook.cli; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
