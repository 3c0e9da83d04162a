"""Sphinx's single page made ready for paper, in passes over the tree that each do one thing.

What a pass finds out it leaves in the tree, for `typeset` to write: `data-typst` (a formula as pandoc wrote it),
`data-file` (a picture), `data-target` (what a link leads to) and `data-label` (what is led to).
What is lost on the way is logged as a warning that names the page.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import logging
import re
import unicodedata
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

from benchbook.errors import BookError
from benchbook.formulas import converted

log = logging.getLogger("benchbook.pdf")

Node: TypeAlias = Any  # bs4's types say what any tree may hold, not what Sphinx writes
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6", "h7")

# What makes no sense on paper. `<noscript>` stays: it holds the still picture of a moving one.
SCREEN_ONLY = (
    "script, style, link, meta, template, button, input:not(.task-list-item input), select, textarea, iframe, video,"
    "audio, canvas, object, nav, .headerlink, .copybtn, .linenos, .section-number, .backrefs, .benchbook-screen-only,"
    "details.hide > summary, details.hide .cell_input, .tag_hide-output > details .cell_output, hr.footnotes"
)
# Signs for which no font has a glyph, and what is printed for them; of others their name is printed.
SIGNS = {"✅": "✓", "❌": "✗", "❗": "!", "❓": "?", "\ufe0f": "", "\u200d": ""}


def read(singlehtml: Path) -> tuple[Node, dict[str, Any]]:
    """The root document's section, with every other document's inside it, and the book's own TeX macros."""
    page = singlehtml / "index.html"
    for _ in range(2):  # where the root document has another name, index.html only leads to it
        if not page.is_file():
            raise BookError(f"no {page.name} in {singlehtml}: build the book with Sphinx's singlehtml builder first")
        html = page.read_text(encoding="utf-8")
        forward = re.search(r'http-equiv="refresh" content="0; *url=([^"]+)"', html, re.IGNORECASE)
        if forward is None:
            break
        page = singlehtml / forward[1]
    soup = BeautifulSoup(re.sub(r"<svg\b.*?</svg>", _drawing, html, flags=re.DOTALL), "html.parser")
    article: Node = (soup.find("article") or soup.find(role="main") or soup).find("section")
    if article is None:
        raise BookError(f"{page} holds no text: is it the page of a singlehtml build?")
    article["data-document"] = page.relative_to(singlehtml).with_suffix("").as_posix()
    configured = re.search(r"window\.MathJax = (\{.*\})", html)
    return article, json.loads(configured[1]).get("tex", {}).get("macros", {}) if configured else {}


