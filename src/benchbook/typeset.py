"""A mended page as Typst markup: structure only. What each thing looks like is `book.typ`'s business.

`pdf.py` mends the page first: formulas carry their Typst in `data-typst`, pictures their file in `data-file`, links
their target's label in `data-target`, and what is linked to has its label in `data-label`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from bs4 import Tag
from bs4.element import NavigableString, PreformattedString

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6", "h7")
PARAGRAPHS = ("p", "div", "section", "article", "aside", "details", "summary", "header", "footer", "main", "center", *HEADINGS)
TITLES = ("admonition-title", "sidebar-title", "topic-title")
KINDS = ("note", "warning", "caution", "attention", "danger", "error", "tip", "hint", "important", "seealso")
LANGUAGES = {"ipython3": "python", "ipython": "python", "python3": "python", "console": "bash", "shell": "bash", "default": ""}
NUMBERINGS = {"loweralpha": "a.", "upperalpha": "A.", "lowerroman": "i.", "upperroman": "I."}
NUMBER = re.compile(r"([-+−]?[\d.,]+(e[-+]?\d+)?\s?%?|nan|[-–—])?", re.IGNORECASE)
SIMPLE = {
    **dict.fromkeys(("em", "i", "cite", "dfn", "var"), "emph"),
    **dict.fromkeys(("strong", "b"), "strong"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "del"), "strike"),
    **{"sup": "super", "sub": "sub", "kbd": "key", "mark": "highlight", "footnote": "footnote", "blockquote": "quote"},
}


def chapter(section: Tag, counted: bool) -> str:
    """A document as one chapter, with a number if it is `counted`. The comment lets an error name the chapter."""
    body = f"\n// chapter: {plain(section.find(HEADINGS))}\n{write(section)}"
    return body if counted else f"#uncounted[{body}\n]\n"


def write(node: Any) -> str:
    """One node of the page; blocks stand between blank lines, and every call ends in a semicolon."""
    if isinstance(node, NavigableString):
        return "" if isinstance(node, PreformattedString) else escaped(node)
    block, markup = node.name in PARAGRAPHS, special(node)
    if markup is None:
        markup = f"#{SIMPLE[node.name]}{content(node)};" if node.name in SIMPLE else inner(node).strip(" " if block else "")
    else:
        block = node.name not in ("a", "span", "img", "code", "tt", "samp", "input", "br")
    if node.has_attr("data-label"):
        markup = f"#anchor({string(node['data-label'])});" + markup
    return f"\n\n{markup}\n\n" if block else markup


def special(node: Tag) -> str | None:
    """What is more than a run of text or a wrapper around one; None for those."""
    name, classes = node.name, node.get("class", ())
    if node.has_attr("data-typst"):
        return str(node["data-typst"])
    if writer := next((BY_CLASS[key] for key in classes if key in BY_CLASS), None):
        return writer(node)
    if any(key.startswith("highlight-") for key in classes):
        return code(node)
    return BY_NAME[name](node) if name in BY_NAME else None


def inner(node: Tag) -> str:
    return "".join(map(write, node.contents))


def content(node: Tag | None) -> str:
    return f"[{inner(node).strip()}]" if node else "[]"


# ---- blocks --------------------------------------------------------------------------------------------------------


def heading(node: Tag) -> str:
    if node.parent.name != "section":  # a heading in some cell's output is no section of the book
        return f"#rubric{content(node)};"
    label = f"#label({string(node.attrs.pop('data-label'))});" if node.has_attr("data-label") else ""
    return f"#heading(level: {len(node.find_parents('section'))}){content(node)};{label}"


def code(node: Tag) -> str:
    classes = node.get("class", ())
    kind = "error" if "traceback" in classes else "output" if "output" in classes else "input"
    language = next((key.removeprefix("highlight-") for key in classes if key.startswith("highlight-")), "")
    language = LANGUAGES.get(language, language) if kind == "input" else ""
    source = (node.find("pre") or node).get_text().strip("\n").expandtabs(4)
    source = re.sub(r"\S{70,}", lambda word: "\u200b".join(word[0]), source)
    sticky = str(bool(node.find_parent(class_="cell_input"))).lower()  # what a cell shows stays with the cell
    return f"#code({string(language) if language else 'none'}, {string(source)}, kind: {string(kind)}, sticky: {sticky});"


def listing(node: Tag) -> str:
    caption = node.find(class_="code-block-caption").extract()
    return f"#figure(kind: raw, caption: {content(caption)}){content(node)};"


def figure(node: Tag) -> str:
    caption = node.find("figcaption")
    shown = content(caption.extract()) if caption else "none"
    return f"#figure(kind: image, caption: {shown}){content(node)};"


def picture(node: Tag) -> str:
    """A picture of its own, or one as high as a line where it stands among words."""
    among_words = node.parent.name in ("p", "td", "th", "a", "span", "li") and plain(node.parent) != ""
    size = re.search(r"(?<!-)width:\s*([\d.]+)(%|px|em|pt|cm|mm|in)", node.get("style", "") + f";width:{node.get('width', '')}px")
    width = "auto" if not size else f"{float(size[1]) * 0.75}pt" if size[2] == "px" else size[1] + size[2]
    return f"#{'inline-' * among_words}picture({string(node['data-file'])}, {string(node['alt'])}, width: {width});"


def items(node: Tag) -> str:
    rows = ", ".join(content(row) for row in node.find_all("li", recursive=False))
    tight = str("simple" in node.get("class", ()) or not node.find("p")).lower()
    if node.name == "ul":
        marker = "marker: none, " if "contains-task-list" in node.get("class", ()) else ""
        return f"#list({marker}tight: {tight}, {rows});"
    style = next((NUMBERINGS[key] for key in node.get("class", ()) if key in NUMBERINGS), "1.")
    return f"#enum(numbering: {string(style)}, start: {int(node.get('start', 1))}, tight: {tight}, {rows});"


def definitions(node: Tag) -> str:
    terms = []
    for name in node.find_all("dt", recursive=False):
        meaning = takewhile(lambda other: other.name == "dd", name.find_next_siblings(("dt", "dd")))
        terms.append(f"#term{content(name)}[{''.join(map(inner, meaning)).strip()}];")
    return "\n\n".join(terms)


def admonition(node: Tag) -> str:
    if "hide" in node.get("class", ()):  # the fold of a hidden cell; its input is gone already
        return inner(node)
    title = node.find(lambda child: child.name == "summary" or set(TITLES) & set(child.get("class", ())), recursive=False)
    kind = next((key for key in node.get("class", ()) if key in KINDS), "note")
    name = content(title.extract()) if title else f"[{kind.capitalize()}]"
    return f"#admonition({string(kind)}, {name}){content(node)};"


def table(node: Tag) -> str:
    """A table, with each column's alignment and longest word, from which Typst sees how large it can be set."""
    caption = node.find("caption", recursive=False)
    rows = [row for row in node.find_all("tr") if row.find_parent("table") is node]
    taken: set[tuple[int, int]] = set()
    columns: dict[int, list[Tag]] = {}
    header, body = [], []
    for y, row in enumerate(rows):
        x = 0
        for cell in row.find_all(("th", "td"), recursive=False):
            while (y, x) in taken:
                x += 1
            wide, high = int(cell.get("colspan", 1)), min(int(cell.get("rowspan", 1)), len(rows) - y)
            taken |= {(y + j, x + i) for j in range(high) for i in range(wide)}
            if wide == 1:
                columns.setdefault(x, []).append(cell)
            in_header = row.parent.name == "thead"
            span = f"table.cell(colspan: {wide}, rowspan: {high})" if wide * high > 1 else ""
            (header if in_header else body).append(span + cell_content(cell, bold=in_header))
            x += wide
    count = max((x for _, x in taken), default=0) + 1
    align = ", ".join(alignment(columns.get(x, [])) for x in range(count))
    widest = ", ".join(longest_word(columns.get(x, [])) for x in range(count))
    first = f"header: ({', '.join(header)},), " if header else ""
    markup = f"data-table(align: ({align},), widest: ({widest},), {first}{', '.join(body)})"
    return f"#figure(kind: table, caption: {content(caption)}, {markup});" if caption else f"#{markup};"


