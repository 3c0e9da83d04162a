"""The directive {chapters}: a card for each chapter on the screen, a table of them in print.

A card has a picture, the title, the state, how many claims hold, and the chapter's headline, a claim or a value. The
notebook's metadata say which: `benchbook: {cover: fig-name, headline: name}`; without them it has the first picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchbook import toc
from benchbook.covers import cover
from benchbook.pictures import folder_of, put
from benchbook.provenance import chapter_link, state_of, table, took
from benchbook.site import NOT_YET, claim_nodes, use, value_node

TITLES = ["chapter", "state", "values", "claims that hold", "time", "device"]


class Chapters(SphinxDirective):
    """{chapters}: all chapters, by the parts of the toc."""

    def run(self) -> list[nodes.Node]:
        use(self.env, "*")
        known = state_of(self.env)["experiments"]
        found: list[nodes.Node] = []
        for caption, names in parts(Path(self.env.srcdir), known):
            if caption:
                found.append(nodes.rubric("", caption, classes=["benchbook-screen-only", "benchbook-part"]))
            cards = (self.card(name, known[name]) for name in names)
            found.append(nodes.container("", *cards, classes=["benchbook-cards", "benchbook-screen-only"]))
        rows = [self.row(name, entry) for name, entry in known.items()]
        return [*found, nodes.container("", table(TITLES, rows), classes=["benchbook-print-only"])]

    def card(self, name: str, entry: dict[str, Any]) -> nodes.Node:
        """One chapter: what a reader sees before opening it."""
        results = entry["results"]
        card = nodes.container("", classes=["benchbook-card", f"benchbook-state-{entry['state'].replace(' ', '-')}"])
        picture = cover(Path(self.env.srcdir, f"{entry['page']}.ipynb"), entry["cover"]) if results else None
        if picture:
            page = Path(self.env.srcdir, self.env.docname).parent
            card += nodes.image(
                "", uri=os.path.relpath(put(folder_of(Path(self.env.app.outdir)), *picture), page), alt=""
            )
        card += nodes.paragraph("", "", chapter_link(self.env, name, entry["title"]), classes=["benchbook-card-title"])
        headline = entry["headline"]
        if headline in results.get("claims", {}):
            card += nodes.paragraph("", "", *claim_nodes(name, headline, results["claims"][headline]))
        elif headline in results.get("values", {}):
            label = nodes.Text(f"{headline.replace('_', ' ')}: ")
            card += nodes.paragraph("", "", label, value_node(name, headline, results["values"][headline]))
        card += nodes.paragraph("", " · ".join(standing(entry)), classes=["benchbook-more"])
        return card

    def row(self, name: str, entry: dict[str, Any]) -> list[Any]:
        results = entry["results"]
        state = entry["state"] + (f": {entry['reason']}" if entry["state"] == "failed" else "")
        link = chapter_link(self.env, name, entry["title"])
        if not results:
            return [link, state, *[NOT_YET] * 4]
        device = results["environment"].get("device", NOT_YET)
        return [link, state, str(len(results["values"])), held(results), took(results), device]


def parts(root: Path, known: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The parts of the toc that have chapters: caption, and the experiments in order; what it leaves out comes last."""
    by_page = {entry["page"]: name for name, entry in known.items()}
    contents = toc.contents(root)
    groups = contents.get("parts") or [contents]
    for group in groups:
        names = [by_page.pop(page) for page in toc.pages_below(group) if page in by_page]
        if names:
            yield str(group.get("caption") or ""), names
    if by_page:
        yield "", list(by_page.values())


def standing(entry: dict[str, Any]) -> list[str]:
    """A chapter's state in a few words, with the reason of a failure, the claims that hold and the time."""
    results = entry["results"]
    words = [f"{entry['state']}: {entry['reason']}" if entry["state"] == "failed" else entry["state"]]
    if results:
        words += [f"{held(results)} claims hold"] * bool(results["claims"])
        words += [f"{len(results['values'])} values", took(results)]
    return words


def held(results: dict[str, Any]) -> str:
    """How many claims hold, of how many."""
    claims = results["claims"].values()
    return f"{sum(record['holds'] is True for record in claims)} of {len(claims)}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_directive("chapters", Chapters)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
