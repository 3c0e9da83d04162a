"""Pictures that answer: drawings that stand inside the page, with the numbers behind their lines, and their script.

Every picture of a page opens large. Without scripts, and in print, all of them are still pictures.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from benchbook.compression import coarse

SCRIPT = Path(__file__).parent / "static" / "explore.js"
LOOKS = "max-width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt"  # matplotlib's own for all paths


class drawing(nodes.image):
    """An SVG by matplotlib; `lines` has the numbers behind its lines, as `benchbook.lines` left them."""


def drawn(image: nodes.image, lines: dict[str, Any] | None) -> nodes.image:
    """The image itself, or as a drawing with its numbers, if there are any."""
    return drawing("", **{**image.attributes, "lines": lines}) if lines else image


def keep_in_page(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """A drawing that stands inside a page needs no file beside it."""
    if app.builder.name == "html":
        for node in doctree.findall(drawing):
            node["candidates"] = {"?": ""}


def visit_drawing(self: Any, node: drawing) -> None:
    """The SVG and its numbers, inside the page; a plain image in print."""
    if self.builder.name != "html":
        self.visit_image(node)
        return
    self.benchbook_drawings = getattr(self, "benchbook_drawings", 0) + 1
    prefix = f"d{self.benchbook_drawings}-"
    svg = inside(Path(self.builder.srcdir, node["uri"]).read_text(encoding="utf-8"), prefix, node.get("alt", ""))
    data = json.dumps(node["lines"], ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    script = f'<script type="application/json">{data}</script>'
    self.body.append(f'<div class="benchbook-drawing" data-prefix="{prefix}">{svg}{script}</div>')
    raise nodes.SkipNode


def depart_drawing(self: Any, node: drawing) -> None:
    self.depart_image(node)


def inside(svg: str, prefix: str, alt: str) -> str:
    """An SVG file's drawing as it may stand in a page with others: its ids are its own, and it styles nothing else."""
    svg = re.sub(r"(?s)<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg[svg.index("<svg") :])
    svg = re.sub(r" xlink:href=", " href=", svg)
    svg = coarse(svg.encode()).decode()
    svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{prefix}", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}" style="{LOOKS}"', 1)


def add_script(app: Sphinx, error: Exception | None) -> None:
    """Copies the script into the site."""
    if app.builder.name == "html" and not error:
        shutil.copy(SCRIPT, Path(app.outdir, "_static"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_node(drawing, html=(visit_drawing, depart_drawing))
    app.connect("doctree-resolved", keep_in_page)
    app.connect("build-finished", add_script)
    app.add_js_file(SCRIPT.name, loading_method="defer")
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
