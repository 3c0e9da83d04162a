"""How long a build will take, before it starts: from what runs took here, or elsewhere and scaled to this machine."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from benchbook import executors, gpus, machine
from benchbook.plan import Run
from benchbook.project import Project
from benchbook.reference import read_all, read_profile
from benchbook.state import History

START = 3.0  # seconds until the first run begins, Snakemake's imports: 2 to 4 on the machines of reference/bench.json
GRAPHICS_CARD = "cuda"
FEWEST = 3  # runs here and elsewhere from which the ratio of two machines is taken; one may have had to share its cores
Maker = tuple[str | None, str | None]  # a machine and a precision


@dataclass(frozen=True)
class Past:
    """A run that has been made: its parameters, how many seconds it took, and in words which one it is.

    `kept` are the seconds of work that it did not have to do, because an earlier run had kept what came of it.
    """

    parameters: Mapping[str, Any]
    seconds: float
    what: str = "its last run"
    kept: float = 0.0

    @property
    def whole(self) -> float:
        """The seconds that it would have taken if nothing had been kept."""
        return self.seconds + self.kept


@dataclass(frozen=True)
class Prediction:
    """The seconds that a run will take, None where nothing is known of it, what says so, and whether it is a guess."""

    run: Run
    seconds: float | None
    basis: str
    is_guess: bool = False


def predictions(project: Project, profile: str, runs: Iterable[Run]) -> list[Prediction]:
    """What each of the runs will take, by the history of its experiment and the profile's reference results.

    Raises BookError where a reference result cannot be read.
    """
    references = read_profile(project.root, profile)
    ratios = cache(lambda: ratios_here(project))  # as the rates, only where a reference is used
    rates = {"training_rate": cache(machine.training_rate), "matrix_rate": cache(machine.matrix_rate)}
    here = cache(lambda folder: made_here(History(folder)))
    found = []
    for run in runs:
        name, pasts = run.experiment.name, here(run.folder.parent)
        if name in references and all(differing(past.parameters, run.parameters) for past in pasts):
            pasts = [*_made_elsewhere(references[name], ratios, rates), *pasts]
        found.append(Prediction(run, *predict(run.parameters, pasts)))
    return found


def made_here(history: History) -> list[Past]:
    """The runs of an experiment that ended well here, the oldest first."""
    ended_well = (status for status in history.statuses.values() if status["state"] == "ok")
    return [
        Past(status["ingredients"].get("parameters", {}), status["seconds"], kept=status.get("kept_seconds", 0.0))
        for status in ended_well
    ]


def ratios_here(project: Project) -> dict[Maker, list[float]]:
    """How many times as long as in a reference result runs with its parameters took here, by who made the references.

    Of every profile. Raises BookError where a reference result cannot be read.
    """
    found: dict[Maker, list[float]] = {}
    for reference in read_all(project.root):
        pasts = made_here(History(project.runs / reference["experiment"]))
        alike = [past.whole for past in pasts if not differing(past.parameters, reference["parameters"])]
        if alike and alike[-1]:  # 0 where all results came from elsewhere
            found.setdefault(maker(reference), []).append(alike[-1] / whole(reference))
    return found


def maker(reference: Mapping[str, Any]) -> Maker:
    """The machine that made a reference result, and the precision: a processor may be fast in one of them only."""
    return reference["environment"].get("machine"), reference["environment"].get("precision")


def _made_elsewhere(
    reference: Mapping[str, Any],
    ratios: Callable[[], Mapping[Maker, list[float]]],
    rates: Mapping[str, Callable[[], float | None]],
) -> Iterator[Past]:
    """A reference result as a run of this machine, where the two can be compared: by processors only."""
    if reference["environment"].get("device") == GRAPHICS_CARD or gpus.devices():
        return
    found = ratios().get(maker(reference), [])
    if len(found) >= FEWEST:
        yield scaled(reference, median(found), f"by {len(found)} other runs that were made there and here")
    elif found_rate := _rate_of(reference, rates):
        yield scaled(reference, *found_rate)


def _rate_of(reference: Mapping[str, Any], rates: Mapping[str, Callable[[], float | None]]) -> tuple[float, str] | None:
    """How many times as long a reference result takes here by the machines' rates, and by which: what it does most."""
    trains = str(reference["environment"].get("precision")).startswith("torch.")
    for name, what in [("training_rate", "training steps")] * trains + [("matrix_rate", "matrix products")]:
        if name in reference and (here := rates[name]()):
            return reference[name] / here, f"by this machine's rate of {what}"
    return None


def scaled(reference: Mapping[str, Any], factor: float, reason: str) -> Past:
    """What the run of a reference result would have taken on a machine that takes so many times as long."""
    what = f"the reference of {reference['date']}, × {factor:.2f} {reason}"
    return Past(reference["parameters"], whole(reference) * factor, what)


