"""Edits: exactly the runs that they reach are made again. What static reading cannot see fails its run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from conftest import code, markdown, write_notebook

from benchbook import fingerprint, plan
from benchbook.project import Project, forget

SHAPES = (  # an import of module b, from wherever it stands
    "import {b}",
    "import {b} as other",
    "from {parent} import {last}",
    "from {b} import name",
    "def late():\n    import {b}",
    "try:\n    from {parent} import {last} as tried\nexcept ImportError:\n    pass",
    "if True:\n    import os, {b}",
    "class Inner:\n    from {b} import name as member",
)


class Graph:
    """A generated project: packages of modules that import one another, notebooks, data, a profile."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.chance, self.edits = root, random.Random(seed), 0
        packages = ["p", "p.q", "p.q.r", "s"]
        self.modules = {
            **dict.fromkeys(packages, ""),
            **{f"{self.chance.choice(packages)}.m{i}": "" for i in range(24)},
        }
        names = list(self.modules)
        # A package's own file imports nothing, so that Python itself could import all of this.
        self.imports = {n: set() if n in packages else set(self.chance.sample(names, 2)) - {n} for n in names}
        self.notebooks = {f"n{i}": set(self.chance.sample(names, 2)) for i in range(8)}
        self.parameters = {name: {"number": 1, "seed": 1} for name in self.notebooks}
        self.data = {name: self.chance.choice(["", "one", "two"]) for name in self.notebooks}
        self.versions = {"numpy": "1", "scipy": "1"}
        self.uses = {name: {self.chance.choice(["numpy", "scipy"])} for name in names}
        self.write()

    def write(self) -> None:
        for name, imported in self.imports.items():
            folder = self.root / "src" / name.replace(".", "/")
            path = folder / "__init__.py" if name in ("p", "p.q", "p.q.r", "s") else folder.with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [f"import {package}" for package in sorted(self.uses[name])]
            lines += [self.statement(name, other) for other in sorted(imported)]
            path.write_text("\n".join([*lines, f"# edit {self.modules[name]}", ""]))
        (self.root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
        (self.root / "experiments").mkdir(exist_ok=True)
        for name, imported in self.notebooks.items():
            write_notebook(
                self.root / "experiments" / f"{name}.ipynb",
                code("number: int = 0", "seed: int = 0", f"dataset: str = {self.data[name]!r}", tags=("parameters",)),
                code(*(f"import {other}" for other in sorted(imported))),
            )
        sets = "".join(f"[tool.benchbook.data.{name}]\nfiles = ['{name}.txt']\n" for name in ("one", "two"))
        (self.root / "pyproject.toml").write_text(sets)
        (self.root / "data").mkdir(exist_ok=True)
        for name in ("one", "two"):
            (self.root / "data" / f"{name}.txt").touch()
        (self.root / "profiles").mkdir(exist_ok=True)
        runs = [{"experiment": name, "parameters": given} for name, given in self.parameters.items()]
        (self.root / "profiles" / "quick.yml").write_text(yaml.safe_dump({"runs": runs}))

    def statement(self, name: str, other: str) -> str:
        shape = SHAPES[(len(name) + len(other) + int("".join(filter(str.isdigit, other)) or 0)) % len(SHAPES)]
        parent, _, last = other.rpartition(".")
        return shape.format(b=other, parent=parent, last=last) if parent else f"import {other}"

    def reached(self, notebook: str) -> set[str]:
        """By brute force: import after import, and with each module the packages that it lies in."""
        found: set[str] = set()
        while True:
            named = set(self.notebooks[notebook]).union(*(self.imports[name] for name in found))
            parts = [name.split(".") for name in named]
            more = {".".join(words[:i]) for words in parts for i in range(1, len(words) + 1)}
            if more <= found:
                return found
            found |= more

    def edit(self) -> set[str]:
        """Changes one thing; returns the notebooks whose runs it reaches."""
        self.edits += 1
        kind = self.chance.choice(["module", "module", "import", "version", "parameter", "seed", "data"])
        name = self.chance.choice(list(self.modules))
        notebook = self.chance.choice(list(self.notebooks))
        if kind == "module":
            self.modules[name] = str(self.edits)
            hit = {n for n in self.notebooks if name in self.reached(n)}
        elif kind == "import":
            name = self.chance.choice([name for name in self.modules if name not in ("p", "p.q", "p.q.r", "s")])
            hit = {n for n in self.notebooks if name in self.reached(n)}
            self.imports[name] ^= {self.chance.choice([other for other in self.modules if other != name])}
        elif kind == "version":
            package = self.chance.choice(list(self.versions))
            self.versions[package] += "1"
            hit = {n for n in self.notebooks if any(package in self.uses[m] for m in self.reached(n))}
        elif kind == "data":
            name = self.chance.choice(["one", "two"])
            (self.root / "data" / f"{name}.txt").write_text(str(self.edits))
            hit = {n for n in self.notebooks if self.data[n] == name}
        else:
            self.parameters[notebook]["number" if kind == "parameter" else "seed"] = self.edits + 1
            hit = {notebook}
        self.write()
        return hit


def fingerprints(graph: Graph) -> dict[str, str]:
    """What the engine plans, as a new process would."""
    forget()
    return {run.experiment.name: run.fingerprint for run in plan.load(Project(graph.root), "quick").runs}


def test_an_edit_reaches_exactly_what_brute_force_says(tmp_path, monkeypatch, fault, tries):
    """Module, import, package version, parameter, seed and data: of 8 runs those that it reaches, and no other."""
    wrong = lost = 0
    for seed in range(tries(1, 5)):
        graph = Graph(tmp_path / str(seed), seed)
        monkeypatch.setattr(fingerprint, "version", lambda package, graph=graph: graph.versions.get(package, "none"))
        before, sizes = fingerprints(graph), set()
        for _ in range(100):
            hit = graph.edit()
            after = fingerprints(graph)
            changed = {name for name in before if before[name] != after[name]}
            wrong += len(hit - changed)  # an old result would stand
            lost += len(changed - hit)  # made again for nothing
            sizes.add(len(hit))
            before = after
        assert len(sizes) > 3  # edits that reach none, some, many
    fault("Edit of module, import, version, parameter, seed, data", tries=100 * tries(1, 5), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


HIDDEN = (
    "import importlib\nimportlib.import_module('toy.' + 'hidden')",
    "__import__('toy.hidden')",
    "exec('import toy' + '.hidden')",
    "import toy.lazy\ntoy.lazy.hidden",
    "import runpy, sys\nsys.modules['again'] = __import__('importlib').import_module('toy.hidden')",
    "import threading\nt = threading.Thread(target=lambda: __import__('toy.hidden'))\nt.start(); t.join()",
    "import importlib.util as u, sys\ns = u.spec_from_file_location('free', 'src/toy/hidden.py')\n"
    "m = u.module_from_spec(s); sys.modules['free'] = m; s.loader.exec_module(m)",
)


@pytest.mark.slow
def test_a_dynamic_import_fails_its_run(book, fault):
    """A module that no import statement names, loaded in whatever way: its run fails and says which module it was."""
    book.write("src/toy/hidden.py", "number = 1\n")
    book.write(
        "src/toy/lazy.py",
        "import importlib\n\n\ndef __getattr__(name):\n    return importlib.import_module('toy.' + name)\n",
    )
    for number, cell in enumerate(HIDDEN):
        write_notebook(
            book.root / "experiments" / f"hides{number}.ipynb",
            markdown("# Hide"),
            code(cell),
            code("import benchbook", "benchbook.value('x', 1)"),
        )
    runs = [{"experiment": f"hides{number}"} for number in range(len(HIDDEN))]
    book.write("profiles/quick.yml", yaml.safe_dump({"runs": runs}))
    book.write("book/index.md", "# Toy\n\n{value}`hides0:x`\n")
    ended = book.run("build", "--no-pdf", "--jobs", "2")
    assert ended.returncode == 1, ended.stderr
    errors = {}
    for number, cell in enumerate(HIDDEN):
        (folder,) = book.folders(f"hides{number}")
        errors[cell] = json.loads((folder / "status.json").read_text())["error"]
    passed = {cell: error for cell, error in errors.items() if "no import statement names it" not in error}
    shown = "benchbook-missing" not in book.html("book/index")
    fault("Module loaded by no import statement", tries=len(HIDDEN), wrong=len(passed) + shown)
    assert passed == {}
    assert not shown
