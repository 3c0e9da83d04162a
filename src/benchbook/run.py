"""Executes one run: a notebook through papermill, in a fresh kernel, into its content-addressed folder.

`python -m benchbook.run JOB.json` is what the scheduler starts. It exits with 0 when the run has ended, well or with an
exception of its own (status.json says which), and with 3 when the kernel died, which is worth another try.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchbook import atomic, experiments, fingerprint, gpus, machine
from benchbook.artefacts import NEEDS, RUN_FOLDER
from benchbook.errors import BookError
from benchbook.experiments import code_cells, tags
from benchbook.outputs import is_sound
from benchbook.plan import Run
from benchbook.record import CLAIM, CURVE, ENVIRONMENT, PROGRESS_FILE, VALUE
from benchbook.state import EXECUTED, progress_file, read_status, sealed, used_files

KERNEL_DIED = 3
RECORDS = {VALUE: "values", CLAIM: "claims", CURVE: "curves"}
EDITED = "the notebook was edited after this run had been planned: run again"
AUDIT = "application/vnd.benchbook.audit+json"
# Added as a last cell and taken out again: what the kernel really loaded, held against the static closure.
AUDIT_CELL = """
import os as _os, resource as _resource, sys as _sys
from IPython.display import display as _display
_unit = 2**20 if _sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
_files = {{n: getattr(m, "__file__", None) or "" for n, m in list(_sys.modules.items())}}
_others = ("site-packages", "dist-packages", _os.path.dirname(_os.__file__))
_display({{"{mime}": {{
    "modules": sorted(n for n, f in _files.items() if f.startswith({root!r}) and not any(o in f for o in _others)),
    "memory_mb": _resource.getrusage(_resource.RUSAGE_SELF).ru_maxrss // _unit,
    "kept_seconds": sum(getattr(_sys.modules.get("benchbook.record"), "kept_seconds", ())),
}}}}, raw=True)
"""


def job(run: Run, profile: str) -> dict[str, Any]:
    """All that a worker must know about a run, as plain JSON."""
    return {
        "experiment": run.experiment.name,
        "notebook": str(run.experiment.path),
        "root": str(run.project.root),
        "sources": [str(path) for path in run.project.source_roots(run.experiment)],
        "working_folder": str(run.project.working_folder(run.experiment)),
        "folder": str(run.folder),
        "progress": str(progress_file(run)),
        "needs": {name: str(needed.folder) for name, needed in run.needs.items()},
        "resources": dict(run.experiment.resources),
        "gpu_slots": [],
        "parameters": run.parameters,
        "changed_parameters": run.changed_parameters,
        "ingredients": run.ingredients,
        "fingerprint": run.fingerprint,
        "profile": profile,
    }


def execute(task: Mapping[str, Any], error: str = "") -> dict[str, Any]:
    """Runs a job's notebook and puts its folder in place; returns its status.

    error: why the notebook cannot be run; then its folder says so.
    """
    folder = Path(task["folder"])
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    part.mkdir(parents=True)
    try:
        started = time.monotonic()
        used = used_files(task["needs"])
        error = error or needs_error(task["needs"]) or _papermill(task, part)
        notebook = _read_notebook(part / EXECUTED, Path(task["notebook"]))
        audit = _take_audit(notebook)
        results, double = collect(notebook)
        error = error or double or _audit_error(task, audit)
        results = _results(task, results, audit, time.monotonic() - started) | _longest(notebook)
        _write_json(part / EXECUTED, notebook, indent=1)
        _write_json(part / "results.json", results)
        status = sealed(
            {
                "state": "failed" if error else "ok",
                "error": error,
                "ended": time.time(),
                "seconds": results["seconds"],
                "kept_seconds": results["kept_seconds"],
                "ingredients": task["ingredients"],
                "used": used,
                "files": {file.name: fingerprint.hash_file(file) for file in sorted(part.iterdir())},
            }
        )
        _write_json(part / "status.json", status)
        atomic.replace(part, folder)
        return status
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for file in (Path(task["progress"]), Path(task["progress"]).with_suffix(".step")):
            file.unlink(missing_ok=True)


def collect(notebook: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The records in a notebook's outputs, by kind and name, and what is wrong with them ('' if nothing)."""
    found: dict[str, Any] = {"values": {}, "claims": {}, "curves": {}, "environment": {}}
    for number, data in _outputs(notebook):
        facts = data.get(ENVIRONMENT, {})
        found["environment"] |= {key: str(fact) for key, fact in facts.items()} if isinstance(facts, dict) else {}
        for mime, kind in RECORDS.items():
            if mime not in data:
                continue
            if not is_sound(kind, data[mime]):
                return found, f"cell {number} records no {kind[:-1]} that can be read: record by benchbook.{kind[:-1]}"
            record = {**data[mime], "cell": number}
            name = record.pop("name")
            if name in found[kind]:
                return found, f"{kind[:-1]} '{name}' is recorded twice (cells {found[kind][name]['cell']} and {number})"
            found[kind][name] = record
    return found, ""


