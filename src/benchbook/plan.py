"""Which runs a book is made of: a profile names experiments with parameters, sweeps and seeds.

A run's folder is named by its fingerprint, so a run is current exactly when its folder holds a successful status.json.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchbook import experiments, fingerprint, toc
from benchbook.errors import BookError, check_keys, nearest
from benchbook.experiments import Experiment
from benchbook.fingerprint import Snapshot
from benchbook.project import Project

DEFAULT_PROFILE = "quick"
PROFILE_KEYS = {"title", "note", "reduced", "strict", "trusted", "gpu_slots", "runs"}
SWITCHES = {  # of a profile: what each is where it is not given, and what it means
    "reduced": (False, "true marks every page as that of a reduced run"),
    "strict": (True, "true stops at Sphinx's warnings, false only shows them"),
    "trusted": (False, "true keeps scripts in the outputs of notebooks, false makes them inert"),
}
RUN_KEYS = {"experiment", "parameters", "sweep", "seeds", "show", "needs"}


@dataclass(frozen=True)
class Run:
    """One experiment with all its parameters; `folder` is where its result belongs, made or not."""

    project: Project
    experiment: Experiment
    parameters: dict[str, Any]
    ingredients: dict[str, Any]
    shown: bool = True
    needs: Mapping[str, Run] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint.fingerprint({"experiment": self.experiment.name, **self.ingredients})

    @cached_property
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
        words = [self.experiment.name, *(f"{k}={v}" for k, v in self.changed_parameters.items())]
        return "".join(sign if sign.isprintable() else " " for sign in " ".join(words))


@dataclass(frozen=True)
class Plan:
    """A profile's runs in its own order."""

    name: str
    title: str
    note: str
    reduced: bool
    runs: tuple[Run, ...]
    gpu_slots: int = 1  # runs that share one GPU
    strict: bool = True  # a warning of Sphinx stops the book
    trusted: bool = False  # scripts in outputs stay

    def shown(self) -> dict[str, Run]:
        """The run that the book shows of each experiment."""
        return {run.experiment.name: run for run in self.runs if run.shown}


def load(project: Project, profile: str) -> Plan:
    """The plan of a profile; raises BookError, naming the file, for everything in it that has no meaning."""
    path, content = _read_profile(project, profile)
    slots = content.get("gpu_slots", 1)
    if type(slots) is not int or slots < 1:
        raise BookError(f"{path}: 'gpu_slots' is {slots!r}: give the number of runs that share one GPU, 1 or more")
    with _said_of(path):
        runs = _Planner(project, [_entry(project, entry) for entry in content["runs"]]).runs()
    switches = {key: content.get(key, default) for key, (default, _) in SWITCHES.items()}
    for key, given in switches.items():
        if type(given) is not bool:
            raise BookError(f"{path}: '{key}' is {given!r}: {SWITCHES[key][1]}")
    texts = {"title": content.get("title", profile), "note": content.get("note", "")}
    for key, text in texts.items():
        if not isinstance(text, str) or not text.isprintable():
            raise BookError(f"{path}: '{key}' is {text!r}: give a line of text")
    return Plan(profile, **texts, **switches, runs=runs, gpu_slots=slots)


def _read_profile(project: Project, profile: str) -> tuple[Path, dict[str, Any]]:
    """A profile's file and what it says, its keys checked; it has 'runs', if only an empty list."""
    path = project.root / "profiles" / f"{profile}.yml"
    if not path.is_file() or Path(profile).name != profile:
        known = [file.stem for file in (project.root / "profiles").glob("*.yml")]
        raise BookError(f"there is no profile {profile!r}{nearest(profile, known)}")
    content = toc.read_yaml(path)
    check_keys(content, PROFILE_KEYS, str(path))
    if not isinstance(content.setdefault("runs", []), list):
        raise BookError(f"{path}: 'runs' is a list of entries, each with an experiment")
    return path, content


@contextlib.contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except BookError as error:
        raise BookError(f"{path}: {error}") from None


def plan_runs(
    project: Project, experiment: Experiment, points: Iterable[Mapping[str, Any]], profile: str = DEFAULT_PROFILE
) -> tuple[Run, ...]:
    """Runs of one experiment with the given parameters over the defaults, the runs that they need before them.

    Needed are the runs that the profile's entry names, else those that the profile shows, else those with the defaults.
    Raises BookError for a profile that is not there, but a book may be without the default one.
    """
    entries: list[Entry] = []
    if profile != DEFAULT_PROFILE or (project.root / "profiles" / f"{profile}.yml").is_file():
        path, content = _read_profile(project, profile)
        with _said_of(path):
            entries = [_entry(project, entry) for entry in content["runs"] if experiment.needs]
    needs = next((entry.needs for entry in entries if entry.experiment.name == experiment.name), {})
    others = [entry for entry in entries if entry.experiment.name != experiment.name]
    own = Entry(experiment, list(points), needs=needs)
    planner = _Planner(project, [*others, own])
    return planner.closure(planner.entry_runs(own))


