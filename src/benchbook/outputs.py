"""A notebook as the book shows it: today's prose and code, the outputs of a run, and what it recorded folded away."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from benchbook.experiments import code_cells
from benchbook.plan import Run
from benchbook.record import CLAIM, CURVE, VALUE
from benchbook.state import EXECUTED

KINDS = {VALUE: "value", CLAIM: "claim", CURVE: "curve"}
RECORDS = "benchbook-records"  # in the metadata of the output that stands for records: their texts


def merged(path: Path, run: Run | None) -> dict[str, Any]:
    """The notebook as it stands, its code cells with the outputs of the run.

    Prose may have changed since the run: its fingerprint holds the code only, and so the cells still match.
    """
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    outputs: list[Any] = []
    if run is not None:
        executed = json.loads((run.folder / EXECUTED).read_text(encoding="utf-8"))
        outputs = [(_readable(cell["outputs"]), cell.get("execution_count")) for cell in code_cells(executed)]
    for number, cell in enumerate(code_cells(notebook)):
        cell["outputs"], cell["execution_count"] = outputs[number] if number < len(outputs) else ([], None)
    return notebook


def _readable(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs in which records that follow one another, whose numbers the prose says, are one that opens on request."""
    readable: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for output in [*outputs, {}]:
        data = output.get("data", {})
        if any("vnd.benchbook" in mime for mime in data):
            records.append(data)
            continue
        if records:
            readable.append(_folded(records))
            records = []
        if output:
            readable.append(output)
    return readable


def _folded(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Records as one output, a line each, for the screen alone: print has all of them at the chapter's end."""
    lines = "".join("".join(data["text/plain"]) + "\n" for data in records)
    kinds = [next((kind for mime, kind in KINDS.items() if mime in data), "fact") for data in records]
    counts = ", ".join(f"{kinds.count(kind)} {kind}{'s' * (kinds.count(kind) > 1)}" for kind in dict.fromkeys(kinds))
    code = (
        f'<details class="benchbook-records benchbook-screen-only"><summary>Recorded here: {counts}</summary>'
        f"<pre>{html.escape(lines)}</pre></details>"
    )
    return {
        "output_type": "display_data",
        "data": {"text/html": code, "text/plain": lines},
        "metadata": {RECORDS: True},
    }