def _outputs(notebook: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every display of a notebook with the number of its code cell, counted from 1 without the injected cell."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.get("outputs", ()):
            if "data" in output:
                yield number, output["data"]


def needs_error(needs: Mapping[str, str]) -> str:
    """Why a run cannot begin: a needed run that did not end well; '' where all did."""
    for name, folder in needs.items():
        status = read_status(Path(folder))
        if status is None or status["state"] != "ok":
            reason = f"failed: {status['error']}" if status else "has not run"
            return f"it needs '{name}', which {reason}"
    return ""


def _papermill(task: Mapping[str, Any], part: Path) -> str:
    """Executes the notebook with an audit cell at its end, into the folder; returns its error."""
    import nbformat

    from benchbook import kernel

    given = part / "given.ipynb"
    shutil.copyfile(task["notebook"], given)  # so that what is looked at is what is run
    if error := _edit_error(task, given):
        given.unlink()
        return error
    notebook = nbformat.read(given, as_version=4)
    cells = max(1, len(code_cells(notebook)))
    audit = AUDIT_CELL.format(mime=AUDIT, root=task["root"] + os.sep)
    notebook.cells.append(nbformat.v4.new_code_cell(audit, metadata={"tags": ["benchbook-audit"]}))
    nbformat.write(notebook, given)
    progress, began = Path(task["progress"]), time.time()
    progress.parent.mkdir(parents=True, exist_ok=True)
    os.environ[PROGRESS_FILE] = str(progress.with_suffix(".step"))
    os.environ[RUN_FOLDER] = str(part)
    os.environ[NEEDS] = json.dumps(task["needs"])

    def note(cell: int) -> None:
        where = {"cell": min(cell, cells), "cells": cells, "began": began, "time": time.time()}
        _write_json(progress, where)

    try:
        with gpus.held(task["gpu_slots"], task["resources"].get("gpu", 0)) as names:
            if names:
                os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
            return kernel.execute(given, part / EXECUTED, task["changed_parameters"], task["working_folder"], note)
    finally:
        given.unlink(missing_ok=True)


def _edit_error(task: Mapping[str, Any], given: Path) -> str:
    """Why a notebook is not the one that was planned, whose fingerprint the run would bear; '' where it is."""
    try:
        found = experiments.read(given)
        parameters = found.bind(task["changed_parameters"])
    except BookError:
        return EDITED
    # Parameters as JSON, where 25 and 25.0 differ.
    now, then = (json.dumps(bound, sort_keys=True) for bound in (parameters, task["parameters"]))
    same = fingerprint.hash_code(found.code) == task["ingredients"]["code"] and now == then
    return "" if same else EDITED


def _read_notebook(executed: Path, given: Path) -> dict[str, Any]:
    """The executed notebook, or the given one where the kernel died before anything was written."""
    notebook: dict[str, Any]
    try:
        notebook = json.loads(executed.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        notebook = json.loads(given.read_text(encoding="utf-8"))
    return notebook


def _take_audit(notebook: dict[str, Any]) -> dict[str, Any]:
    """Removes the audit cell and returns what it found."""
    audit: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if "benchbook-audit" in tags(cell):
            audit = next((o["data"][AUDIT] for o in cell["outputs"] if AUDIT in o.get("data", {})), {})
    notebook["cells"] = [cell for cell in notebook["cells"] if "benchbook-audit" not in tags(cell)]
    notebook["metadata"].get("papermill", {}).pop("input_path", None)  # temporary paths say nothing to a reader
    notebook["metadata"].get("papermill", {}).pop("output_path", None)
    return audit


def _audit_error(task: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    """What the run used that its fingerprint does not hold: '' where the two agree."""
    if not audit:
        return "the notebook left before its end (SystemExit): take the exit out"
    modules = task["ingredients"]["modules"]
    for name in audit.get("modules", ()):
        if name not in modules and name != "__main__":
            return (
                f"module {name} was loaded, but no import statement names it: write the import where it is used, and a "
                "folder that sys.path gets as plain text"
            )
    for name, digest in modules.items():
        path = fingerprint.module_path(name, *map(Path, task["sources"]))
        if path is None or fingerprint.hash_file(path) != digest:
            return f"module {name} was edited while the run was under way: run again"
    return ""


def _results(
    task: Mapping[str, Any], found: dict[str, Any], audit: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    facts = {
        "machine": machine.description(),
        "system": platform.platform(terse=True),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "memory_mb": audit.get("memory_mb"),
        "commit": _commit(Path(task["root"])),
        "packages": task["ingredients"]["packages"],
    }
    return {
        **{key: task[key] for key in ("experiment", "fingerprint", "profile", "parameters", "changed_parameters")},
        "values": found["values"],
        "claims": found["claims"],
        "curves": found["curves"],
        "environment": facts | found["environment"] | facts,  # what a notebook says of them does not count
        "seconds": round(seconds, 2),
        "kept_seconds": round(audit.get("kept_seconds", 0.0), 2),
    }


def _longest(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The code cell that took longest, counted as everywhere, with its seconds; {} where none has run."""
    times = [cell["metadata"].get("papermill", {}).get("duration") or 0.0 for cell in code_cells(notebook)]
    longest = max(times, default=0.0)
    return {"longest": {"cell": times.index(longest) + 1, "seconds": round(longest, 2)}} if longest else {}


def _commit(root: Path) -> str:
    """The commit that the run was made from, with '+' where tracked files differed from it."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
        ).stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        return commit + ("+" if commit and git("status", "--porcelain", "--untracked-files=no") else "")
    except OSError:
        return ""


def _write_json(path: Path, content: Any, indent: int | None = None) -> None:
    atomic.write(path, (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode())


def main(arguments: list[str]) -> int:
    """Executes the job whose file is named; returns the exit status that the scheduler acts on."""
    # A polite end, so that papermill takes its kernel down with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from benchbook.kernel import DIED  # here, because whoever asks how runs stand needs no papermill

    status = execute(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    return KERNEL_DIED if str(status["error"]).startswith(DIED) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
