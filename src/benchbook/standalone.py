"""One notebook out of several runs, which needs nothing of this book: it brings the modules that its cells import."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbook.conditions import chosen, is_met
from benchbook.experiments import source, tags
from benchbook.fingerprint import DISTRIBUTIONS, closure
from benchbook.notebook import merged
from benchbook.plan import Run
from benchbook.record import VERDICTS, claim_sentence, show
from benchbook.state import read_results

FOLDER = "modules"  # beside the notebook, where its first cells write what the others import
ROLE = re.compile(r"\{([\w:-]+)\}`([^`]*)`")
EQUATION = re.compile(r"\n?\$\$[ \t]*\(([\w-]+)\)")


def standalone(runs: Sequence[Run], title: str, author: str) -> dict[str, Any]:
    """The notebook: how to run it, the modules, then each run's cells with its parameters and outputs.

    Roles of the prose become the text that they stand for, so that it reads in Jupyter, too.
    """
    packages = {name: version for run in runs for name, version in _environment(run)["packages"].items()}
    packages.pop("python", None)
    outside = " ".join(f"{DISTRIBUTIONS.get(name, name)}=={version}" for name, version in sorted(packages.items()))
    head = f"# {title}\n\n{author}\n\nThis notebook runs by itself. What it needs: `pip install {outside}`"
    cells = [_markdown(head), *_modules(runs)]
    for run in runs:
        for cell in readable(run)["cells"]:
            if cell["cell_type"] == "markdown":
                cells.append(_markdown(cell["source"]))
            elif "parameters" in tags(cell):
                cells.append(_code(parameters_cell(run)))
            else:
                cells.append(_code(source(cell), cell["outputs"], cell["execution_count"]))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}


def readable(run: Run) -> dict[str, Any]:
    """A run's notebook with its outputs and with prose for Jupyter."""
    notebook, results = merged(run.experiment.path, run), read_results(run.folder)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = plain_prose(source(cell), results)
    return notebook


def plain_prose(text: str, results: Mapping[str, Any]) -> str:
    """Markdown for Jupyter: values and claims as texts, equations with tags for labels, references by their names."""

    def said(match: re.Match[str]) -> str:
        role, content = match[1], match[2]
        name = content.rpartition(":")[2]
        if role == "value" and name in results["values"]:
            return show(results["values"][name])
        if role == "claim" and name in results["claims"]:
            record = results["claims"][name]
            return f"{claim_sentence(record)} ({VERDICTS[record['holds']]})"
        return f"({content})" if role == "eq" else f"[{content}]"

    text = chosen(text, lambda name, outcome: is_met(results, name.rpartition(":")[2], outcome))
    return ROLE.sub(said, EQUATION.sub(r"\n\\tag{\1}\n$$", text))


def parameters_cell(run: Run) -> str:
    """The parameters cell with this run's values in place of the defaults."""
    known = run.experiment.parameters
    return "\n".join(
        f"{name}: {known[name].type} = {given!r}  # {known[name].help}" for name, given in run.parameters.items()
    )


def _modules(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The cells that write every module of the book which the runs import, and let Python find them."""
    found: dict[str, Path] = {}
    for run in runs:
        found |= closure(run.experiment.code, *run.project.source_roots(run.experiment)).modules
    files = {_file(name, path): path for name, path in sorted(found.items())}
    parents = sorted({Path(FOLDER, file).parent.as_posix() for file in files})
    folders = "\n".join(f'Path("{folder}").mkdir(parents=True, exist_ok=True)' for folder in parents)
    start = f'import sys\nfrom pathlib import Path\n\nsys.path.insert(0, "{FOLDER}")\n{folders}'
    cells = [_code(start)]
    for file, path in files.items():
        text = path.read_text(encoding="utf-8").rstrip() or "# empty"  # IPython writes no file without a line
        cells.append(_code(f"%%writefile {FOLDER}/{file}\n{text}"))
    return cells


def _file(name: str, path: Path) -> str:
    """Where a module belongs below a folder that Python searches."""
    parts = name.replace(".", "/")
    return f"{parts}/__init__.py" if path.name == "__init__.py" else f"{parts}.py"


def _environment(run: Run) -> dict[str, Any]:
    environment: dict[str, Any] = read_results(run.folder)["environment"]
    return environment


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(text: str, outputs: Sequence[Any] = (), count: int | None = None) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": text, "outputs": list(outputs), "execution_count": count}
