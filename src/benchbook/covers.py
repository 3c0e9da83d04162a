"""The picture that stands for a chapter: on its card, small and light, and beside its opening.

The notebook's metadata name the figure: `benchbook: {cover: fig-name}`; without a name a card has the first picture.
"""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

from docutils import nodes
from PIL import Image

from benchbook.compression import coarse
from benchbook.experiments import code_cells
from benchbook.pictures import named, shown

WIDTH = 360  # pixels of a card's picture: twice its width on the screen
PIXELS = re.compile(rb'<image\b[^>]*?"(data:image/(?:png|webp);base64,[^"]+)"[^>]*>')


def cover(notebook: Path, name: str) -> tuple[str, bytes] | None:
    """The kind and the content of the picture that stands for a chapter, made light; None without pictures."""
    cells = code_cells(json.loads(notebook.read_text(encoding="utf-8")))
    chosen = [cell for cell in cells if name and named(cell) == name] or cells
    found = next((picture for cell in chosen for picture in shown(cell)), None)
    if found is None:
        return None
    return ("svg", lighter(found[1])) if found[0] == "svg" else smaller(found[1])


def smaller(content: bytes) -> tuple[str, bytes]:
    """A picture of pixels as PNG, no wider than a card's, on white where it is transparent."""
    with Image.open(io.BytesIO(content)) as image:
        ink = image.convert("RGBA")
    paper = Image.new("RGBA", ink.size, "white")
    paper.alpha_composite(ink)
    paper.thumbnail((WIDTH, WIDTH))
    target = io.BytesIO()
    paper.convert("RGB").save(target, "PNG", optimize=True)
    return "png", target.getvalue()


def lighter(svg: bytes) -> bytes:
    """A drawing as a card needs it: paths to a tenth, and no more pixels in its pictures than are seen."""
    view = re.search(rb'viewBox="\S+ \S+ ([\d.]+)', svg)
    if view is None:
        return svg
    card = WIDTH / float(view[1])
    svg = coarse(re.sub(rb"(?s)<metadata>.*?</metadata>", b"", svg))
    return PIXELS.sub(lambda found: found[0].replace(found[1], min(found[1], _fewer(found, card), key=len)), svg)


def _fewer(found: re.Match[bytes], card: float) -> bytes:
    """A picture in a drawing that is shown `card` times as large, as a data URI with fewer pixels."""
    scale = re.search(rb"matrix\(([\d.]+)", found[0])
    times = min(1.0, card * (float(scale[1]) if scale else 1.0))
    with Image.open(io.BytesIO(base64.b64decode(found[1].partition(b",")[2]))) as image:
        small = image.convert("RGBA")
    small.thumbnail((max(1, round(times * small.width)), max(1, round(times * small.height))))
    target = io.BytesIO()
    small.save(target, "WEBP", quality=80)
    return b"data:image/webp;base64," + base64.b64encode(target.getvalue())


def opening(doctree: nodes.document, section: nodes.section, name: str) -> None:
    """Puts the figure that stands for a chapter, small and with its caption, after the chapter's first paragraph.

    It leads to the figure's own place. Where the run has left no such figure, nothing is put.
    """
    figure = next((node for node in doctree.findall(nodes.figure) if name in (*node["names"], *node["ids"])), None)
    image = next(figure.findall(nodes.image), None) if figure else None
    first = next((i for i, node in enumerate(section.children) if isinstance(node, nodes.paragraph)), None)
    if figure is None or image is None or first is None:
        return
    place = {"refid": figure["ids"][0], "internal": True}
    kept = {key: image[key] for key in ("uri", "alt", "candidates") if key in image}
    small = nodes.image("", **kept, width="300px")
    box = nodes.container("", nodes.reference("", "", small, **place), classes=["benchbook-cover"])
    caption = next(figure.findall(nodes.caption), None)
    if caption is not None:
        words = [*_sentence(caption), nodes.Text(" "), nodes.reference("", "To the figure", **place)]
        box += nodes.paragraph("", "", *words)
    section.insert(first + 1, box)


def _sentence(caption: nodes.caption) -> list[nodes.Node]:
    """The first sentence of a caption."""
    found: list[nodes.Node] = []
    for child in caption.children:
        text = str(child) if isinstance(child, nodes.Text) else ""
        end = re.search(r"(?<=[\w)]{2}\.)\s(?=[A-Z])", text)
        if end:
            return [*found, nodes.Text(text[: end.start()])]
        found.append(child.deepcopy())
    return found
