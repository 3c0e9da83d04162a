"""What the command line tells about runs: which one is meant, why one is stale, its log, what no profile names."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from benchbook import plan
from benchbook.errors import BookError, nearest
from benchbook.experiments import code_cells, source
from benchbook.fingerprint import LENGTH
from benchbook.plan import Plan, Run
from benchbook.project import Project
from benchbook.state import EXECUTED, History, State

TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def select(book: Plan, text: str) -> list[Run]:
    """The runs that a user names: an experiment's, or the one whose fingerprint begins so.

    Raises BookError, with the nearest name, where there is none.
    """
    named = [run for run in book.runs if run.experiment.name == text]
    named = named or [run for run in book.runs if len(text) >= 4 and run.fingerprint.startswith(text)]
    if not named:
        known = {run.experiment.name for run in book.runs}
        raise BookError(
            f"the profile '{book.name}' has no run '{text}'{nearest(text, known)}; `benchbook status` lists them"
        )
    return named


def describe(run: Run, state: State) -> dict[str, Any]:
    """A run and how it stands, as plain JSON."""
    return {
        "experiment": run.experiment.name,
        "fingerprint": run.fingerprint,
        "parameters": run.parameters,
        "changed_parameters": run.changed_parameters,
        "shown": run.shown,
        "state": state.name,
        "reason": state.reason,
        "differences": list(state.differences),
    }


def why(run: Run, state: State) -> list[str]:
    """Everything in which a stale run differs from the newest one before it, a line each; else its state."""
    if not state.differences:
        return [str(state)]
    lines = [f"differs: {line}" for line in state.differences]
    before = History(run.folder.parent).before(run)
    if before and (before[0] / EXECUTED).is_file():
        then = json.loads((before[0] / EXECUTED).read_text(encoding="utf-8"))
        now = json.loads(run.experiment.path.read_text(encoding="utf-8"))
        lines += _changed_cells(now, then)
    return lines


def _changed_cells(now: dict[str, Any], then: dict[str, Any]) -> list[str]:
    """The code cells that differ, old lines beside new, as a unified difference."""
    import difflib

    old, new = ([source(cell).splitlines() for cell in code_cells(notebook)] for notebook in (then, now))
    lines = []
    for number in range(max(len(old), len(new))):
        before, after = (cells[number] if number < len(cells) else [] for cells in (old, new))
        changed = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
        lines += [f"cell {number + 1}: {line}" for line in changed if not line.startswith("@@")]
    return lines


def log(run: Run) -> str:
    """What a run printed outside its notebook, and the traceback of a failed one."""
    parts = []
    path = run.project.build / "schedule" / f"{run.experiment.name}-{run.fingerprint}.log"
    if path.is_file():
        parts.append(path.read_text(encoding="utf-8", errors="replace").strip())
    executed = run.folder / EXECUTED
    if executed.is_file():
        for cell in code_cells(json.loads(executed.read_text(encoding="utf-8"))):
            for output in cell.get("outputs", ()):
                if output["output_type"] == "error":
                    parts.append(TERMINAL_COLOURS.sub("", "\n".join(output["traceback"])))
                elif output.get("name") == "stderr":
                    parts.append("".join(output["text"]).strip())
    return "\n".join(filter(None, parts))


def unnamed(project: Project) -> list[Path]:
    """The run folders that no profile names, and what killed workers left behind."""
    profiles = sorted(path.stem for path in (project.root / "profiles").glob("*.yml"))
    named = {run.folder for profile in profiles for run in plan.load(project, profile).runs}
    folders = [folder for folder in project.runs.glob("*/*") if folder.is_dir() and folder not in named]
    return sorted(folder for folder in folders if _is_run(folder))


def _is_run(folder: Path) -> bool:
    return bool(re.fullmatch(rf"\.?[0-9a-f]{{{LENGTH}}}(\.\w+)*", folder.name))


def size(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove(folders: list[Path]) -> None:
    """Removes run folders, and those of experiments that are empty then."""
    for folder in folders:
        shutil.rmtree(folder)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
