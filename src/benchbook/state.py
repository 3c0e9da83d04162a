"""How each run stands: ok, failed, stale and why, not run, or running and how far."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from benchbook import fingerprint
from benchbook.artefacts import SUFFIX
from benchbook.errors import BookError
from benchbook.plan import Run
from benchbook.project import Project

EXECUTED = "executed.ipynb"
SEAL = "sha256"
STATUS_KEYS = {"state", "error", "files", "ingredients", "ended", "seconds"}


@dataclass(frozen=True)
class State:
    """How a run stands: its name, the reason in words, and every difference of a stale one, a line each."""

    name: str
    reason: str = ""
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


class History:
    """The runs of one experiment that are there, read once, with the newest that a new one may be compared with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reached: fingerprint.Closure | None = None

    @cached_property
    def statuses(self) -> dict[Path, dict[str, Any]]:
        """Every status by its run folder, the oldest first."""
        found = {folder: read_status(folder) for folder in self.folder.glob("[!.]*")}
        return dict(sorted(((k, v) for k, v in found.items() if v), key=lambda item: (item[1]["ended"], item[0])))

    @cached_property
    def _by_parameters(self) -> dict[str, Path]:
        return {_key(status["ingredients"].get("parameters")): folder for folder, status in self.statuses.items()}

    def before(self, run: Run, planned: Container[Path] = ()) -> tuple[Path, dict[str, Any]] | None:
        """What the run replaces, with its status: the newest one with the same parameters, else the newest.

        A planned run replaces no other planned one.
        """
        folder = self._by_parameters.get(_key(run.parameters))
        if folder is None or folder == run.folder or folder in planned:
            candidates = (other for other in reversed(self.statuses) if other != run.folder and other not in planned)
            folder = next(candidates, None)
        return (folder, self.statuses[folder]) if folder else None

    def differences(self, run: Run, then: Mapping[str, Any]) -> list[str]:
        """In what a run differs from one before it, whose status is given: a line each."""
        if self._reached is None:
            self._reached = fingerprint.closure(run.experiment.code, *run.project.source_roots(run.experiment))
        return fingerprint.differences(run.ingredients, then["ingredients"], self._reached, run.project.root)


def states(runs: Iterable[Run]) -> dict[Path, State]:
    """How each run stands, by its folder."""
    runs = list(runs)
    histories = {run.folder.parent: History(run.folder.parent) for run in runs}
    planned = {run.folder for run in runs}
    building = bool(runs) and is_building(runs[0].project)
    return {run.folder: _state(run, histories[run.folder.parent], planned, building) for run in runs}


def state(run: Run) -> State:
    """How one run stands."""
    return states([run])[run.folder]


def _state(run: Run, history: History, planned: Container[Path], building: bool) -> State:
    if building and (where := where_is(run)):
        return State("running", where)
    status = read_status(run.folder)
    if status is None:
        return _stale(run, history, planned)
    if status["state"] != "ok":
        return State("failed", str(status["error"]))
    damaged = damaged_file(run.folder, status)
    if damaged:
        return State("not run", f"{damaged} in {run.folder} is damaged")
    moved = _moved(run, status)
    return State("stale", f"changed: {moved[0]}", tuple(moved)) if moved else State("ok")


def _stale(run: Run, history: History, planned: Container[Path]) -> State:
    before = history.before(run, planned)
    if before is None:
        return State("not run")
    lines = history.differences(run, before[1])
    return State("stale", "changed: " + "; ".join(lines), tuple(lines))


def _moved(run: Run, status: Mapping[str, Any]) -> list[str]:
    """The needed files that have been made again, and differently, since this run read them."""
    used = status.get("used", {})
    now = used_files({name: needed.folder for name, needed in run.needs.items()}) if used else {}
    return [f"{name}, which was made again" for name in sorted(used) if now.get(name) not in (None, used[name])]


def used_files(needs: Mapping[str, Path | str]) -> dict[str, str]:
    """The SHA-256 of every artefact in the needed runs' folders, under 'experiment/file'."""
    found = {}
    for name, folder in needs.items():
        for file, digest in (read_status(Path(folder)) or {"files": {}})["files"].items():
            if file.endswith(SUFFIX):
                found[f"{name}/{file}"] = digest
    return found


def sealed(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status with its own SHA-256, so that damage in it is noticed as well."""
    content = {key: value for key, value in status.items() if key != SEAL}
    return {**content, SEAL: fingerprint.hash_text(json.dumps(content, sort_keys=True))}


def read_status(folder: Path) -> dict[str, Any] | None:
    """The status.json of a run folder; None where there is none that can be read, or it is damaged."""
    try:
        text = (folder / "status.json").read_text(encoding="utf-8")
        status: dict[str, Any] = json.loads(text)
        if not status.keys() >= STATUS_KEYS:
            return None
        unsealed = not status.keys() - STATUS_KEYS - {"used"}  # from before statuses were sealed
        # The very text: the last digit of a time may change without another number being meant.
        whole = sealed(status) == status and json.dumps(status, ensure_ascii=False) == text.rstrip()
        return status if unsealed or whole else None
    except (OSError, ValueError, AttributeError):
        return None


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of a run folder."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results


def damaged_file(folder: Path, status: Mapping[str, Any]) -> str | None:
    """The first file of a run folder that is missing or no longer has its recorded SHA-256."""
    for name, digest in status["files"].items():
        if not (folder / name).is_file() or fingerprint.hash_file(folder / name) != digest:
            return str(name)
    return None


@contextlib.contextmanager
def build_lock(project: Project) -> Iterator[None]:
    """Holds the book's build lock; raises BookError, naming the holder, where another build has it.

    The kernel drops the lock when its process ends, however it ends, so none is ever left behind. What the workers of
    a killed build have said of their progress is, and goes.
    """
    project.build.mkdir(exist_ok=True)
    with (project.build / "lock").open("a+") as file:
        # Tried again: `benchbook status` takes the lock for an instant, to see whether another process holds it.
        if not _locked(file, tries=3):
            file.seek(0)
            raise BookError(f"process {file.read().strip() or '?'} is building this book: wait for it to end") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        shutil.rmtree(progress_folder(project), ignore_errors=True)
        yield


def _locked(file: IO[str], tries: int) -> bool:
    for _ in range(tries):
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.1)
    return False


def is_building(project: Project) -> bool:
    """Whether some process holds the build lock: what is left of an ended build must not pass for running."""
    with contextlib.suppress(FileNotFoundError), (project.build / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def progress_file(run: Run) -> Path:
    """Where a worker says in which cell its run is; the notebook's own steps stand beside it, in `.step`."""
    return progress_folder(run.project) / f"{run.fingerprint}.json"


def progress_folder(project: Project) -> Path:
    """Where all workers of a build say how far they are."""
    return project.build / "progress"


def where_is(run: Run) -> str:
    """Cell and epoch of a run under way, in words; '' where it has not begun."""
    where, step = progress(run)
    if not where:
        return ""
    text = f"cell {where['cell']} of {where['cells']}"
    return text + (f", epoch {step['step']} of {step['steps']}" if step else "")


def progress(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the worker last said of a run's cells, and the notebook of its steps in this cell; {} where nothing."""
    where, step = _read(progress_file(run)), _read(progress_file(run).with_suffix(".step"))
    current = where and step.get("time", 0) >= where["time"]  # an older step belongs to an earlier cell
    return where, step if current else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return content
    except (OSError, ValueError):
        return {}


def _key(parameters: Any) -> str:
    return json.dumps(parameters, sort_keys=True)
