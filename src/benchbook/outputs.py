"""What a notebook's cells have put out, made inert: on a page it is something to look at, and nothing that acts.

A cell that shows a moving picture on purpose says so in its metadata, `benchbook: {trusted: true}`, which no output can
do for it; a profile with `trusted: true` says so for all its notebooks. Their outputs stay as they are.
"""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

from benchbook.lines import LINES

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
UNSEEN = "An output that this page does not show: the cell does not say that it is trusted."
TAGS = {
    *("a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details", "div", "dl"),
    *("dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li"),
    *("mark", "ol", "p", "pre", "s", "samp", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody"),
    *("td", "tfoot", "th", "thead", "tr", "u", "ul", "var"),
}
VOID = {"br", "col", "hr", "img"}
WITHOUT_CONTENT = {  # what stands between their tags is no text for a reader
    *("script", "style", "template", "iframe", "object", "svg", "math", "noscript", "textarea", "title", "select"),
    *("xmp", "noembed", "noframes", "head", "audio", "video", "canvas", "applet", "frameset"),
}
NAME = re.compile(r"[a-z][a-z0-9_]*")  # of a record
WORDS = r"[^\x00-\x1f\x7f]*"
ATTRIBUTES = {
    "alt": WORDS,
    "title": WORDS,
    "border": r"\d",
    "class": "dataframe",
    "colspan": r"\d{1,3}",
    "rowspan": r"\d{1,3}",
    "scope": "row|col",
    "href": r"(?:https?://|mailto:|#)[^\s\\]*",
    "src": r"data:image/(?:png|jpeg|gif|webp);base64,[\sA-Za-z0-9+/=]*",
    "width": r"\d{1,4}%?",
    "height": r"\d{1,4}%?",
    "style": r"(?:\s*(?:text-align|vertical-align|(?:background-)?color|font-(?:weight|style)|(?:max-)?width)\s*:"
    r"\s*[\w#.%-]+\s*(?:;|$))*",
}
# In Markdown: links to elsewhere than the web, pictures, which would load from there, directives, roles; in formulas:
# commands that make links, or load more.
MARKUP = re.compile(
    r"!\[|(?:`{3,}|~{3,}|:{3,})\s*\{|\{[\w:+-]+\}`|\]\s*[(:]\s*(?:[^\s)]*&|<?(?!https?://|#|mailto:)[^\s)]*:)"
    r"|\\(?:href|url|style|class|cssId|data|htmlData|require|unicode|includegraphics|input|def|newcommand|let)\b"
)
TAG = re.compile(r"<(?=[A-Za-z/!?])")  # where HTML begins in Markdown; with a space after it none does
# The names of handlers are letters only; after "/on" in a PNG as base64 text there is a digit before the last "=".
DRAWING = re.compile(
    r"<\s*(?:[\w-]+:)?(?:script|foreignobject|iframe|object|embed|handler|listener|set|animate\w*|a|audio|video)\b"
    r"|[\s\"'/]on[a-z]+\s*=|javascript:|<!entity|<!\[cdata\[[^\]]*<|@import|<\?xml-stylesheet"
    r"|(?:href|src)\s*=\s*[\"']?\s*(?!#|data:image/(?:png|jpeg|gif|webp);|[\"'\s#])",
    re.IGNORECASE,
)


def inert(outputs: Iterable[Any]) -> list[dict[str, Any]]:
    """The outputs of a cell that is not trusted: texts, tables, pictures; nothing that runs, loads or leads away."""
    return [made for output in outputs if isinstance(output, dict) and (made := _output(output))]


def is_trusted(cell: Mapping[str, Any]) -> bool:
    """Whether the author has marked a cell's outputs as meant."""
    return cell.get("metadata", {}).get("benchbook", {}).get("trusted") is True


@lru_cache(maxsize=1000)  # a picture is asked about more than once a build
def still(drawing: str) -> bool:
    """Whether an SVG is a picture and nothing more: no script, no link, nothing from elsewhere."""
    return not any(DRAWING.search(text) for text in {drawing, html.unescape(drawing)})


def clean(text: str) -> str:
    """HTML of tags and attributes that only show something; everything else in it is left out, its text kept."""
    cleaner = _Cleaner()
    try:
        cleaner.feed(text)
        cleaner.close()
    except AssertionError:  # how Python's parser gives up: at '<![what', for one
        return html.escape(text, quote=False)
    return cleaner.result()


def _output(output: Mapping[str, Any]) -> dict[str, Any]:
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": text_of(output.get("text"))}
    if kind == "error":
        words = {key: text_of(output.get(key)) for key in ("ename", "evalue")}
        return {"output_type": kind, **words, "traceback": [text_of(line) for line in output.get("traceback") or ()]}
    data = output.get("data")
    shown = _shown(data) if isinstance(data, dict) else {}
    metadata = {LINES: lines} if (lines := (output.get("metadata") or {}).get(LINES)) else {}
    return {"output_type": "display_data", "data": shown or {"text/plain": UNSEEN}, "metadata": metadata}


def _shown(data: Mapping[str, Any]) -> dict[str, str]:
    """What may be shown of an output: of its forms, those that only show."""
    texts = {kind: text_of(content) for kind, content in data.items()}
    found = {kind: texts[kind] for kind in PICTURES if kind in texts and _is_base64(texts[kind])}
    if "image/svg+xml" in texts and still(texts["image/svg+xml"]):
        found["image/svg+xml"] = texts["image/svg+xml"]
    for kind in ("text/markdown", "text/latex"):
        if kind in texts and MARKUP.search(texts[kind]):
            texts.setdefault("text/plain", texts[kind])
        elif kind in texts:
            found[kind] = TAG.sub("< ", texts[kind])
    # Where what moved is left out, a still picture says more than what is left of its HTML.
    active = re.search(r"<\s*(script|iframe|template|object|embed|svg|canvas|video|form)\b", texts.get("text/html", ""))
    if "text/html" in texts and not (active and found):
        found["text/html"] = clean(texts["text/html"])
        if not found["text/html"].strip():
            del found["text/html"]
    if "text/plain" in texts:
        found["text/plain"] = texts["text/plain"]
    return found


def is_sound(kind: str, record: Any) -> bool:
    """Whether a record of `values`, `claims` or `curves`, which any code in a cell can put out, is one of ours."""
    if not isinstance(record, dict) or not isinstance(name := record.get("name"), str) or not NAME.fullmatch(name):
        return False
    if kind == "curves":
        rows, labels = [record.get("xs"), *(record.get("ys") or [None])], [record.get("x"), record.get("y")]
        return all(map(_is_numbers, rows)) and all(isinstance(label, str) for label in labels)
    if kind == "values":
        return _is_value(record)
    sides = [record.get("left"), record.get("right")]
    return (
        record.keys() >= {"holds", "left", "relation", "right"}
        and isinstance(record.get("text"), str)
        and record.get("holds") in (True, False, None)
        and record.get("relation") in (None, "<", "<=", ">", ">=")
        and all(side is None or (isinstance(side, dict) and _is_value(side)) for side in sides)
    )


def _is_value(record: Mapping[str, Any]) -> bool:
    numbers = [record.get("mean"), *([] if record.get("std") is None else [record["std"]])]
    made_from = record.get("made_from", [])
    return (
        "std" in record
        and _is_numbers(numbers)
        and _is_numbers(record.get("values", [record.get("value")]))
        and isinstance(record.get("unit"), str)
        and isinstance(record.get("n"), int)
        and isinstance(made_from, list)
        and all(isinstance(name, str) for name in made_from)
    )


def _is_numbers(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(n, int | float) and math.isfinite(n) for n in given)


def text_of(content: Any) -> str:
    """A text as notebooks hold it: whole, or in lines."""
    if isinstance(content, list):
        return "".join(part for part in content if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode("".join(text.split()), validate=True))
    except ValueError:
        return False


class _Cleaner(HTMLParser):
    """Writes anew what it knows, and closes what was left open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.open: list[str] = []
        self.left_out: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in WITHOUT_CONTENT:
            self.left_out.append(tag)
        if self.left_out or tag not in TAGS:
            return
        kept = "".join(
            f' {name}="{html.escape(value)}"'
            for name, value in dict(attrs).items()
            if value is not None and name in ATTRIBUTES and re.fullmatch(ATTRIBUTES[name], value)
        )
        if tag != "img" or " src=" in kept:
            self.parts.append(f"<{tag}{kept}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.left_out:
            del self.left_out[self.left_out.index(tag) :]
        elif not self.left_out and tag in self.open:
            while self.open[-1] != tag:
                self.parts.append(f"</{self.open.pop()}>")
            self.parts.append(f"</{self.open.pop()}>")

    def handle_data(self, data: str) -> None:
        if not self.left_out:
            self.parts.append(html.escape(data, quote=False))

    def result(self) -> str:
        return "".join([*self.parts, *(f"</{tag}>" for tag in reversed(self.open))])
