"""The directive {chapters}: a card for each chapter on the screen, a table of them in print.

A card has a picture, the title, the state, how many claims hold, and the chapter's headline claim. The notebook's
metadata say which: `benchbook: {cover: fig-name, headline: claim_name}`; without them the card has the first picture.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchbook import toc
from benchbook.experiments import code_cells
from benchbook.pictures import folder_of, named, put, shown
from benchbook.provenance import chapter_link, duration, state_of, table
from benchbook.site import NOT_YET, claim_nodes, use

WIDTH = 360  # pixels of a card's picture: twice its width on the screen
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
        headline = results.get("claims", {}).get(entry["headline"])
        if headline:
            card += nodes.paragraph("", "", *claim_nodes(name, entry["headline"], headline))
        card += nodes.paragraph("", " · ".join(standing(entry)), classes=["benchbook-more"])
        return card

    def row(self, name: str, entry: dict[str, Any]) -> list[Any]:
        results = entry["results"]
        state = entry["state"] + (f": {entry['reason']}" if entry["state"] == "failed" else "")
        link = chapter_link(self.env, name, entry["title"])
        if not results:
            return [link, state, *[NOT_YET] * 4]
        device = results["environment"].get("device", NOT_YET)
        return [link, state, str(len(results["values"])), held(results), duration(results["seconds"]), device]


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
        words += [f"{len(results['values'])} values", duration(results["seconds"])]
    return words


def held(results: dict[str, Any]) -> str:
    """How many claims hold, of how many."""
    claims = results["claims"].values()
    return f"{sum(record['holds'] is True for record in claims)} of {len(claims)}"


def cover(notebook: Path, name: str) -> tuple[str, bytes] | None:
    """The kind and the content of the picture that stands for a chapter, pixels made smaller; None without pictures."""
    cells = code_cells(json.loads(notebook.read_text(encoding="utf-8")))
    chosen = [cell for cell in cells if name and named(cell) == name] or cells
    found = next((picture for cell in chosen for picture in shown(cell)), None)
    return found if found is None or found[0] == "svg" else smaller(found[1])


def smaller(content: bytes) -> tuple[str, bytes]:
    """A picture of pixels as PNG, no wider than a card's."""
    with Image.open(io.BytesIO(content)) as image:
        image.thumbnail((WIDTH, WIDTH))
        target = io.BytesIO()
        image.convert("RGB").save(target, "PNG", optimize=True)
    return "png", target.getvalue()


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_directive("chapters", Chapters)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
