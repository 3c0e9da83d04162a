"""A fingerprint moves exactly with what a run can depend on."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import random
from pathlib import Path

import pytest

from benchbook import fingerprint


def parts(code: list[str], root: Path, **changes):
    settings = {"parameters": {"n": 1}, "data": {}, "needs": {}} | changes
    return fingerprint.static_ingredients(code, root) | settings


def make_package(root: Path, edges: dict[int, list[int]]) -> None:
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "__init__.py").write_text("")
    forms = (
        "from pkg import m{}",
        "import pkg.m{}",
        "from pkg.m{} import x",
        "from . import m{}",
        "from .m{} import x",
    )
    for module, targets in edges.items():
        lines = [forms[(module + target) % len(forms)].format(target) for target in targets]
        (root / "pkg" / f"m{module}.py").write_text("\n".join([*lines, "x = 0", ""]))


def reachable(edges: dict[int, list[int]], start: int) -> set[int]:
    """Brute force: add neighbours until nothing is added."""
    seen = {start}
    while True:
        more = seen | {target for module in seen for target in edges[module]}
        if more == seen:
            return seen
        seen = more


@pytest.mark.parametrize("seed", range(10))
def test_an_edit_moves_exactly_the_notebooks_that_reach_it(tmp_path, seed):
    """On random import graphs, cycles included, the affected notebooks are those of a brute-force closure."""
    chance = random.Random(seed)
    modules = range(12)
    edges = {module: chance.sample(modules, chance.randint(0, 3)) for module in modules}
    make_package(tmp_path, edges)
    cells = {start: [f"from pkg.m{start} import x"] for start in modules}
    before = {start: fingerprint.fingerprint(parts(cell, tmp_path)) for start, cell in cells.items()}
    for edited in chance.sample(modules, 4):
        path = tmp_path / "pkg" / f"m{edited}.py"
        text = path.read_text()
        path.write_text(text + "y = 1\n")
        moved = {
            start for start, cell in cells.items() if fingerprint.fingerprint(parts(cell, tmp_path)) != before[start]
        }
        assert moved == {start for start in modules if edited in reachable(edges, start)}
        path.write_text(text)
    after = {start: fingerprint.fingerprint(parts(cell, tmp_path)) for start, cell in cells.items()}
    assert after == before


def test_the_path_of_imports_is_named(tmp_path):
    """The reason for a stale run leads from the notebook to the edited file."""
    make_package(tmp_path, {1: [2], 2: [3], 3: []})
    cell = ["from pkg.m1 import x"]
    then = parts(cell, tmp_path)
    (tmp_path / "pkg" / "m3.py").write_text("x = 2\n")
    reached = fingerprint.closure(cell, tmp_path)
    reasons = fingerprint.differences(parts(cell, tmp_path), then, reached, tmp_path)
    assert reasons == ["pkg/m3.py (notebook → pkg.m1 → pkg.m2 → pkg.m3)"]


@pytest.mark.parametrize(("old", "new", "said"), [(25, 25.0, "25 → 25.0"), (1, True, "1 → True"), ("5", 5, "'5' → 5")])
def test_a_parameter_of_another_type_is_named(tmp_path, old, new, said):
    """It makes another fingerprint, and so a stale run, also where Python takes the two for equal."""
    then, now = (parts([], tmp_path, parameters={"n": given}) for given in (old, new))
    assert fingerprint.fingerprint(then) != fingerprint.fingerprint(now)
    reached = fingerprint.closure([], tmp_path)
    assert fingerprint.differences(now, then, reached, tmp_path) == [f"parameter n {said}"]


def test_time_stamps_do_not_count(tmp_path):
    """Touching a file changes nothing."""
    make_package(tmp_path, {1: []})
    before = parts(["import pkg.m1"], tmp_path)
    os.utime(tmp_path / "pkg" / "m1.py", (1, 1))
    assert parts(["import pkg.m1"], tmp_path) == before


def test_code_parameters_and_data_count(tmp_path):
    """Each ingredient moves the fingerprint, and a parameter's type is part of it."""
    base = parts(["x = 1"], tmp_path)
    others = [
        parts(["x = 2"], tmp_path),
        parts(["x = 1"], tmp_path, parameters={"n": 2}),
        parts(["x = 1"], tmp_path, parameters={"n": 1.0}),
        parts(["x = 1"], tmp_path, data={"cifar10.npz": "a"}),
        parts(["x = 1"], tmp_path, needs={"train": "a"}),
        parts(["import numpy", "x = 1"], tmp_path),
    ]
    assert len({fingerprint.fingerprint(p) for p in [base, *others]}) == len(others) + 1


def test_magics_and_shell_lines_do_not_stop_the_reading_of_imports(tmp_path):
    """A cell with IPython's own lines still says what it imports."""
    make_package(tmp_path, {1: []})
    reached = fingerprint.closure(["%matplotlib inline\n!ls\nif True:\n    %time\n    import pkg.m1"], tmp_path)
    assert set(reached.modules) == {"pkg", "pkg.m1"}


