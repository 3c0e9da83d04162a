"""Finds the runs of one experiment that are there, to be compared.

Runs of older code, which would not be made again today, are told by the code, modules, packages and data that they
recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchbook import experiments, fingerprint, toc
from benchbook.errors import BookError
from benchbook.experiments import Experiment
from benchbook.plan import Plan
from benchbook.project import Project
from benchbook.rows import SEED, Comparison, Made, Row
from benchbook.state import EXECUTED, History, damaged_file, read_results, read_status


def compare(project: Project, name: str, book: Plan, snapshot: fingerprint.Snapshot | None = None) -> Comparison:
    """The successful runs of an experiment; the profile `book` says which of them the book shows.

    Several comparisons may share a snapshot of the sources.

    Raises BookError, with the nearest name, where there is no such experiment.
    """
    experiment = project.experiment(name)
    shown = book.shown().get(name)
    entry = _entry(project, book, experiment)
    sources = _Sources(project, snapshot or fingerprint.Snapshot())
    groups: dict[str, list[Made]] = {}
    for folder, status in History(project.runs / name).statuses.items():
        results = _results(folder, status) if status["state"] == "ok" else None
        if results is None:
            continue
        made = Made(
            folder=folder,
            ended=status["ended"],
            notebook=status["files"].get(EXECUTED, ""),
            results=results,
            needs=status["ingredients"].get("needs", {}),
            older=sources.differences(name, status["ingredients"]),
            shown=shown is not None and shown.folder == folder,
            line=profile_line(experiment, results["parameters"], entry),
        )
        groups.setdefault(_without_seed(status["ingredients"]), []).append(made)
    rows = [Row(tuple(sorted(runs, key=lambda run: _order(run.parameters.get(SEED))))) for runs in groups.values()]
    return Comparison(name, experiment.title, book.name, tuple(sorted(rows, key=_place)))


def _without_seed(ingredients: Mapping[str, Any]) -> str:
    """All that a run depends on but its seed."""
    parameters = {name: given for name, given in ingredients["parameters"].items() if name != SEED}
    return json.dumps({**ingredients, "parameters": parameters}, sort_keys=True)


def profile_line(experiment: Experiment, parameters: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """What an experiment's entry in a profile is to say so that the book shows the run with these parameters.

    `show: {…}` for a run of the entry's own sweep, otherwise `parameters: {…}`, without any sweep.
    """
    defaults = {name: parameter.default for name, parameter in experiment.parameters.items()}
    fixed, sweep = {**defaults, **entry["parameters"]}, entry["sweep"]
    swept = bool(sweep) and parameters.keys() >= sweep.keys()
    swept = swept and all(
        given in sweep[name] if name in sweep else given == fixed.get(name) for name, given in parameters.items()
    )
    changed = {name: given for name, given in parameters.items() if name not in defaults or given != defaults[name]}
    told = {name: parameters[name] for name in sweep} if swept else changed
    flow = yaml.safe_dump(told, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
    return f"{'show' if swept else 'parameters'}: {flow.strip()}"


class _Sources:
    """What a run made today would depend on, read once for each experiment."""

    def __init__(self, project: Project, snapshot: fingerprint.Snapshot) -> None:
        self.project, self.snapshot = project, snapshot
        self.today = cache(self._today)

    def differences(self, name: str, ingredients: Mapping[str, Any]) -> tuple[str, ...]:
        """In what a run is not one of today's sources with its own parameters; nothing where it is."""
        then = {"data": {}, "needs": {}, **ingredients}
        try:
            experiment, static, reached = self.today(name)
            parameters = experiment.bind(then["parameters"])
        except BookError as error:
            return (str(error),)
        data = self.project.data_digests(str(parameters.get("dataset", "")))
        now = {**then, **static, "parameters": parameters, "data": data}
        lines = fingerprint.differences(now, then, reached, self.project.root)
        for needed, digest in then["needs"].items():
            status = read_status(self.project.runs / needed / digest)
            if status is None or self.differences(needed, status["ingredients"]):
                lines.append(f"the run of '{needed}' that it needs")
        return tuple(lines)

    def _today(self, name: str) -> tuple[Experiment, dict[str, Any], fingerprint.Closure]:
        experiment = self.project.experiment(name)
        roots = self.project.source_roots(experiment)
        static = fingerprint.static_ingredients(experiment.code, *roots, snapshot=self.snapshot)
        return experiment, static, fingerprint.closure(experiment.code, *roots, snapshot=self.snapshot)


def _entry(project: Project, book: Plan, experiment: Experiment) -> dict[str, dict[str, Any]]:
    """What the profile fixes, and what it sweeps, of an experiment; the plan has found it sound."""
    profile = toc.read_yaml(project.root / "profiles" / f"{book.name}.yml")
    entries = (entry for entry in profile.get("runs", ()) if entry["experiment"] == experiment.name)
    entry: dict[str, Any] = next(entries, {})
    seeds = {SEED: experiments.seeds(experiment, entry["seeds"])} if "seeds" in entry else {}
    return {"parameters": entry.get("parameters") or {}, "sweep": {**(entry.get("sweep") or {}), **seeds}}


def _results(folder: Path, status: Mapping[str, Any]) -> dict[str, Any] | None:
    """A run's results; None where they, or the pictures beside them, are not as the run has left them."""
    shown = {name: digest for name, digest in status["files"].items() if name in ("results.json", EXECUTED)}
    try:
        return None if damaged_file(folder, {"files": shown}) else read_results(folder)
    except (OSError, ValueError):
        return None


def _place(row: Row) -> tuple[Any, ...]:
    """The shown row first, then those of today's code by their parameters, then older ones, the newest first."""
    age = -max(run.ended for run in row.runs) if row.older else 0.0
    return not row.shown, bool(row.older), age, [_order(given) for given in row.settings.values()]


def _order(given: Any) -> tuple[bool, float, str]:
    """Numbers by their size, all else after them by its text."""
    number = isinstance(given, int | float)
    return not number, float(given) if number else 0.0, str(given)