def cell_content(cell: Tag, bold: bool) -> str:
    if not cell.find(True) and NUMBER.fullmatch(plain(cell)):
        return f"[{escaped(plain(cell).replace('-', '−'))}]"  # a true minus, which no line break follows
    return f"[#strong{content(cell)};]" if bold and plain(cell) else content(cell)


def alignment(column: Iterable[Tag]) -> str:
    cells = list(column)
    for cell in cells:
        if found := re.search(r"text-(?:align:\s*)?(left|right|center)", " ".join(cell.get("class", ())) + cell.get("style", "")):
            return found[1]
    values = [plain(cell) for cell in cells if cell.parent.parent.name != "thead"]
    return "right" if any(values) and all(map(NUMBER.fullmatch, values)) else "left"


def longest_word(column: Iterable[Tag]) -> str:
    words = [(word, bool(cell.find("code"))) for cell in column for word in re.split(r"[\s\u200b]+", breakable(plain(cell)))]
    word, is_code = max(words, key=lambda pair: len(pair[0]), default=("", False))
    return f"raw({string(word)})" if is_code else string(word)


def reference(node: Tag) -> str:
    label = node.find(class_="label").extract()
    return f"#reference[{escaped(plain(label).strip('[]'))}]{content(node)};"


# ---- parts of a line -----------------------------------------------------------------------------------------------


