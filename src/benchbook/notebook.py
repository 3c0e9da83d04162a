"""A notebook as the book shows it: today's prose and code, with the outputs of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchbook.experiments import code_cells
from benchbook.outputs import inert, is_trusted, text_of
from benchbook.plan import Run
from benchbook.record import CLAIM, CURVE, VALUE
from benchbook.state import EXECUTED

KINDS = {VALUE: "value", CLAIM: "claim", CURVE: "curve"}
RECORDS = "benchbook-records"  # in a cell's metadata: the texts of its records, with what they are
CAPTIONED = {"dataset": "data set {}", "num_seeds": "{} seeds", "seed": "seed {}"}  # parameters that captions name


def merged(path: Path, run: Run | None, profile: str = "", *, trusted: bool = False) -> dict[str, Any]:
    """The notebook as it stands, its code cells with the outputs of the run, inert where they are not trusted.

    Prose may have changed since the run: its fingerprint holds the code only, and so the cells still match.
    With the title of its `profile`, a figure's caption ends with where the figure is from.
    """
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not trusted:
        notebook.get("metadata", {}).pop("widgets", None)  # scripts, and the network
    executed: list[Any] = []
    if run is not None:
        executed = code_cells(json.loads((run.folder / EXECUTED).read_text(encoding="utf-8")))
    for number, cell in enumerate(code_cells(notebook)):
        made = executed[number] if number < len(executed) else {"outputs": []}
        shown, records = _readable(made["outputs"])
        cell["outputs"] = shown if trusted or is_trusted(cell) else inert(shown)
        cell["execution_count"] = made.get("execution_count")
        if records:
            cell["metadata"] = {**cell["metadata"], RECORDS: records}
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        if run is not None and profile and "caption" in figure:
            figure["caption"] = f"{figure['caption']} {_origin(run, profile)}"
    return notebook


def _origin(run: Run, profile: str) -> str:
    """Profile, data set and seeds, for instance 'Quick profile, data set scenes, 3 seeds.'."""
    given = {name: text for name, text in CAPTIONED.items() if name in run.parameters}
    if "num_seeds" in given:
        given.pop("seed", None)  # it only draws cases
    facts = [text.format(run.parameters[name]) for name, text in given.items()]
    plain = re.sub(r"[^\w .,+-]+", " ", ", ".join([f"{profile} profile", *facts]))  # a value may hold anything
    return f"{plain}."


def _readable(outputs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Outputs without the records, which are for results.json; their texts stand together, a line each.

    With them these texts, and what each of them holds: '3 values, 1 claim'.
    """
    readable: list[dict[str, Any]] = []
    records: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for output in [*outputs, {}]:
        data = output.get("data", {})
        if any("vnd.benchbook" in mime for mime in data):
            found.append(data)
            continue
        if found:
            lines = [text_of(record.get("text/plain")) + "\n" for record in found]
            readable.append({"output_type": "stream", "name": "stdout", "text": lines})
            records["".join(lines)] = _counted(found)
            found = []
        readable += [output] * bool(output)
    return readable, records


def _counted(records: list[dict[str, Any]]) -> str:
    kinds = [next((kind for mime, kind in KINDS.items() if mime in data), "fact") for data in records]
    return ", ".join(f"{kinds.count(kind)} {kind}{'s' * (kinds.count(kind) > 1)}" for kind in dict.fromkeys(kinds))
