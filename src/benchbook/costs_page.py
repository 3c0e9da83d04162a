"""The directive {costs}: how long each chapter's run took, in which cell most of it went, and how much memory."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchbook.provenance import chapter_link, duration, kept, state_of, table
from benchbook.site import NOT_YET, use

TITLES = ["chapter", "this run", "reference", "the reference's machine"]


class Costs(SphinxDirective):
    """{costs}: a row for each chapter, beside it the reference result's, and their sums."""

    def run(self) -> list[nodes.Node]:
        use(self.env, "*")
        entries = state_of(self.env)["experiments"].items()
        rows = [
            [chapter_link(self.env, name, entry["title"]), *map(cost, both(entry)), where(entry["reference"])]
            for name, entry in entries
        ]
        columns = zip(*(both(entry) for _, entry in entries), strict=True)
        return [table(TITLES, [*rows, ["all together", *map(total, columns), ""]])]


def both(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A chapter's own results and its reference results, each {} where there are none."""
    return entry["results"], entry["reference"]


def cost(results: dict[str, Any]) -> str:
    """'63.2 min, 97 % of it in cell 13; 1.9 GB; work of 2.2 h had been kept'."""
    if not results:
        return NOT_YET
    words, seconds = duration(results["seconds"]), results["seconds"]
    if longest := results.get("longest"):
        words += f", {100 * longest['seconds'] / seconds:.0f}\u00a0% of it in cell\u00a0{longest['cell']}"
    memory = results["environment"].get("memory_mb")
    return words + (f"; {memory / 1000:.1f}\u00a0GB" if memory else "") + kept([results])


def total(column: tuple[dict[str, Any], ...]) -> str:
    """The sum over the chapters that have results, and how many they are."""
    known = list(filter(None, column))
    seconds = sum(results["seconds"] for results in known)
    return f"{duration(seconds)} for {len(known)} of {len(column)}{kept(known)}" if known else NOT_YET


def where(reference: dict[str, Any]) -> str:
    """On what a reference result was made, and when."""
    if not reference:
        return ""
    environment = reference["environment"]
    precision = environment.get("precision", "").removeprefix("torch.")
    facts = [environment["machine"], environment.get("device"), precision, reference["date"]]
    return ", ".join(filter(None, facts))


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_directive("costs", Costs)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