@dataclass(frozen=True)
class Entry:
    """One entry of a profile: an experiment, the parameters of each of its runs, which is shown, what they need."""

    experiment: Experiment
    points: Sequence[Mapping[str, Any]]
    shown: int = 0
    needs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _Planner:
    """Makes runs out of entries, reading each notebook's imports and each data set once."""

    def __init__(self, project: Project, entries: list[Entry]) -> None:
        self.project = project
        self.entries = entries
        self.static: dict[str, dict[str, Any]] = {}
        self.snapshot = Snapshot()
        self.under_way: list[str] = []

    def runs(self) -> tuple[Run, ...]:
        """All runs of a profile in its order, followed by those that they need and that it does not name."""
        named: dict[str, Entry] = {}
        for entry in self.entries:
            name = entry.experiment.name
            if name in named:
                raise BookError(f"experiment '{name}' stands in several entries: make them one sweep")
            named[name] = entry
        runs = [run for entry in self.entries for run in self.entry_runs(entry)]
        for folder, times in Counter(run.folder for run in runs).items():
            if times > 1:
                double = next(run for run in runs if run.folder == folder)
                raise BookError(f"the run '{double.label}' stands twice: keep one")
        return self.closure(runs)

    def entry_runs(self, entry: Entry) -> list[Run]:
        for name in entry.needs:
            if name not in entry.experiment.needs:
                raise BookError(
                    f"'{entry.experiment.name}' does not need {name!r}{nearest(str(name), entry.experiment.needs)}"
                )
        return [
            self.run(entry.experiment, point, i == entry.shown, entry.needs) for i, point in enumerate(entry.points)
        ]

    def closure(self, runs: Iterable[Run]) -> tuple[Run, ...]:
        """The runs and all that they need, each once; what the runs themselves name comes first."""
        found = {run.folder: run for run in runs}
        queue = list(found.values())
        while queue:
            for run in queue.pop().needs.values():
                if run.folder not in found:
                    found[run.folder] = run
                    queue.append(run)
        return tuple(found.values())

    def run(
        self, experiment: Experiment, given: Mapping[str, Any], shown: bool, needs: Mapping[str, Mapping[str, Any]]
    ) -> Run:
        """One run, planned with the runs that it needs; raises BookError for needs that go in a circle."""
        if experiment.name in self.under_way:
            circle = " → ".join([*self.under_way[self.under_way.index(experiment.name) :], experiment.name])
            raise BookError(f"these experiments need one another: {circle}: drop one need")
        self.under_way.append(experiment.name)
        needed = {name: self.needed(name, needs.get(name)) for name in experiment.needs}
        self.under_way.pop()
        parameters = experiment.bind(given)
        parts = {
            **self.static_parts(experiment),
            "parameters": dict(sorted(parameters.items())),
            "data": dict(sorted(self.project.data_digests(str(parameters.get("dataset", ""))).items())),
            "needs": {name: run.fingerprint for name, run in sorted(needed.items())},
        }
        return Run(self.project, experiment, parameters, parts, shown, needed)

    def needed(self, name: str, given: Mapping[str, Any] | None) -> Run:
        """The needed run: with parameters that the entry gives, else the one shown, else with the defaults."""
        entry = next((entry for entry in self.entries if entry.experiment.name == name), None)
        if entry is None:
            entry = Entry(self.project.experiment(name), [{}])
        point = {**entry.points[entry.shown], **(given or {})}
        return self.run(entry.experiment, point, not given and entry in self.entries, entry.needs)

    def static_parts(self, experiment: Experiment) -> dict[str, Any]:
        if experiment.name not in self.static:
            try:
                roots = self.project.source_roots(experiment)
                parts = fingerprint.static_ingredients(experiment.code, *roots, snapshot=self.snapshot)
                self.static[experiment.name] = parts
            except BookError as error:
                raise BookError(f"experiment '{experiment.name}': {error}") from None
        return self.static[experiment.name]


def _entry(project: Project, entry: Any) -> Entry:
    """One entry of a profile, checked: its runs are one, or the grid that its sweep and its seeds span."""
    check_keys(entry, RUN_KEYS, "an entry of 'runs'")
    if not isinstance(entry.get("experiment"), str):
        raise BookError("an entry of 'runs' names no experiment: give it experiment: NAME")
    experiment = project.experiment(entry["experiment"])
    if experiment.language != "python":
        raise BookError(f"'{experiment.name}' is written in {experiment.language}: only Python notebooks are run")
    fixed, sweep, show, needs = (_mapping(entry, key) for key in ("parameters", "sweep", "show", "needs"))
    if "seeds" in entry:
        sweep = {**sweep, "seed": experiments.seeds(experiment, entry["seeds"])}
    for name, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise BookError(f"the sweep over {name!r} is no list of values")
        if name in fixed:
            raise BookError(f"{name!r} is both a parameter and a sweep of '{experiment.name}': keep one")
    for name, given in needs.items():
        if not isinstance(given, dict):
            raise BookError(
                f"'needs' of '{experiment.name}' gives {name!r} no mapping: write NAME: {{parameter: value}}"
            )
    points = [{**fixed, **point} for point in experiments.grid(experiment, sweep)]
    shown = next((i for i, point in enumerate(points) if all(point.get(k) == v for k, v in show.items())), None)
    if shown is None:
        raise BookError(f"'show' of '{experiment.name}' names no run of its sweep")
    return Entry(experiment, list(points), shown, needs)


def _mapping(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = entry.get(key) or {}
    if not isinstance(found, dict):
        raise BookError(f"'{key}' of '{entry['experiment']}' is no mapping: write {key}: {{name: value}}")
    return found
