"""A mended page as Typst markup: structure only. What a thing looks like is the business of `book.typ`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import takewhile

from bs4.element import NavigableString, PreformattedString

from benchbook.mend import HEADINGS, Node, plain

PARAGRAPHS = {"p", "div", "section", "article", "aside", "summary", "header", "footer", "main", "center"}
IN_LINE = {"a", "span", "img", "code", "tt", "samp", "input", "br", "footnote"}
TITLES = ("admonition-title", "sidebar-title", "topic-title")
KINDS = ("note", "warning", "caution", "attention", "danger", "error", "tip", "hint", "important", "seealso")
LANGUAGES = {
    **dict.fromkeys(("ipython3", "ipython", "python3"), "python"),
    **dict.fromkeys(("console", "shell", "sh"), "bash"),
    **dict.fromkeys(("default", "none", "text"), ""),
}
NUMBERINGS = {"loweralpha": "a.", "upperalpha": "A.", "lowerroman": "i.", "upperroman": "I."}
NUMBER = re.compile(r"([-+−]?[\d.,]+(e[-+]?\d+)?\s?%?|nan|[-–—])?", re.IGNORECASE)
SIMPLE = {
    **dict.fromkeys(("em", "i", "cite", "dfn", "var"), "emph"),
    **dict.fromkeys(("strong", "b"), "strong"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "del"), "strike"),
    **{"sup": "super", "sub": "sub", "kbd": "key", "mark": "highlight", "blockquote": "quote"},
}


def chapter(section: Node, counted: bool) -> str:
    """A document as one chapter, with a number if it is `counted`. The comment lets an error name the chapter."""
    body = f"\n// chapter: {plain(section.find(HEADINGS))}\n{write(section)}"
    return body if counted else f"#uncounted[{body}\n]\n"


def write(node: Node) -> str:
    """One node of the page; blocks stand between blank lines, and every call ends in a semicolon."""
    if isinstance(node, NavigableString):
        return "" if isinstance(node, PreformattedString) else escaped(node)
    markup, block = special(node), node.name not in IN_LINE
    if markup is None:
        block = node.name in PARAGRAPHS
        markup = f"#{SIMPLE[node.name]}{content(node)};" if node.name in SIMPLE else inner(node)
    if node.has_attr("data-label"):
        markup = f"#anchor({string(node['data-label'])});{markup}"
    return f"\n\n{markup.strip(' ')}\n\n" if block else markup


def special(node: Node) -> str | None:
    """What is more than a run of text or a wrapper around one; None for those."""
    classes = node.get("class", ())
    if node.has_attr("data-typst"):
        return formula(node)
    if writer := next((BY_CLASS[key] for key in classes if key in BY_CLASS), None):
        return writer(node)
    if any(key.startswith("highlight-") for key in classes):
        return code(node)
    return BY_NAME[node.name](node) if node.name in BY_NAME else None


def inner(node: Node) -> str:
    return "".join(map(write, node.contents))


def content(node: Node | None) -> str:
    return f"[{inner(node).strip()}]" if node else "[]"


# ---- blocks --------------------------------------------------------------------------------------------------------


def heading(node: Node) -> str:
    """A section's heading, at the depth of its section."""
    if node.parent.name != "section":  # a heading in some cell's output is no section of the book
        return f"#rubric{content(node)};"
    label = f"#label({string(node.attrs.pop('data-label'))});" if node.has_attr("data-label") else ""
    return f"#heading(level: {len(node.find_parents('section'))}){content(node)};{label}"


def formula(node: Node) -> str:
    """A formula in a line or displayed, or its TeX where that did not convert."""
    tex, typst = string(node["data-tex"]), node["data-typst"]
    if not typst:
        return f"#unconverted({tex});"
    if node.name == "span":
        return f"#formula({tex}, {typst});"
    number = f"[{escaped(node['data-number'])}]" if node.has_attr("data-number") else "none"
    return f"#displayed({tex}, {number}, {typst});"


def code(node: Node) -> str:
    """A code cell's source, what it printed or the error it raised, or an example in the text."""
    classes = node.get("class", ())
    kind = "error" if "traceback" in classes else "output" if "output" in classes else "input"
    language = next((key.removeprefix("highlight-") for key in classes if key.startswith("highlight-")), "")
    language = LANGUAGES.get(language, language) if kind == "input" else ""
    source = (node.find("pre") or node).get_text().strip("\n").expandtabs(4)
    source = re.sub(r"\S{70,}", lambda word: "\u200b".join(word[0]), source)
    sticky = str(bool(node.find_parent(class_="cell_input"))).lower()  # what a cell shows stays with the cell
    name = string(language) if language else "none"
    return f"#code({name}, {string(source)}, kind: {string(kind)}, sticky: {sticky});"


