"""Reference results: the numbers of runs that took long, kept in the repository as `reference/PROFILE/EXPERIMENT.json`.

Numbers only, no pictures: values, claims, curves, and with them parameters, machine, versions, commit, date and the
fingerprints of the data. The book shows them beside the reader's own run, and `--estimate` scales their times to this
machine.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchbook import atomic, machine
from benchbook.errors import BookError, nearest
from benchbook.plan import Plan
from benchbook.project import FAULTS, Project
from benchbook.state import State, read_results, read_status

FOLDER = "reference"
KEPT = (
    *("experiment", "parameters", "changed_parameters", "values", "claims", "curves", "environment", "seconds"),
    *("kept_seconds", "longest"),
)


def freeze(project: Project, book: Plan, how: Mapping[Path, State], names: Iterable[str] = ()) -> list[Path]:
    """Writes the results of the profile's successful runs, of these experiments or of all; returns the files.

    Raises BookError for a name that the profile does not have, or whose run is not successful and current.
    """
    shown = book.shown()
    for name in names:
        if name not in shown:
            raise BookError(f"the profile '{book.name}' has no experiment '{name}'{nearest(name, shown)}")
        state = how[shown[name].folder]
        if state.name != "ok":
            raise BookError(f"{name} cannot be a reference: {state}")
    chosen = list(names) or [name for name, run in shown.items() if how[run.folder].name == "ok"]
    if not chosen:
        raise BookError(
            f"no run of the profile '{book.name}' is there: `benchbook build --profile {book.name}` makes them"
        )
    folder = project.root / FOLDER / book.name
    folder.mkdir(parents=True, exist_ok=True)
    rates: dict[str, float] = {"matrix_rate": round(machine.matrix_rate())}
    if steps := machine.training_rate():
        rates["training_rate"] = round(steps, 1)
    return [_write(folder / f"{name}.json", _content(book, shown[name].folder, rates)) for name in chosen]


def _content(book: Plan, folder: Path, rates: Mapping[str, float]) -> dict[str, Any]:
    results, status = read_results(folder), read_status(folder) or {}
    day = datetime.datetime.fromtimestamp(status["ended"], datetime.UTC).date().isoformat()
    head = {"profile": book.title, "reduced": book.reduced, "date": day, "fingerprint": results["fingerprint"]}
    here = results["environment"]["machine"] == machine.description()
    head |= rates if here else {}  # of the machine that made the run, or none
    kept = {key: results[key] for key in KEPT if key in results}
    return head | {"data": status["ingredients"].get("data", {})} | kept


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    atomic.write(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def read_references(root: Path) -> dict[str, dict[str, Any]]:
    """The reference results by experiment, of whatever profile that is not reduced, of several the newest.

    Those of a reduced profile only say how long its runs take. Raises BookError where one cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for content in read_all(root):
        name = content["experiment"]
        if not content.get("reduced") and found.get(name, content)["date"] <= content["date"]:
            found[name] = content
    return found


def read_profile(root: Path, profile: str) -> dict[str, dict[str, Any]]:
    """The reference results of one profile by experiment; raises BookError where one cannot be read."""
    return {content["experiment"]: content for content in read_all(root, profile)}


def read_all(root: Path, profile: str = "") -> list[dict[str, Any]]:
    """All reference results, or one profile's; raises BookError where one cannot be read."""
    files = sorted((root / FOLDER / profile).glob("*.json" if profile else "*/*.json"))
    return [_read(path) for path in files]


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["date"], str) or content["values"] is None:
            raise ValueError("no date, or no values")
        if content["experiment"] != path.stem:
            raise ValueError(f"it is one of {content['experiment']}")
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BookError(f"{path} is no reference result ({error}): `benchbook freeze` writes them") from None


def faults(root: Path) -> dict[str, Any]:
    """The newer of the two tables of faults below a book's root; {} where there is none that can be read."""
    found = []
    for folder in (FOLDER, "_build"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            report = json.loads((root / folder / FAULTS).read_text(encoding="utf-8"))
            found.append((str(report["date"]), report))
    return max(found, key=lambda dated: dated[0], default=("", {}))[1]
