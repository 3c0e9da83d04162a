"""The directive {reproduced}: what came out again as the reference results with the same parameters have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchbook.provenance import chapter_link, differs, state_of, table
from benchbook.record import show
from benchbook.site import use, verdict

COUNTED = ["chapter", "reference", "numbers", "came out again", "claims", "same verdict"]
LISTED = ["chapter", "name", "this run", "reference"]
NONE = "No results of runs with these parameters are kept: "
Moved = tuple[str, str, str]  # a name, and what this run and the reference have for it


class Reproduced(SphinxDirective):
    """{reproduced}: how many numbers and claims of each chapter came out again, and which did not."""

    def run(self) -> list[nodes.Node]:
        use(self.env, "*")
        counted: list[list[Any]] = []
        listed: list[list[Any]] = []
        for name, entry in state_of(self.env)["experiments"].items():
            if not (reference := repeated(entry)):
                continue
            where = f"{reference['environment']['machine']}, {reference['date']}"
            counted.append([chapter_link(self.env, name, entry["title"]), where])
            for kind in ("values", "claims"):
                found = list(both(entry["results"][kind], reference[kind]))
                moved = list(apart(kind, found))
                counted[-1] += [f"{len(found):,}", f"{len(found) - len(moved):,}"]
                listed += [[chapter_link(self.env, name, entry["title"]), *words] for words in moved]
        if not counted:
            said = (nodes.Text(NONE), nodes.literal("", "benchbook freeze"), nodes.Text(" keeps them."))
            return [nodes.paragraph("", "", *said)]
        return [table(COUNTED, counted), *([table(LISTED, listed)] if listed else [])]


def repeated(entry: dict[str, Any]) -> dict[str, Any]:
    """The reference result of a chapter whose run had the same parameters; {} where there is none."""
    parameters = entry["results"].get("parameters")
    found = (entry["repeated"], entry["reference"])
    return next((reference for reference in found if reference and reference["parameters"] == parameters), {})


def both(here: dict[str, Any], there: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """What this run and the reference have both recorded, by name."""
    return ((name, record, there[name]) for name, record in here.items() if name in there)


def apart(kind: str, found: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> Iterator[Moved]:
    """Claims with another verdict, numbers further apart than their spreads, or without spread and not the same."""
    for name, here, there in found:
        one, other = (verdict(side["holds"]) if kind == "claims" else show(side) for side in (here, there))
        far = None if kind == "claims" else differs(here, there)
        if one != other if far is None else far:
            yield name, one, other


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_directive("reproduced", Reproduced)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
