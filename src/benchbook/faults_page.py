"""The directive {faults}: what was done wrong to this project on purpose, and what came of it, in a table.

`make faults` makes the table; the engine leaves the newest one beside the source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchbook.project import FAULTS
from benchbook.provenance import table

TITLES = ["fault", "tries", "wrong results published", "not recovered"]
NONE = "No table has been made yet: "


class Faults(SphinxDirective):
    """{faults}: the rows of the last `make faults`, with when, where and with what it was made."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, FAULTS)
        self.env.note_dependency(str(path))
        report = json.loads(path.read_text(encoding="utf-8"))
        if not report:
            return [
                nodes.paragraph("", "", nodes.Text(NONE), nodes.literal("", "make faults"), nodes.Text(" makes it."))
            ]
        rows = [[row["fault"], *(f"{row[key]:,}" for key in ("tries", "wrong", "lost"))] for row in report["rows"]]
        total = [sum(row[key] for row in report["rows"]) for key in ("tries", "wrong", "lost")]
        found = [table(TITLES, [*rows, ["all together", *(f"{number:,}" for number in total)]])]
        if report["failed"]:
            failed = nodes.paragraph("", f"Tests that did not pass: {', '.join(report['failed'])}.")
            found.insert(0, nodes.container("", failed, classes=["benchbook-badge", "benchbook-state-failed"]))
        return [*found, nodes.paragraph("", "", nodes.literal("", "make faults"), nodes.Text(f": {_where(report)}."))]


def _where(report: dict[str, Any]) -> str:
    versions = [f"python {report['python']}", *(f"{name} {number}" for name, number in report["packages"].items())]
    facts = [report["date"], f"{report['machine']}, {report['cores']} cores", report["system"]]
    return "; ".join([*facts, f"commit {report['commit']}", ", ".join(versions)])


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_directive("faults", Faults)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
