"""What the cells of a chapter show: drawings with their numbers; what was recorded, which the prose says, folded."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from benchbook.drawings import drawn
from benchbook.experiments import code_cells
from benchbook.notebook import RECORDS
from benchbook.pictures import numbers
from benchbook.provenance import experiment_on


class folded(nodes.General, nodes.Element):
    """A text that opens on request; `what` says what it is."""


def mend_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Goes through the cells of a chapter."""
    page = app.env.docname
    if experiment_on(app.env, page) is None:
        return
    cells = code_cells(json.loads(Path(app.srcdir, f"{page}.ipynb").read_text(encoding="utf-8")))
    places = [node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"]
    for number, place in enumerate(places, start=1):
        place["ids"].append(f"cell-{number}")  # where what tells its cell leads
    for cell, place in zip(cells, places, strict=False):
        add_numbers(cell, place)
        fold_records(cell["metadata"].get(RECORDS, {}), place)


def add_numbers(cell: Mapping[str, Any], place: nodes.container) -> None:
    """Makes drawings of pictures where the run has left numbers beside them."""
    found, images = numbers(cell), list(place.findall(nodes.image))
    if len(found) == len(images):  # else something else shows pictures, too
        for image, lines in zip(images, found, strict=True):
            image.replace_self(drawn(image, lines))


def fold_records(records: Mapping[str, str], place: nodes.container) -> None:
    """Folds the texts of records, for the screen alone: print has all of them at the chapter's end."""
    known = {text.strip(): what for text, what in records.items()}
    for block in [block for block in place.findall(nodes.literal_block) if block.astext().strip() in known]:
        block.replace_self(folded("", block.deepcopy(), what=known[block.astext().strip()]))


def visit_folded(self: Any, node: folded) -> None:
    self.body.append('<details class="benchbook-records benchbook-screen-only">')
    self.body.append(f"<summary>Recorded here: {html.escape(node['what'])}</summary>")


def depart_folded(self: Any, node: folded) -> None:
    self.body.append("</details>")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_node(folded, html=(visit_folded, depart_folded))
    app.connect("doctree-read", mend_cells)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