def test_outside_packages_count_by_version_and_the_standard_library_does_not(tmp_path):
    """numpy's version is part of a fingerprint; json's is Python's."""
    reached = fingerprint.closure(["import json, numpy.linalg", "from PIL import Image"], tmp_path)
    assert reached.packages == {"numpy", "PIL"}
    versions = parts(["import numpy"], tmp_path)["packages"]
    import numpy

    assert versions["numpy"] == numpy.__version__


def test_versions_are_those_of_the_packages_own_metadata():
    """For every package that is installed, by its name; for one under another name than its import; and for none."""
    for distribution in importlib.metadata.distributions():
        assert fingerprint.version(distribution.metadata["Name"]) == distribution.version
    assert fingerprint.version("yaml") == importlib.metadata.version("pyyaml")
    assert fingerprint.version("_pytest") == pytest.__version__
    assert fingerprint.version("nowhere_to_be_found") == "none"


def walked(code: str) -> set[str]:
    """Brute force: the names that `imports` shall find, from every node of the tree."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {".".join(name.split(".")[:i]) for name in found for i in range(1, name.count(".") + 2)}


INNER = """
async def f():
    async with a: import m1
    async for b in c: import m2
    else: import m3
    while d: import m4
    else: import m5
    match e:
        case 1: import m6
        case [_, *_] if g: from m7 import h
    try: import m8
    except* ValueError: import m9
    else: import m10
    finally: import m11
    class C:
        @property
        def p(self): return lambda: (yield)
        if x: pass
        elif y: import m12
        else:
            with z: from m13.m14 import *
"""


def test_every_import_statement_is_found_wherever_it_stands():
    """In all blocks that the language has, and in real modules, as a walk of all nodes does."""
    assert {f"m{number}" for number in range(1, 14)} <= set(fingerprint.imports(INNER, ""))
    library = sorted(Path(ast.__file__).parent.glob("[a-e]*.py"))
    assert len(library) > 20
    for code in [INNER, *(path.read_text(encoding="utf-8") for path in library)]:
        relative = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) and node.level]
        if not relative:
            assert set(fingerprint.imports(code, "")) == walked(code)


def test_a_module_is_where_python_would_find_it(tmp_path):
    """A package before a module of its name; modules in a folder without __init__.py; no module in a module."""
    for name in ("both/__init__.py", "both.py", "plain/inner.py", "single.py", "both/deep/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {
        name: fingerprint.module_path(name, tmp_path)
        for name in ("both", "both.deep", "plain", "plain.inner", "single", "single.x", "both.x", "none", "none.x")
    }
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in found.items() if path} == {
        "both": "both/__init__.py",
        "both.deep": "both/deep/__init__.py",
        "plain.inner": "plain/inner.py",
        "single": "single.py",
    }


def test_cells_in_another_language_or_in_none_say_what_they_can(tmp_path):
    """%%time holds Python, %%bash does not; a cell that no Python is still says what its lines import."""
    make_package(tmp_path, {number: [] for number in range(6)})
    cells = [
        "%%time\nimport pkg.m1",
        "%%bash\nimport pkg.m2",
        "names = !ls\nimport pkg.m3",
        "import pkg.m4\nprint 'as in Python 2'",
        "import pkg.m5\nwhole = (1\n    % 2)",
    ]
    reached = fingerprint.closure(cells, tmp_path)
    assert set(reached.modules) == {"pkg", "pkg.m1", "pkg.m3", "pkg.m4", "pkg.m5"}


def test_of_two_roots_the_first_that_has_a_module_counts(tmp_path):
    """As Python looks for it."""
    for folder, text in (("near", "x = 1\n"), ("far", "x = 2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "both.py").write_text(text)
    (tmp_path / "far" / "only.py").write_text("import both\n")
    reached = fingerprint.closure(["import only"], tmp_path / "near", tmp_path / "far")
    assert reached.modules == {"only": tmp_path / "far" / "only.py", "both": tmp_path / "near" / "both.py"}


@pytest.mark.parametrize(
    ("cell", "added"),
    [
        ('import sys\nsys.path.append("../lib")', ["../lib"]),
        ('sys.path.insert(0, os.path.abspath(os.path.join("..", "src")))', ["../src"]),
        ('sys.path.append(str(Path("..") / "a" / "b"))', ["../a/b"]),
        ("sys.path.append(folder)", []),
        ("print(sys.path)", []),
        ("%cd ..\nsys.path.append('x')", ["x"]),
        ("sys.path.append('x') is no Python", []),
    ],
)
def test_folders_that_a_notebook_adds_are_read_where_they_are_text(cell, added):
    """Whatever the call that puts the pieces together."""
    assert fingerprint.search_paths(cell) == added