def footnote(node: Node) -> str:
    """A note at the place that calls it first."""
    label = f"#label({string(node.attrs.pop('data-label'))});" if node.has_attr("data-label") else ""
    return f"#footnote{content(node)};{label}"


def listing(node: Node) -> str:
    """Code with a caption."""
    caption = node.find(class_="code-block-caption").extract()
    return f"#figure(kind: raw, caption: {content(caption)}){content(node)};"


def figure(node: Node) -> str:
    """A figure with its caption, whose number is that of the web page."""
    caption = node.find("figcaption")
    shown = content(caption.extract()) if caption else "none"
    return f"#figure(kind: image, caption: {shown}){content(node)};"


def picture(node: Node) -> str:
    """A picture of its own, or one as high as a line where it stands among words."""
    among_words = node.parent.name in ("p", "td", "th", "a", "span", "li") and plain(node.parent) != ""
    asked = f"{node.get('style', '')};width:{node.get('width', '')}px"
    size = re.search(r"(?<!-)width:\s*([\d.]+)(%|px|em|pt|cm|mm|in)", asked)
    width = "auto" if not size else f"{float(size[1]) * 0.75}pt" if size[2] == "px" else size[1] + size[2]
    drawn = f"image({string(node['data-file'])}, alt: {string(node['alt'])})"
    return f"#{'inline-' * among_words}picture({drawn}, width: {width});"


def items(node: Node) -> str:
    """A list, tight where Sphinx found it so."""
    rows = node.find_all("li", recursive=False)
    simple = "simple" in node.get("class", ()) or node.find_parent(("ul", "ol"), class_="simple")
    tight = str(bool(simple or not node.find("p"))).lower()
    if tight == "true":
        for paragraph in [child for row in rows for child in row.find_all("p", recursive=False)]:
            paragraph.unwrap()
    rows = ", ".join(re.sub(r"\s+(#(?:list|enum)\()", r"\n\1", content(row)) for row in rows)
    if node.name == "ul":
        marker = "marker: none, " if "contains-task-list" in node.get("class", ()) else ""
        return f"#list({marker}tight: {tight}, {rows});"
    style = next((NUMBERINGS[key] for key in node.get("class", ()) if key in NUMBERINGS), "1.")
    return f"#enum(numbering: {string(style)}, start: {int(node.get('start', 1))}, tight: {tight}, {rows});"


def definitions(node: Node) -> str:
    """Terms, each with what it means."""
    terms = []
    for name in node.find_all("dt", recursive=False):
        meaning = takewhile(lambda other: other.name == "dd", name.find_next_siblings(("dt", "dd")))
        terms.append(f"#term{content(name)}[{''.join(map(inner, meaning)).strip()}];")
    return "\n\n".join(terms)


def admonition(node: Node) -> str:
    """A box with a title."""
    if "hide" in node.get("class", ()):  # the fold of a hidden cell; its input is gone already
        return inner(node)
    title = node.find("summary", recursive=False) or node.find(class_=TITLES, recursive=False)
    kind = next((key for key in node.get("class", ()) if key in KINDS), "note")
    name = content(title.extract()) if title else f"[{kind.capitalize()}]"
    return f"#admonition({string(kind)}, {name}){content(node)};"


def table(node: Node) -> str:
    """A table, with each column's alignment, longest word and longest cell, from which Typst sees how to set it."""
    caption = node.find("caption", recursive=False)
    rows = [row for row in node.find_all("tr") if row.find_parent("table") is node]
    taken: set[tuple[int, int]] = set()
    columns: dict[int, list[Node]] = {}
    header: list[str] = []
    body: list[str] = []
    for y, row in enumerate(rows):
        x = 0
        for cell in row.find_all(("th", "td"), recursive=False):
            while (y, x) in taken:
                x += 1
            wide, high = int(cell.get("colspan", 1)), min(int(cell.get("rowspan", 1)), len(rows) - y)
            taken |= {(y + j, x + i) for j in range(high) for i in range(wide)}
            if wide == 1:
                columns.setdefault(x, []).append(cell)
            in_header = row.parent.name == "thead" or (y == 0 and not row.find("td"))
            span = f"table.cell(colspan: {wide}, rowspan: {high})" if wide * high > 1 else ""
            (header if in_header else body).append(span + cell_content(cell, bold=in_header))
            x += wide
    count = max((x for _, x in taken), default=0) + 1
    align = ", ".join(alignment(columns.get(x, [])) for x in range(count))
    widest = ", ".join(longest_word(columns.get(x, [])) for x in range(count))
    full = ", ".join(
        string(max((plain(cell) for cell in columns.get(x, [])), key=len, default="")) for x in range(count)
    )
    first = f"header: ({', '.join(header)},), " if header else ""
    markup = f"data-table(align: ({align},), widest: ({widest},), full: ({full},), {first}{', '.join(body)})"
    return f"#figure(kind: table, caption: {content(caption)}, {markup});" if caption else f"#{markup};"


