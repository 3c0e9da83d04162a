"""Which runs a book is made of, and how each of them stands.

A profile names experiments with parameters and sweeps; a run's folder is named by its fingerprint, so a run is
current exactly when its folder holds a successful status.json.
"""

from __future__ import annotations

import itertools
import json
import os
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from benchbook import experiments, fingerprint
from benchbook.errors import BookError, nearest
from benchbook.experiments import Experiment

PROFILE_KEYS = {"title", "note", "reduced", "runs"}
RUN_KEYS = {"experiment", "parameters", "sweep", "show"}
STATUS_KEYS = {"state", "error", "files", "ingredients", "ended", "seconds"}
DATA_KEYS = {"files", "also", "prepare"}


@dataclass(frozen=True)
class Project:
    """A book's folder: notebooks, sources, profiles, and what was made of them."""

    root: Path

    @property
    def sources(self) -> Path:
        return self.root / "src"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def build(self) -> Path:
        return self.root / "_build"

    @property
    def data_root(self) -> Path:
        return self.root / os.environ.get("DATA_ROOT", "data")

    @cached_property
    def data_sets(self) -> dict[str, dict[str, Any]]:
        """[tool.benchbook.data] of pyproject.toml: the files behind each value of a parameter named `dataset`."""
        path = self.root / "pyproject.toml"
        if not path.is_file():
            return {}
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("benchbook", {})
        except tomllib.TOMLDecodeError as error:
            raise BookError(f"{path} is not TOML ({error})") from None
        sets: dict[str, dict[str, Any]] = table.get("data", {})
        for name, entry in sets.items():
            _known(entry, DATA_KEYS, f"{path}, data set '{name}'")
        return sets


@dataclass(frozen=True)
class Run:
    """One experiment with all its parameters; `folder` is where its result belongs, made or not."""

    project: Project
    experiment: Experiment
    parameters: dict[str, Any]
    ingredients: dict[str, Any]
    shown: bool = True

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint.fingerprint({"experiment": self.experiment.name, **self.ingredients})

    @property
    def folder(self) -> Path:
        return self.project.runs / self.experiment.name / self.fingerprint

    @property
    def changed_parameters(self) -> dict[str, Any]:
        """The parameters that differ from the notebook's defaults."""
        defaults = self.experiment.parameters
        return {name: given for name, given in self.parameters.items() if given != defaults[name].default}

    @property
    def label(self) -> str:
        """The experiment and what differs from its defaults, for one line of a terminal."""
        return " ".join([self.experiment.name, *(f"{k}={v}" for k, v in self.changed_parameters.items())])


@dataclass(frozen=True)
class State:
    """How a run stands: 'ok', 'failed', 'stale', 'not run', and the reason in words."""

    name: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


@dataclass(frozen=True)
class Plan:
    """A profile's runs in its own order."""

    name: str
    title: str
    note: str
    reduced: bool
    runs: tuple[Run, ...]

    def shown(self) -> dict[str, Run]:
        """The run that the book shows of each experiment."""
        return {run.experiment.name: run for run in self.runs if run.shown}


def find_root(start: Path) -> Path:
    """The nearest folder upwards that holds a book; raises BookError where there is none."""
    for folder in (start, *start.parents):
        if (folder / "_toc.yml").is_file() and (folder / "experiments").is_dir():
            return folder
    raise BookError(f"{start} is not inside a book (no folder above it has _toc.yml and experiments/): change there")


