"""The book as a PDF: Sphinx's single page, mended for paper, its mathematics through pandoc, set by Typst.

The page is read once (BeautifulSoup), mended in passes that each do one thing to the tree, and then written out as
Typst: structure here, looks in `book.typ`. Nothing is fetched, and the same page and settings give the same bytes.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

from benchbook.errors import BookError
from benchbook.typeset import HEADINGS, chapter, escaped, plain, string

log = logging.getLogger(__name__)

STANDARDS = ["a-2a", "ua-1"]  # archivable, and readable by a screen reader
DEFAULTS = {"title": None, "subtitle": None, "author": None, "course": None, "date": None, "language": "en-GB", "paper": "a4"}

# What makes no sense on paper. `<noscript>` stays: it holds the still picture of a moving one.
SCREEN_ONLY = (
    "script, style, link, meta, template, button, input:not(.task-list-item input), select, textarea, iframe, video, audio, canvas,"
    "object, nav, .headerlink, .copybtn, .linenos, .section-number, .backrefs, .benchbook-screen-only,"
    "details.hide > summary, details.hide .cell_input, .tag_hide-output > details .cell_output, hr.footnotes"
)
SIGNS = {"✅": "✓", "☑": "✓", "❌": "✗", "❗": "!", "❓": "?", "\ufe0f": "", "\u200d": ""}  # what to print for signs no font has


def make_pdf(singlehtml: Path, destination: Path, settings: Mapping[str, Any]) -> Path:
    """Write the Sphinx `singlehtml` build in `singlehtml` as a PDF book at `destination`, whole or not at all.

    `settings` may hold title, subtitle, author, course, date (ISO, or any text), language and paper. What is lost on
    the way (a link without a target, a formula that does not convert) is logged as a warning.

    Raises:
        BookError: there is no page, an image is missing, or Typst refuses; one line, with the chapter.
    """
    settings = DEFAULTS | {key: value for key, value in settings.items() if value not in (None, "")}
    article, macros = read(Path(singlehtml))
    with tempfile.TemporaryDirectory(prefix="benchbook-pdf-") as name:
        folder = Path(name)
        mend(article, macros, Path(singlehtml), folder)
        settings["title"] = settings["title"] or plain(article.find(HEADINGS)) or "Untitled"
        shutil.copy(Path(__file__).with_name("book.typ"), folder)
        pdf = compiled(folder, written(article, settings), timestamp(settings["date"]))
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(f".{destination.name}.{os.getpid()}")
    partial.write_bytes(pdf)
    os.replace(partial, destination)
    return destination


def read(singlehtml: Path) -> tuple[Tag, dict[str, Any]]:
    """The root document's section, with every other document's inside it, and the book's own TeX macros."""
    page = singlehtml / "index.html"
    for _ in range(2):  # where the root document is not called index, index.html only points to it
        if not page.is_file():
            raise BookError(f"no {page.name} in {singlehtml}: build the book with Sphinx's singlehtml builder first")
        html = page.read_text(encoding="utf-8")
        forward = re.search(r'http-equiv="refresh" content="0; *url=([^"]+)"', html, re.IGNORECASE)
        if forward is None:
            break
        page = singlehtml / forward[1]
    soup = BeautifulSoup(re.sub(r"<svg\b.*?</svg>", drawing, html, flags=re.DOTALL), "html.parser")
    article = (soup.find("article") or soup.find(role="main") or soup).find("section")
    if article is None:
        raise BookError(f"{page} holds no text: is it the page of a singlehtml build?")
    article["data-document"] = page.stem
    configured = re.search(r"window\.MathJax = (\{.*\})", html)
    return article, json.loads(configured[1]).get("tex", {}).get("macros", {}) if configured else {}