def _drawing(svg: re.Match[str]) -> str:
    """An SVG inside the page as an image: HTML's parser would spoil the case of its attributes."""
    code = svg[0] if "xmlns=" in svg[0] else svg[0].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    name = re.search(r"""aria-label=["']([^"']*)""", svg[0]) or re.search(r"(?s)<title.*?>(.*?)</title>", svg[0])
    data = base64.b64encode(code.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{name[1].strip() if name else ""}">'


def mend(article: Node, macros: dict[str, Any], singlehtml: Path, folder: Path) -> None:
    """Make the tree ready for `typeset`, and put its pictures into `folder`."""
    for element in article.select(SCREEN_ONLY):
        element.decompose()
    for span in article.select("span[id^=document-]"):
        span.find_next_sibling("section")["data-document"] = span["id"].removeprefix("document-")
        span.decompose()
    mend_words(article)
    mend_formulas(article, macros)
    mend_pictures(article, singlehtml, folder)
    mend_footnotes(article)
    mend_links(article)


# ---- words ---------------------------------------------------------------------------------------------------------


def mend_words(article: Node) -> None:
    """Explain an abbreviation where it comes first, and print the name of a character that no font has."""
    explained = set()
    for element in article.select("abbr[title]"):
        if element["title"] not in explained:
            explained.add(element["title"])
            element.append(f" ({element['title']})")
    known = _glyphs()
    for node in [node for node in article.find_all(string=True) if not node.isascii()]:
        mended = "".join(SIGNS[sign] if sign in SIGNS else _printable(sign, known) for sign in node)
        if mended != node:
            node.replace_with(mended)


def _printable(sign: str, known: set[int]) -> str:
    if not known or sign.isspace() or ord(sign) in known:
        return sign
    log.warning("PDF: no font has the character %s (U+%04X): its name is printed", sign, ord(sign))
    return f"({unicodedata.name(sign, f'U+{ord(sign):04X}').lower()})"


def font_folder() -> Path | None:
    """matplotlib's fonts: DejaVu Sans stands in where Typst's own faces lack a character."""
    found = importlib.util.find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else None
    return folder if folder and folder.is_dir() else None


def _glyphs() -> set[int]:
    """The characters that can be printed; empty where that is not known."""
    folder = font_folder()
    if folder is None or importlib.util.find_spec("fontTools") is None:
        return set()
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    return set(TTFont(folder / "DejaVuSans.ttf", lazy=True).getBestCmap())


# ---- formulas and pictures ------------------------------------------------------------------------------------------


def mend_formulas(article: Node, macros: dict[str, Any]) -> None:
    """Convert every formula, keeping its number; one that does not convert keeps its TeX, and a warning names it."""
    elements = article.select(".math")
    for element in elements:
        if number := element.find(class_="eqno"):
            element["data-number"] = plain(number.extract())
        source = element.get_text().strip()
        if tag := re.search(r"\\tag\*?\{(.*?)\}", source):
            element["data-number"] = f"({tag[1]})"
            source = source.replace(tag[0], "")
        element["data-tex"] = " ".join(source.split())[2:-2].strip()
    formulas = [(element["data-tex"], element.name == "div") for element in elements]
    for element, typst in zip(elements, converted(formulas, macros), strict=True):
        element["data-typst"] = typst
        if not typst:
            tex = element["data-tex"]
            log.warning("PDF: %s: this formula does not convert and is printed as TeX: %s", where(element), tex)


def mend_pictures(article: Node, singlehtml: Path, folder: Path) -> None:
    """Put every picture beside the Typst document, under the name of its content, and see that it has an alt text."""
    for image in article.select("img"):
        source = image.get("src", "")
        if re.match(r"https?://", source):
            log.warning("PDF: %s: the image %s is in the network: its address is printed", where(image), source)
            image.name, image.attrs = "a", {"href": source}
            image.string = source
            continue
        if embedded := re.match(r"data:image/(\w+)[^,]*?(;base64)?,", source):
            code, kind = source[embedded.end() :], embedded[1]
            data = base64.b64decode(code) if embedded[2] else unquote(code).encode()
        else:
            # Sphinx writes the path from the build's own folder, even into a page that lies deeper
            places = [
                singlehtml / unquote(source),
                singlehtml / Path(article["data-document"]).parent / unquote(source),
            ]
            path = next((place for place in places if source and place.is_file()), None)
            if path is None:
                raise BookError(f"PDF: {where(image)}: the image {source} is not in {singlehtml}")
            data, kind = path.read_bytes(), path.suffix.lower().lstrip(".")
        image["data-file"] = f"{hashlib.sha256(data).hexdigest()[:24]}.{kind}"
        (folder / image["data-file"]).write_bytes(data)
        if not image.get("alt") or image["alt"].endswith(Path(source).name):
            log.warning("PDF: %s: the image %s has no alt text", where(image), source[:60])
            image["alt"] = plain(image.find_parent("figure")) or "A picture without a description"
        if "image-reference" in image.parent.get("class", ()):  # a link to the picture's own file
            image.parent.unwrap()


# ---- notes and links -----------------------------------------------------------------------------------------------


def mend_footnotes(article: Node) -> None:
    """Bring each note to the first place that calls it."""
    notes = {(document(note), f"#{note['id']}"): note for note in article.select("aside.footnote")}
    for call in article.select("a.footnote-reference"):
        note = notes.get((document(call), call["href"]))
        if note is not None and note.name == "aside":
            note.extract().find(class_="label").decompose()
            note.name = "footnote"
            call.replace_with(note)
    for left in article.select("aside.footnote-list"):
        left.decompose()


def mend_links(article: Node) -> None:
    """Give what is linked to a label that is its own in the whole book: `id2` occurs in many documents."""
    targets: dict[str, dict[str, Node]] = {}
    for section in [article, *article.select("section[data-document]")]:
        targets[section["data-document"]] = {"": section}
    for element in article.select("[id]"):
        targets[document(element)].setdefault(element["id"], element)
    for link in article.select("a[href]"):
        if re.match(r"(https?|mailto|ftp):", link["href"]):
            continue
        target = _target(link, targets)
        if target is None:
            log.warning("PDF: %s: the link to %s has no target", where(link), link["href"])
            del link["href"]
            continue
        label = f"{document(target)}#{link['href'].partition('#')[2]}"
        target = _seat(target)
        target.attrs.setdefault("data-label", label)
        link["data-target"] = target["data-label"]


def _target(link: Node, targets: dict[str, dict[str, Node]]) -> Node | None:
    """What a link inside the book leads to.

    Sphinx's single page forgets the document of a link from one to another (`horse.html#id2` becomes
    `index.html#id2`), so such a link looks everywhere before it looks at home, and a citation only at references.
    """
    page, _, name = link["href"].partition("#")
    home, root = document(link), next(iter(targets))
    chosen = re.sub(r"^(\.\./|\./)+|\.html$", "", page)
    if name.startswith("document-"):
        chosen, _, name = name.removeprefix("document-").partition("#")
        order = [chosen]
    elif not page:
        order = [home, *targets]
    elif chosen in targets and chosen != root:
        order = [chosen]
    else:
        order = [*(other for other in targets if other != home), home]
    found = [targets[document][name] for document in order if name in targets.get(document, {})]
    if link.find_parent(class_="bibtex-citation"):
        found = [element for element in found if "citation" in element.get("class", ())]
    return found[0] if found else None


def _seat(target: Node) -> Node:
    """The element that carries a target's label: a section's heading, a cell's content, or the target itself."""
    if target.name == "span" and not target.contents:  # a section's other names stand beside its heading
        target = target.find_next_sibling(HEADINGS) or target
    if target.name == "section":
        return target.find(HEADINGS, recursive=False) or target
    if target.name == "tr":
        target = target.find(("td", "th")) or target
    if target.name in ("td", "th", "li", "dt", "dd"):
        if not target.contents or target.contents[0].name != "anchor":
            target.insert(0, Tag(name="anchor"))
        return target.contents[0]
    return target


# ---- small questions -----------------------------------------------------------------------------------------------


def plain(element: Node | None) -> str:
    """An element's text on one line; spaces that hold words together stay what they are."""
    return re.sub(r"[^\S\xa0]+", " ", element.get_text()).strip() if element else ""


def document(element: Node) -> str:
    """The name of the document that an element stands in."""
    owner = element if element.has_attr("data-document") else element.find_parent(attrs={"data-document": True})
    return str(owner["data-document"])


def where(element: Node) -> str:
    """The title of the document that an element stands in, for a message."""
    owner = element.find_parent(attrs={"data-document": True})
    return f"“{plain(owner.find(HEADINGS)) or owner['data-document']}”"