def load(project: Project, profile: str) -> Plan:
    """The plan of a profile; raises BookError, naming the file, for everything in it that has no meaning."""
    path = project.root / "profiles" / f"{profile}.yml"
    if not path.is_file() or Path(profile).name != profile:
        known = [file.stem for file in (project.root / "profiles").glob("*.yml")]
        raise BookError(f"there is no profile '{profile}'{nearest(profile, known)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BookError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    _known(content, PROFILE_KEYS, str(path))
    entries = content.get("runs", [])
    if not isinstance(entries, list):
        raise BookError(f"{path}: 'runs' is a list of entries, each with an experiment")
    runs = tuple(run for entry in entries for run in _runs_of(project, entry, path))
    folders = Counter(run.folder for run in runs)
    for run in runs:
        if folders[run.folder] > 1:
            raise BookError(f"{path}: the run '{run.label}' stands twice: keep one")
    shown = Counter(run.experiment.name for run in runs if run.shown)
    for name, times in shown.items():
        if times > 1:
            raise BookError(f"{path}: experiment '{name}' stands in several entries: make them one sweep")
    reduced = bool(content.get("reduced", False))
    return Plan(profile, content.get("title", profile), content.get("note", ""), reduced, runs)


def plan_run(project: Project, experiment: Experiment, given: Mapping[str, Any], shown: bool = True) -> Run:
    """One run of an experiment with the given parameters over the defaults."""
    parameters = experiment.bind(given)
    data = data_digests(project, str(parameters.get("dataset", "")))
    parts = fingerprint.ingredients(experiment.code, parameters, project.sources, data, {})
    return Run(project, experiment, parameters, parts, shown)


def data_digests(project: Project, data_set: str) -> dict[str, str]:
    """The digests of the files of a data set that are there: the first of `files`, and all of `also`."""
    entry = project.data_sets.get(data_set, {})
    first = [name for name in entry.get("files", ()) if (project.data_root / name).exists()][:1]
    also = [name for name in entry.get("also", ()) if (project.data_root / name).exists()]
    return {name: _digest(project.data_root / name) for name in [*first, *also]}


def state(run: Run) -> State:
    """How the run stands, with the reason: its own folder's status, or what differs from the latest run before it."""
    status = read_status(run.folder)
    if status is None:
        return _stale(run)
    if status["state"] != "ok":
        return State("failed", str(status["error"]))
    damaged = damaged_file(run.folder, status)
    return State("not run", f"{damaged} in {run.folder} is damaged") if damaged else State("ok")


def read_status(folder: Path) -> dict[str, Any] | None:
    """The status.json of a run folder; None where there is none that can be read."""
    try:
        status: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        return status if status.keys() >= STATUS_KEYS else None
    except (OSError, ValueError, AttributeError):
        return None


def damaged_file(folder: Path, status: Mapping[str, Any]) -> str | None:
    """The first file of a run folder that is missing or no longer has its recorded SHA-256."""
    for name, digest in status["files"].items():
        if not (folder / name).is_file() or fingerprint.hash_file(folder / name) != digest:
            return str(name)
    return None


def latest(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """The newest earlier run of the experiment, one with the same parameters before any other, with its status."""
    found = []
    for folder in run.folder.parent.glob("[!.]*"):
        status = read_status(folder)
        if status and folder != run.folder:
            same = status.get("ingredients", {}).get("parameters") == run.parameters
            found.append((same, status.get("ended", 0.0), folder, status))
    return max(found, key=lambda entry: entry[:3])[2:] if found else None


def _stale(run: Run) -> State:
    before = latest(run)
    if before is None:
        return State("not run")
    reached = fingerprint.closure(run.experiment.code, run.project.sources)
    reasons = fingerprint.differences(run.ingredients, before[1]["ingredients"], reached, run.project.root)
    return State("stale", "changed: " + "; ".join(reasons))


def _runs_of(project: Project, entry: Any, path: Path) -> list[Run]:
    """The runs of one entry: one, or the grid that its sweep spans."""
    _known(entry, RUN_KEYS, str(path))
    if not isinstance(entry.get("experiment"), str):
        raise BookError(f"{path}: an entry of 'runs' names no experiment: give it experiment: NAME")
    fixed, sweep, show = (_mapping(entry, key, path) for key in ("parameters", "sweep", "show"))
    for name, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise BookError(f"{path}: the sweep over '{name}' is no list of values")
        if name in fixed:
            raise BookError(f"{path}: '{name}' is both a parameter and a sweep of '{entry['experiment']}': keep one")
    grid = [dict(zip(sweep, point, strict=True)) for point in itertools.product(*sweep.values())]
    chosen = next((point for point in grid if all(point.get(name) == wanted for name, wanted in show.items())), None)
    if chosen is None:
        raise BookError(f"{path}: 'show' of '{entry['experiment']}' names no run of its sweep")
    try:
        experiment = read_experiment(experiments.find(project.root, entry["experiment"]))
        return [plan_run(project, experiment, {**fixed, **point}, point is chosen) for point in grid]
    except BookError as error:
        raise BookError(f"{path}: {error}") from None


def _mapping(entry: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    found = entry.get(key) or {}
    if not isinstance(found, dict):
        raise BookError(f"{path}: '{key}' of '{entry['experiment']}' is no mapping: write {key}: {{name: value}}")
    return found


def _known(entry: Any, keys: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise BookError(f"{where}: a mapping is wanted here, not {type(entry).__name__}")
    for key in entry:
        if key not in keys:
            raise BookError(f"{where}: unknown key '{key}'{nearest(str(key), keys)}")


read_experiment = cache(experiments.read)
_digest = cache(fingerprint.hash_tree)