def drawing(svg: re.Match[str]) -> str:
    """An SVG inside the page as an image: HTML's parser would spoil the case of its attributes."""
    code = svg[0] if "xmlns=" in svg[0] else svg[0].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    name = re.search(r'aria-label="(.*?)"', svg[0]) or re.search(r"<title.*?>(.*?)</title>", svg[0], re.DOTALL)
    data = base64.b64encode(code.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{name[1].strip() if name else ""}">'


# ---- mending: passes over the tree ---------------------------------------------------------------------------------


def mend(article: Tag, macros: dict[str, Any], singlehtml: Path, folder: Path) -> None:
    for element in article.select(SCREEN_ONLY):
        element.decompose()
    for span in article.select("span[id^=document-]"):
        section = span.find_next_sibling("section")
        section["data-document"] = span["id"].removeprefix("document-")
        span.decompose()
    mend_words(article)
    mend_mathematics(article, macros)
    mend_pictures(article, singlehtml, folder)
    mend_footnotes(article)
    mend_links(article)


def mend_words(article: Tag) -> None:
    """Explain an abbreviation where it comes first, and print characters that no font has by their name."""
    explained = set()
    for element in article.select("abbr[title]"):
        if element["title"] not in explained:
            explained.add(element["title"])
            element.append(f" ({element['title']})")
    known = glyphs()
    for node in [node for node in article.find_all(string=True) if not node.isascii()]:
        mended = "".join(SIGNS[sign] if sign in SIGNS else printable(sign, known) for sign in node)
        if mended != node:
            node.replace_with(mended)


def printable(sign: str, known: set[int]) -> str:
    if not known or sign.isspace() or ord(sign) in known:
        return sign
    log.warning("PDF: no font has the character %s (U+%04X): its name is printed", sign, ord(sign))
    return f"({unicodedata.name(sign, f'U+{ord(sign):04X}').lower()})"


def font_folder() -> Path | None:
    """matplotlib's fonts: DejaVu Sans stands in where Typst's own faces lack a character."""
    found = importlib.util.find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else None
    return folder if folder and folder.is_dir() else None


def glyphs() -> set[int]:
    """The characters that can be printed; empty when that is not known."""
    if not (folder := font_folder()) or not importlib.util.find_spec("fontTools"):
        return set()
    from fontTools.ttLib import TTFont

    return set(TTFont(folder / "DejaVuSans.ttf", lazy=True).getBestCmap())


def mend_mathematics(article: Tag, macros: dict[str, Any]) -> None:
    """Convert every formula in one run of pandoc; one that fails keeps its TeX, and is named in a warning."""
    elements = article.select(".math")
    blocks: list[dict[str, Any]] = []
    for element in elements:
        number = element.find(class_="eqno")
        if number:
            element["data-number"] = plain(number.extract())
        source = element.get_text().strip()
        if tag := re.search(r"\\tag\*?\{(.*?)\}", source):
            element["data-number"] = f"({tag[1]})"
        element["data-tex"] = re.sub(r"\s+", " ", source.replace(tag[0], "") if tag else source)[2:-2].strip()
        kind = "DisplayMath" if element.name == "div" else "InlineMath"
        formula = {"t": "Math", "c": [{"t": kind}, prepared(element["data-tex"], macros)]}
        blocks += [{"t": "Para", "c": [formula]}, {"t": "RawBlock", "c": ["typst", "// next"]}]
    for element, typst in zip(elements, pandoc(blocks).split("// next"), strict=False):
        tex, typst = string(element["data-tex"]), polished(typst)
        if not typst.startswith("$"):
            log.warning("PDF: %s: this formula does not convert and is printed as TeX: %s", where(element), element["data-tex"])
            element["data-typst"] = f"#unconverted({tex});"
        elif element.name == "div":
            number = f"[{escaped(element['data-number'])}]" if element.get("data-number") else "none"
            element["data-typst"] = f"#displayed({tex}, {number}, {typst});"
        else:
            element["data-typst"] = f"#formula({tex}, {typst});"


def prepared(tex: str, macros: dict[str, Any]) -> str:
    """TeX with the book's own macros defined before it, and what pandoc would lose or garble written differently."""
    for name, macro in macros.items():
        if re.search(rf"\\{name}(?![a-zA-Z])", tex):
            body, arguments = (macro[0], f"[{macro[1]}]") if isinstance(macro, list) else (macro, "")
            tex = rf"\newcommand{{\{name}}}{arguments}{{{body}}} {tex}"
    tex = re.sub(r"(?<!\\)\\\|(.+?)(?<!\\)\\\|", r"\\lVert \1\\rVert ", tex)  # a norm's bars are no relations
    tex = re.sub(r"\\lvert\b(.+?)\\rvert\b", r"\\left|\1\\right|", tex)
    fence = r"\\[bB]igg?([lr]?)(?![a-zA-Z])"
    tex = re.sub(fence, lambda size: "" if r"\\" in tex else {"l": r"\left", "r": r"\right", "": ""}[size[1]], tex)
    tex = tex.replace(r"\operatorname*{", r"\operatorname{*").replace("{,}", r"\text{,}")
    return re.sub(r"\\begin\{cases\}(.*?)\\end\{cases\}", columned, tex)


def columned(cases: re.Match[str]) -> str:
    if "&" in cases[0]:
        return cases[0].replace("&", r"&\quad ")
    return cases[0].replace(r"\\", r"& \\").replace(r"\end", r"& \end")


def polished(typst: str) -> str:
    """pandoc's Typst with real operators, and with the spaces that it rounds to whole ems."""
    typst = re.sub(r'([a-z]+\(|delim: )?"(\*?)((?:[^"\\]|\\.)*)"', operator, typst.strip())
    return typst.replace("#h(0em)", "thick").replace("#h(-1em)", "#h(-0.167em)").replace(r'") \(', r'")\(').replace(' upright(",") ', '","')


def operator(text: re.Match[str]) -> str:
    if text[1] in ("upright(", "bold(", "italic(", "sans(", "mono(", "delim: "):
        return text[0]
    return f'{text[1] or ""}op("{text[3]}"{", limits: #true" if text[2] else ""})'


def pandoc(blocks: list[dict[str, Any]]) -> str:
    import pypandoc

    document = json.dumps({"pandoc-api-version": [1, 23], "meta": {}, "blocks": blocks})
    command = [pypandoc.get_pandoc_path(), "--from=json", "--to=typst", "--wrap=none", "--quiet"]
    done = subprocess.run(command, input=document, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise BookError(f"PDF: pandoc failed: {' '.join(done.stderr.split())}")
    return done.stdout


def mend_pictures(article: Tag, singlehtml: Path, folder: Path) -> None:
    """Put every picture beside the Typst document, under the name of its content."""
    for image in article.select("img"):
        source = image.get("src", "")
        if embedded := re.match(r"data:image/(\w+)[^,]*?(;base64)?,", source):
            rest = source[embedded.end() :]
            data = base64.b64decode(rest) if embedded[2] else unquote(rest).encode()
            kind = embedded[1]
        else:
            path = singlehtml / unquote(source)
            if re.match(r"(https?:)?//", source) or not path.is_file():
                raise BookError(f"PDF: {where(image)}: the image {source} is not in {singlehtml}")
            data, kind = path.read_bytes(), path.suffix.lower().lstrip(".")
        image["data-file"] = f"{hashlib.sha256(data).hexdigest()[:24]}.{kind}"
        (folder / image["data-file"]).write_bytes(data)
        if not image.get("alt") or image["alt"].endswith(Path(source).name):
            log.warning("PDF: %s: the image %s has no alt text", where(image), source[:80])
            caption = image.find_parent("figure")
            image["alt"] = (plain(caption) if caption else "") or "A picture without a description"
        if image.parent.name == "a" and "image-reference" in image.parent.get("class", ()):
            image.parent.unwrap()


def mend_footnotes(article: Tag) -> None:
    """Bring each note to the first place that calls it."""
    for call in article.select("a.footnote-reference"):
        home = call.find_parent(attrs={"data-document": True})
        notes = [n for n in home.select("aside.footnote, [data-moved]") if call["href"] == f"#{n['id']}" and document(n) == document(call)]
        if notes and notes[0].name == "aside":
            note = notes[0].extract()
            note.find(class_="label").decompose()
            note.name, note["data-moved"] = "footnote", ""
            call.replace_with(note)
    for left in article.select("aside.footnote-list"):
        left.decompose()


def mend_links(article: Tag) -> None:
    """Give every target that is linked to a label that is its own in the whole book: `id2` occurs in many documents."""
    targets: dict[str, dict[str, Tag]] = {}
    for element in [article, *article.select("[id]")]:
        targets.setdefault(document(element), {}).setdefault(element.get("id", ""), element)
    for section in [article, *article.select("section[data-document]")]:
        targets.setdefault(section["data-document"], {})[""] = section
    for link in article.select("a[href]"):
        if re.match(r"(https?|mailto|ftp):", link["href"]):
            continue
        target = target_of(link, targets)
        if target is None:
            log.warning("PDF: %s: the link to %s has no target", where(link), link["href"])
            del link["href"]
            continue
        if target.name in ("tr", "td", "th", "li", "dt", "dd"):  # these are written by what holds them
            seat = target.find(("td", "th")) or target if target.name == "tr" else target
            if not (seat.contents and getattr(seat.contents[0], "name", "") == "anchor"):
                seat.insert(0, Tag(name="anchor"))
            target = seat.contents[0]
        target.attrs.setdefault("data-label", f"{document(target)}#{link['href'].partition('#')[2]}")
        link["data-target"] = target["data-label"]


def target_of(link: Tag, targets: dict[str, dict[str, Tag]]) -> Tag | None:
    """What an internal link points to. Sphinx's single page forgets the document of a link between two documents
    (`horse.html#id2` becomes `index.html#id2`), so such a link looks everywhere but at home, and a citation only
    among the references."""
    page, _, name = link["href"].partition("#")
    home = document(link)
    if name.startswith("document-"):
        chosen, _, name = name.removeprefix("document-").partition("#")
        order = [chosen]
    elif not page:
        order = [home, *targets]
    else:
        chosen = re.sub(r"^(\.\./|\./)+|\.html$", "", page)
        order = [chosen] if chosen in targets and chosen != next(iter(targets)) else [d for d in targets if d != home] + [home]
    found = [targets[d][name] for d in order if d in targets and name in targets[d]]
    if link.find_parent(class_="bibtex-citation"):
        found = [element for element in found if "citation" in element.get("class", ())]
    if not found:
        return None
    target = found[0]
    if target.name == "span" and not target.contents:  # Sphinx puts a section's other names beside its heading
        target = target.find_next_sibling(HEADINGS) or target
    return target.find(HEADINGS, recursive=False) or target if target.name == "section" else target


# ---- setting -------------------------------------------------------------------------------------------------------


def written(article: Tag, settings: Mapping[str, Any]) -> str:
    """The Typst document: the start page, then every document directly under it, in the order of the contents."""
    language, _, region = settings["language"].replace("_", "-").partition("-")
    given = {key: settings[key] for key in ("title", "subtitle", "author", "course", "paper")}
    given |= {"language": language, "region": region, "date": printed(settings["date"])}
    arguments = ", ".join(f"{key}: {string(str(value))}" for key, value in given.items() if value)
    documents = article.select("section[data-document]")
    parts = [part.extract() for part in documents if part.find_parent(attrs={"data-document": True}) is article]
    chapters = [chapter(article, counted=False), *(chapter(part, counted=not part.select(".citation")) for part in parts)]
    return f'#import "book.typ": *\n#show: book.with({arguments})\n' + "".join(chapters)


def printed(date: Any) -> str:
    """21 November 2026; what is no ISO date is printed as it stands."""
    try:
        day = datetime.date.fromisoformat(str(date))
    except ValueError:
        return str(date or "")
    return f"{day.day} {day:%B %Y}"


def timestamp(date: Any) -> int:
    """The file's own date, for the archive standard asks for one: the book's, SOURCE_DATE_EPOCH, or a constant."""
    try:
        day = datetime.datetime.fromisoformat(str(date)).replace(tzinfo=datetime.UTC)
    except ValueError:
        return int(os.environ.get("SOURCE_DATE_EPOCH", 315_532_800))
    return int(day.timestamp())


def compiled(folder: Path, source: str, seconds: int) -> bytes:
    import typst

    (folder / "main.typ").write_text(source, encoding="utf-8")
    fonts = [font_folder()] if font_folder() else []
    try:
        return typst.compile(
            folder / "main.typ", root=folder, font_paths=fonts, ignore_system_fonts=True, pdf_standards=STANDARDS, timestamp=seconds
        )
    except typst.TypstError as error:
        place = re.search(r"main\.typ:(\d+)", error.diagnostic)
        before = source.splitlines()[: int(place[1]) if place else 0]
        title = next((line.split(": ", 1)[1] for line in reversed(before) if line.startswith("// chapter: ")), "the title page")
        near = f" (near: {before[-1].strip()[:160]})" if before else ""
        raise BookError(f"PDF: Typst refuses “{title}”: {error.message}{near}") from error


# ---- small questions -----------------------------------------------------------------------------------------------


def document(element: Tag) -> str:
    owner = element if element.has_attr("data-document") else element.find_parent(attrs={"data-document": True})
    return str(owner["data-document"])


def where(element: Tag) -> str:
    owner = element.find_parent(attrs={"data-document": True})
    return f"“{plain(owner.find(HEADINGS)) or owner['data-document']}”"
