"""The pages that answer course briefs: the directive {brief}, and {shown}, a chapter's output shown once more.

{brief} NAME               every item of a brief in its order: the question, the answer, the chapters behind it.
                           With the option `:handin:` items have the brief's own numbers, A1 in place of C-A1.
{shown} experiment:NAME    the figure, or the text, that a cell of an experiment shows; the cell has the name in its
                           metadata, as `mystnb: {figure: {name: …}}` or as `benchbook: {name: …}`.
                           With the option `:code:` the cell's code in place of what it shows.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from benchbook.answers import ANSWERS, BRIEFS, Answer, Brief, read_answers, read_briefs
from benchbook.drawings import drawn
from benchbook.errors import BookError, nearest
from benchbook.experiments import code_cells, source
from benchbook.pictures import KINDS, folder_of, named, numbers, put, shown
from benchbook.provenance import chapter_link, state_of
from benchbook.site import NOT_YET, speaking_for, use

logger = logging.getLogger(__name__)


class Picture(nodes.figure):
    """A figure without a number: it has one in its chapter."""


class BriefDirective(SphinxDirective):
    """{brief}: the answers to a brief, a section each."""

    required_arguments = 1
    option_spec: ClassVar = {"handin": directives.flag}

    def run(self) -> list[nodes.Node]:
        root, name = Path(self.env.srcdir), self.arguments[0]
        for path in [root / BRIEFS, *sorted((root / ANSWERS).glob("*.md"))]:
            self.env.note_dependency(str(path))
        try:
            briefs, answers = read_briefs(root), read_answers(root)
            if name not in briefs:
                raise BookError(f"there is no brief '{name}'{nearest(name, briefs)}")
        except BookError as error:
            logger.error(str(error).replace(f"{root}/", ""), location=self.get_location())
            return []
        return [self.section(*part) for part in parts(briefs[name], answers)]

    def section(self, questions: Mapping[str, str], answer: Answer | None) -> nodes.Node:
        """The items that one answer is for: their questions as a quotation, the answer, links to its chapters."""
        names = [nodes.make_id(f"item-{item}") for item in questions]
        shown = [item.partition("-")[2] or item if "handin" in self.options else item for item in questions]
        section = nodes.section("", nodes.title("", ", ".join(shown)), ids=names, names=[], classes=["benchbook-item"])
        asked = (nodes.paragraph("", question) for question in questions.values())
        section += nodes.block_quote("", *asked, classes=["benchbook-question"])
        if answer is None:
            section += nodes.paragraph(
                "", "", nodes.inline("", f"{NOT_YET} not answered yet", classes=["benchbook-missing"])
            )
            return section
        with reading(self.state.document, answer.path):
            self.state.nested_parse(StringList(answer.text.splitlines()), answer.line - self.lineno, section)
        known = state_of(self.env)["experiments"]
        there = [name for name in answer.experiments if name in known and known[name]["page"] in self.env.found_docs]
        links = [chapter_link(self.env, name, known[name]["title"]) for name in there]
        more = [node for link in links for node in (nodes.Text(", "), link)][1:]
        if more:
            section += nodes.paragraph("", "", nodes.Text("More: "), *more, nodes.Text("."), classes=["benchbook-more"])
        return section


@contextlib.contextmanager
def reading(document: nodes.document, path: Path) -> Iterator[None]:
    """Meanwhile messages are about this file: those of directives ask the document for it, others its reporter."""
    reporter = document.reporter
    before = document["source"], reporter.source, reporter.get_source_and_line
    document["source"] = reporter.source = str(path)
    reporter.get_source_and_line = lambda line=None: (str(path), line)
    try:
        yield
    finally:
        document["source"], reporter.source, reporter.get_source_and_line = before


def parts(brief: Brief, answers: Mapping[str, Answer]) -> Iterator[tuple[dict[str, str], Answer | None]]:
    """A brief's items in order, with their answers; those that one answer is for stand together, at the first."""
    seen: set[int] = set()
    for item, question in brief.items.items():
        answer = answers.get(item)
        if answer is None:
            yield {item: question}, None
        elif id(answer) not in seen:
            seen.add(id(answer))
            yield {other: brief.items[other] for other in brief.items if other in answer.ids}, answer


class Shown(SphinxDirective):
    """{shown}: the output of a named cell, as its chapter shows it, with its caption; or the cell's code."""

    required_arguments = 1
    option_spec: ClassVar = {"code": directives.flag}

    def run(self) -> list[nodes.Node]:
        experiment, _, name = self.arguments[0].partition(":")
        known = state_of(self.env)["experiments"]
        if experiment not in known:
            return self.stop(f"there is no experiment '{experiment}'{nearest(experiment, known)}")
        use(self.env, experiment)
        if known[experiment]["state"] != "ok" and "code" not in self.options:
            text = f"{NOT_YET} no run has shown this yet"
            return [nodes.paragraph("", "", nodes.inline("", text, classes=["benchbook-missing"]))]
        notebook = Path(self.env.srcdir, f"{known[experiment]['page']}.ipynb")
        self.env.note_dependency(str(notebook))
        cells = {named(cell): cell for cell in code_cells(json.loads(notebook.read_text(encoding="utf-8")))}
        if name not in cells:
            return self.stop(
                f"experiment '{experiment}' has no output named '{name}'{nearest(name, filter(None, cells))}"
            )
        if "code" in self.options:
            text = source(cells[name])
            return [nodes.literal_block(text, text, language="python")]
        with speaking_for(self.env, experiment):
            return list(self.output(cells[name])) or self.stop(f"the cell '{name}' of '{experiment}' shows nothing")

    def output(self, cell: Mapping[str, Any]) -> Iterator[nodes.Node]:
        """The cell's pictures as figures, and its markdown as text; where it shows neither, what it prints."""
        kinds = KINDS | {"text/markdown": "md"}
        found = list(shown(cell, kinds))
        for (kind, content), lines in zip(found, numbers(cell, kinds), strict=True):
            yield self.text(content.decode()) if kind == "md" else self.picture(cell, kind, content, lines)
        printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        if printed and not found:
            yield nodes.literal_block(printed, printed, language="text")

    def text(self, markdown: str) -> nodes.Node:
        box = nodes.container("", classes=["benchbook-shown"])
        self.state.nested_parse(StringList(markdown.splitlines(), self.get_source_info()[0]), 0, box)
        return box

    def picture(self, cell: Mapping[str, Any], kind: str, content: bytes, lines: dict[str, Any] | None) -> nodes.Node:
        settings = cell["metadata"].get("mystnb", {})
        file = put(folder_of(Path(self.env.app.outdir)), kind, content)
        page = Path(self.env.srcdir, self.env.docname).parent
        image = nodes.image("", uri=os.path.relpath(file, page), alt=settings.get("image", {}).get("alt", ""))
        figure = Picture("", drawn(image, lines), align="default")
        caption = settings.get("figure", {}).get("caption")
        if caption:
            figure += nodes.caption(caption, "", *self.parse_inline(str(caption))[0])
        return figure

    def stop(self, text: str) -> list[nodes.Node]:
        logger.error(f"shown '{self.arguments[0]}': {text}", location=self.get_location())
        return []


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_directive("brief", BriefDirective)
    app.add_directive("shown", Shown)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