def whole(reference: Mapping[str, Any]) -> float:
    """The seconds of a reference result, those included of what had been kept for it."""
    return float(reference["seconds"] + reference.get("kept_seconds", 0.0))


def predict(parameters: Mapping[str, Any], pasts: Sequence[Past]) -> tuple[float | None, str, bool]:
    """Seconds, the basis in words, and whether they are a guess: from the past run whose parameters are nearest.

    Of equally near ones the last counts. Where past runs show how the time grows with a parameter in which that one
    differs, it is scaled by it; otherwise it is a guess. What was kept for a run is of use for its like only.
    """
    near = min(reversed(pasts), key=lambda past: distance(parameters, past.parameters), default=None)
    if near is None:
        return None, "no run of it is known", False
    names = differing(parameters, near.parameters)
    seconds, words, is_guess = near.whole if names else near.seconds, [], False
    for name in names:
        words.append(f"{name} {near.parameters.get(name, 'unset')}")
        power = growth(name, pasts)
        if power is not None and _positive(parameters.get(name)) and _positive(near.parameters.get(name)):
            seconds *= (parameters[name] / near.parameters[name]) ** power
            words[-1] += f", time ∝ {name}^{power:.2g}"
        else:
            is_guess = True
    if not names and near.kept > near.seconds:
        return seconds, f"{near.what}, most of whose work had been kept from before", False
    return seconds, near.what + (f" with {'; '.join(words)}" if words else ""), is_guess


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the parameters in which two runs differ; not the seed, for which no run takes longer."""
    names = [name for name in {**one, **other} if name != "seed"]
    return [name for name in names if name not in one or name not in other or one[name] != other[name]]


def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How far apart the parameters of two runs are: a number by how often it doubles, anything else by 1."""
    return sum(_apart(one.get(name), other.get(name)) for name in differing(one, other))


def _apart(one: Any, other: Any) -> float:
    return abs(math.log2(one / other)) if _positive(one) and _positive(other) else 1.0


def _positive(given: Any) -> bool:
    return type(given) in (int, float) and given > 0


def growth(name: str, pasts: Iterable[Past]) -> float | None:
    """The power of a parameter with which the time grows, by runs that differ from one another in nothing else.

    It is the slope on logarithmic axes. None where no two such runs are there.
    """
    alike: dict[str, list[tuple[float, float]]] = {}
    for past in pasts:
        if _positive(past.parameters.get(name)) and past.whole > 0:
            others = {key: given for key, given in past.parameters.items() if key not in (name, "seed")}
            point = math.log(past.parameters[name]), math.log(past.whole)
            alike.setdefault(json.dumps(others, sort_keys=True), []).append(point)
    slopes = [sums(points) for points in alike.values() if len({x for x, _ in points}) > 1]
    squares = sum(square for _, square in slopes)
    return sum(product for product, _ in slopes) / squares if squares else None


def sums(points: Collection[tuple[float, float]]) -> tuple[float, float]:
    """Of points about their mean the sums of x·y and of x², whose ratio is the slope of the least-squares line."""
    middle = sum(x for x, _ in points) / len(points)
    return sum((x - middle) * y for x, y in points), sum((x - middle) ** 2 for x, _ in points)


def makespan(seconds: Mapping[Path, float], needs: Mapping[Path, Collection[Path]], workers: int) -> float:
    """When the last of the runs ends that so many workers make in their order, each after those that it needs."""
    ends: dict[Path, float] = {}
    free = [0.0] * workers
    waiting = list(seconds)
    while waiting:
        ready = {
            folder: max((ends[needed] for needed in needs[folder] if needed in seconds), default=0.0)
            for folder in waiting
            if all(needed in ends or needed not in seconds for needed in needs[folder])
        }
        soonest = min(free)
        chosen = min(ready, key=lambda folder: max(ready[folder], soonest))
        free[free.index(soonest)] = ends[chosen] = max(ready[chosen], soonest) + seconds[chosen]
        waiting.remove(chosen)
    return max(ends.values(), default=0.0)


def total(found: Iterable[Prediction], workers: int) -> float:
    """Seconds until all runs are made whose time is known, the others taken for nothing."""
    known = {prediction.run.folder: prediction.seconds or 0.0 for prediction in found}
    needs = {prediction.run.folder: [n.folder for n in prediction.run.needs.values()] for prediction in found}
    return START + makespan(known, needs, workers) if known else 0.0


def workers(runs: int, jobs: int | None, executor: str) -> int:
    """How many of so many runs are made at once."""
    most = jobs or (machine.cores() if executor == executors.LOCAL else executors.JOBS)
    return max(1, min(most, runs))


def is_busy() -> bool:
    """Whether others use this machine's cores at the moment, so that runs will take longer than they did."""
    return os.getloadavg()[0] > machine.cores() / 2