def cell_content(cell: Node, bold: bool) -> str:
    """What stands in a table's cell; a number gets a true minus, which no line break follows."""
    if not cell.find(True) and NUMBER.fullmatch(plain(cell)):
        return f"[{escaped(plain(cell).replace('-', '−'))}]"
    return f"[#strong{content(cell)};]" if bold and plain(cell) else content(cell)


def alignment(column: Iterable[Node]) -> str:
    """A column's own alignment, or right for numbers and left for words."""
    cells = list(column)
    for cell in cells:
        asked = " ".join([*cell.get("class", ()), cell.get("style", "")])
        if found := re.search(r"text-(?:align:\s*)?(left|right|center)", asked):
            return found[1]
    values = [plain(cell) for cell in cells if cell.parent.parent.name != "thead"]
    return "right" if any(values) and all(map(NUMBER.fullmatch, values)) else "left"


def longest_word(column: Iterable[Node]) -> str:
    """The part of a column that cannot be broken, as Typst is to measure it."""
    longest, shown = "", string
    for cell in column:
        for word in re.split(r"[ \u200b]+", breakable(plain(cell))):
            if len(word) > len(longest):
                longest, shown = word, raw if cell.find("code") else string
    return shown(longest)


def raw(text: str) -> str:
    return f"raw({string(text)})"


def reference(node: Node) -> str:
    """An entry of the bibliography."""
    label = node.find(class_="label").extract()
    return f"#reference[{escaped(plain(label).strip('[]'))}]{content(node)};"


# ---- parts of a line -----------------------------------------------------------------------------------------------


def link(node: Node) -> str:
    """A link to a place in the book or outside it, or its words alone."""
    if node.has_attr("data-target") and "footnote-reference" in node.get("class", ()):  # a note called once more
        return f"#footnote(label({string(node['data-target'])}));"
    if node.has_attr("data-target"):
        return f"#link(label({string(node['data-target'])})){content(node)};"
    return f"#link({string(node['href'])}){content(node)};" if node.has_attr("href") else inner(node)


def verdict(node: Node) -> str:
    """A claim, or the words in it that say whether it holds."""
    found = next((key for key in ("holds", "fails", "open") if f"benchbook-{key}" in node["class"]), "number")
    written = link(node) if node.name == "a" else inner(node)
    whole = "benchbook-claim" in node["class"]
    return f'#verdict("{found}", {str(whole).lower()})[{written}];'


def badge(node: Node) -> str:
    """The state of a chapter's run; a reduced run is marked whatever its state, unless that is worse."""
    told = " ".join(node["class"])
    state = next((key for key in ("failed", "missing", "not-run", "stale", "quick", "reduced") if key in told), "ok")
    return f'#badge("{state}"){content(node)};'


def call(name: str) -> Callable[[Node], str]:
    """What writes an element as a call of a function of the template."""
    return lambda node: f"#{name}{content(node)};"


BY_CLASS: dict[str, Callable[[Node], str]] = {
    **dict.fromkeys(("admonition", "topic", "sidebar"), admonition),
    **dict.fromkeys(("benchbook-claim", "benchbook-value"), verdict),
    "benchbook-badge": badge,
    "benchbook-made": call("made"),
    "benchbook-missing": call("missing"),
    "benchbook-provenance": call("provenance"),
    "benchbook-small": call("small"),
    "caption-number": lambda node: f"#strong{content(node)};\u2002",
    "citation": reference,
    "literal-block-wrapper": listing,
    "rubric": call("rubric"),
}
BY_NAME: dict[str, Callable[[Node], str]] = {
    **dict.fromkeys(HEADINGS, heading),
    **dict.fromkeys(("ul", "ol"), items),
    **dict.fromkeys(("code", "tt", "samp"), lambda node: f"#{raw(breakable(node.get_text()))};"),
    "a": link,
    "br": lambda node: "#linebreak();",
    "details": admonition,
    "dl": definitions,
    "figure": figure,
    "footnote": footnote,
    "hr": lambda node: "#rule();",
    "img": picture,
    "input": lambda node: "☑" if node.has_attr("checked") else "☐",
    "pre": code,
    "table": table,
}


# ---- text ----------------------------------------------------------------------------------------------------------


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