def link(node: Tag) -> str:
    if node.has_attr("data-target"):
        return f"#link(label({string(node['data-target'])})){content(node)};"
    return f"#link({string(node['href'])}){content(node)};" if node.has_attr("href") else inner(node)


def claim(node: Tag) -> str:
    verdict = next((key for key in ("holds", "fails", "open") if f"benchbook-{key}" in node["class"]), "open")
    return f'#claim("{verdict}"){content(node)};'


def badge(node: Tag) -> str:
    """The state of a chapter's run; a quick run is marked whatever its state, unless it failed."""
    states = re.findall(r"failed|stale|missing|quick|ok", " ".join(node["class"]))
    state = next((key for key in ("failed", "missing", "stale", "quick") if key in states), "ok")
    return f'#badge("{state}"){content(node)};'


BY_CLASS = {
    **dict.fromkeys(("admonition", "topic", "sidebar"), admonition),
    **{"benchbook-badge": badge, "benchbook-claim": claim, "citation": reference, "literal-block-wrapper": listing},
    **{"rubric": lambda node: f"#rubric{content(node)};", "caption-number": lambda node: f"#strong{content(node)};\u2002"},
}
BY_NAME = {
    **dict.fromkeys(HEADINGS, heading),
    **dict.fromkeys(("ul", "ol"), items),
    **dict.fromkeys(("code", "tt", "samp"), lambda node: f"#raw({string(breakable(node.get_text()))});"),
    **{"a": link, "img": picture, "figure": figure, "table": table, "dl": definitions, "pre": code, "details": admonition},
    **{"br": lambda node: "#linebreak();", "hr": lambda node: "#rule();"},
    **{"input": lambda node: "☑" if node.has_attr("checked") else "☐"},
}


# ---- text ----------------------------------------------------------------------------------------------------------


def plain(node: Tag | None) -> str:
    return " ".join(node.get_text().split()) if node else ""


def string(text: str) -> str:
    """A Typst string."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def escaped(text: str) -> str:
    """Text in which no character means anything to Typst."""
    text = breakable(re.sub(r"[\x00-\x20\x7f]+", " ", text))
    return re.sub(r"([\\#$*_`<>@\[\]~\"'/=+\-.:])", r"\\\1", text)


def breakable(text: str) -> str:
    """Allow a line break inside words too long for any line: paths, addresses, dotted names."""
    return re.sub(r"\S{30,}", lambda word: re.sub(r"([/._?&=:-])(?=\w)", "\\1\u200b", word[0]), text)
