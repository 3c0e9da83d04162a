"""The Sphinx extension: values and claims in prose, the state of every page, and where its numbers come from.

{value}`experiment:name`   a number with its unit; a click shows its provenance
{claim}`experiment:name`   a sentence with its numbers, and whether it held in this run
{reference}`experiment:name`   the same number in the reference results
{claims}                   directive: a table of all claims
{chapters}                 directive of `chapters_page`: a card for each chapter
{runs}                     directive of `runs_page`: the runs of each experiment side by side
{bench}                    directive of `bench_page`: what the bench of the project has measured
{faults}                   directive of `faults_page`: what was broken on purpose, and what came of it
{brief}, {shown}           directives of `answers_page`: a course brief answered; a chapter's output shown once more
"""

from __future__ import annotations

import contextlib
import html
import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from markupsafe import escape
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.token import Name, Punctuation  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.highlighting import PygmentsBridge
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from benchbook.compression import zipped
from benchbook.covers import opening
from benchbook.errors import nearest
from benchbook.fingerprint import hash_text
from benchbook.foot import OFFERED, chapter_foot, prose_foot
from benchbook.pictures import with_links
from benchbook.provenance import badge, chapter_link, experiment_on, provenance_lines, state_of, table
from benchbook.record import VERDICTS, claim_sentence, show
from benchbook.rendering import DOWNLOADS

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MATHJAX = ("sphinx-mathjax-offline", "sphinx-mathjax-offline/static/mathjax/tex-svg.js")
MARKS = {True: "✓", False: "✗", None: "≈"}
CLASSES = {True: "holds", False: "fails", None: "open"}
PLAIN = (Name, Punctuation)  # a third of a page of code would be marks around these
NOT_YET = "—"
PLAIN_TAG = re.compile(r"</?(b|i|em|strong|sub|sup|br|code|small)\s*/?>")
SPEAKER = "benchbook-speaker"
USED = "benchbook-used"  # in a page's metadata, where a notebook's own have their place too


class Highlighted(HtmlFormatter):
    """Code without marks around names and punctuation, which every style shows as the text that they are."""

    def _get_css_classes(self, ttype: Any) -> str:
        return "" if ttype in PLAIN else str(super()._get_css_classes(ttype))


class value(nodes.inline):
    """A number in prose, or the verdict of a claim; `experiment` and `record` say where it comes from."""


class ValueRole(SphinxRole):
    """{value}`experiment:name`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        found = look_up(self, "values")
        if found is None:
            return [_placeholder(self.text)], []
        return [value_node(*found)], []


class ClaimRole(SphinxRole):
    """{claim}`experiment:name`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        found = look_up(self, "claims")
        if found is None:
            return [_placeholder(self.text)], []
        return claim_nodes(*found), []


def value_node(experiment: str, name: str, record: dict[str, Any]) -> nodes.Node:
    """A number with its unit."""
    return value("", show(record), experiment=experiment, name=name, kind="values", verdict="")


def claim_nodes(experiment: str, name: str, record: dict[str, Any]) -> list[nodes.Node]:
    """A claim's sentence with its verdict."""
    holds = record["holds"]
    sentence = nodes.inline("", "", classes=["benchbook-claim", f"benchbook-{CLASSES[holds]}"])
    # As text: what a notebook prints is data, never markup.
    sentence += nodes.Text(claim_sentence(record))
    said = value("", verdict(holds), experiment=experiment, name=name, kind="claims", verdict=CLASSES[holds])
    sentence += [nodes.Text(" "), said]
    return [sentence]


class ReferenceRole(SphinxRole):
    """{reference}`experiment:name`: the same value in the reference results; a dash where they do not have it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        experiment, _, name = self.text.rpartition(":")
        known = state_of(self.env)["experiments"]
        if experiment not in known:
            error(self, f"reference '{self.text}': there is no experiment '{experiment}'{nearest(experiment, known)}")
            return [], []
        use(self.env, experiment)
        reference = known[experiment]["reference"]
        record = reference.get("values", {}).get(name)
        if record is None:
            return [nodes.inline("", NOT_YET, reftitle="not among the reference results")], []
        where = f"{reference['profile']} profile, {reference['environment']['machine']}, {reference['date']}"
        return [nodes.inline("", show(record), reftitle=where, classes=["benchbook-number"])], []


class Claims(SphinxDirective):
    """A table of every claim of the book, those that do not hold first."""

    def run(self) -> list[nodes.Node]:
        use(self.env, "*")
        rows = []
        for name, entry in state_of(self.env)["experiments"].items():
            for claim, record in entry["results"].get("claims", {}).items():
                link = chapter_link(self.env, name, entry["title"], f"claims-{name}-{claim}")
                rows.append((record["holds"] is not False, [verdict(record["holds"]), claim_sentence(record), link]))
        if not rows:
            return [nodes.paragraph("", "No run has decided a claim yet.")]
        return [table(["in this run", "claim", "chapter"], [row for _, row in sorted(rows, key=lambda r: r[0])])]


def verdict(holds: bool | None) -> str:
    """A claim's verdict as a reader sees it: '✓ holds'."""
    return f"{MARKS[holds]}\u00a0{VERDICTS[holds]}"


def look_up(role: SphinxRole, kind: str) -> tuple[str, str, dict[str, Any]] | None:
    """The record that a role names, or None where its run has not succeeded; a name that is nowhere is an error."""
    experiment, colon, name = role.text.rpartition(":")
    if not colon:
        experiment = role.env.temp_data.get(SPEAKER) or experiment_on(role.env, role.env.docname) or ""
    known = state_of(role.env)["experiments"]
    if experiment not in known:
        error(role, f"{kind[:-1]} '{role.text}': there is no experiment '{experiment}'{nearest(experiment, known)}")
        return None
    use(role.env, experiment)
    entry = known[experiment]
    if entry["state"] != "ok":
        return None
    records = entry["results"][kind]
    if name not in records:
        error(role, f"experiment '{experiment}' records no {kind[:-1]} '{name}'{nearest(name, records)}")
        return None
    return experiment, name, records[name]


@contextlib.contextmanager
def speaking_for(env: BuildEnvironment, experiment: str) -> Iterator[None]:
    """Meanwhile roles that name no experiment mean this one, on whatever page they stand."""
    env.temp_data[SPEAKER] = experiment
    try:
        yield
    finally:
        del env.temp_data[SPEAKER]


def error(role: SphinxRole, text: str) -> None:
    logger.error(text, location=role.get_location())


def _placeholder(text: str) -> nodes.Node:
    """Stands where a number will: on the screen a button that says which run is missing."""
    return value("", NOT_YET, missing=text)


def use(env: BuildEnvironment, experiment: str) -> None:
    """Notes that the page being read depends on an experiment's results ('*': on all)."""
    used = env.metadata[env.docname].setdefault(USED, {})
    used[experiment] = digest(env, experiment)


def digest(env: BuildEnvironment, experiment: str) -> str:
    """The digest of what a page shows of an experiment ('*': of all)."""
    state = state_of(env)
    return hash_text(
        json.dumps(state if experiment == "*" else [state["profile"], state["experiments"].get(experiment)])
    )


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages to read again: those that use results which have changed."""
    return [
        page
        for page, metadata in env.metadata.items()
        if any(digest(env, name) != seen for name, seen in metadata.get(USED, {}).items())
    ]


def begin(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Before pages are read: none has been."""
    env.benchbook_read = set()  # type: ignore[attr-defined]


def plain_titles(app: Sphinx, doctree: nodes.document) -> None:
    """HTML in a title is text, but for what only shows: titles go into menus, cards and the head of a page."""
    for title in doctree.findall(nodes.title):
        for raw in list(title.findall(nodes.raw)):
            if not PLAIN_TAG.fullmatch(raw.astext()):
                raw.replace_self(nodes.Text(raw.astext()))


def add_states(app: Sphinx, doctree: nodes.document) -> None:
    """Puts the state above a chapter and its provenance below; the start page says what has failed."""
    env, page = app.env, app.env.docname
    env.benchbook_read.add(page)  # type: ignore[attr-defined]
    section = next(iter(doctree.findall(nodes.section)), None)
    if section is None:
        return
    if page == app.config.root_doc:
        use(env, "*")
        _mark_start_page(app, section)
    name = experiment_on(env, page)
    if name is None:
        section.append(prose_foot(env, env.metadata[page].get(USED, {})))
        return
    entry = state_of(env)["experiments"][name]
    use(env, name)
    for number, cell in enumerate(n for n in doctree.findall(nodes.container) if n.get("nb_element") == "cell_code"):
        cell["ids"].append(f"cell-{number + 1}")
    opening(doctree, section, entry["cover"])
    section.insert(1, badge(state_of(env)["profile"], entry))
    section.append(chapter_foot(env, name))


def _mark_start_page(app: Sphinx, section: nodes.section) -> None:
    known = state_of(app.env)["experiments"]
    for name, entry in reversed(known.items()):
        if entry["state"] == "failed":
            text = nodes.paragraph("", "", chapter_link(app.env, name, entry["title"]))
            text += nodes.Text(f" failed, and its numbers are missing from this book: {entry['reason']}")
            section.insert(1, nodes.container("", text, classes=["benchbook-badge", "benchbook-state-failed"]))


def plain_context(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Escapes what the theme puts into its pages as it is."""
    for name in ("pagetitle", "root_title", "docstitle"):
        context[name] = escape(str(context.get(name) or ""))


def visit_value(self: Any, node: value) -> None:
    """A button that opens its provenance; a plain link in print."""
    text = html.escape(node.astext())
    if "missing" in node:
        _visit_missing(self, node["missing"])
    anchor = html.escape(f"{node['kind']}-{node['experiment']}-{node['name']}")
    classes = f"benchbook-value benchbook-{node['verdict'] or 'number'}"
    if self.builder.name == "singlehtml":
        there = state_of(self.builder.env)["experiments"][node["experiment"]]["page"] in self.builder.env.found_docs
        tag, href = ("a", f' href="#{anchor}"') if there else ("span", "")
        self.body.append(f'<{tag} class="{classes}"{href}>{text}</{tag}>')
        raise nodes.SkipNode
    lines = provenance_lines(self.builder.env, node)
    entry = state_of(self.builder.env)["experiments"][node["experiment"]]
    if entry["page"] in self.builder.env.found_docs:
        page = self.builder.get_relative_uri(self.builder.current_docname, entry["page"])
        cell = entry["results"][node["kind"]][node["name"]]["cell"]
        links = {f"cell-{cell}": f"cell {cell}", anchor: "in the chapter's list"}
        lines.append(("made in", ", ".join(f'<a href="{page}#{place}">{text}</a>' for place, text in links.items())))
    body = "".join(f'<span class="benchbook-line"><b>{key}</b> {line}</span>' for key, line in lines)
    _popover(self, classes, text, body)
    raise nodes.SkipNode


def _visit_missing(self: Any, name: str) -> None:
    said = f"no run has produced {html.escape(name)} yet"
    if self.builder.name == "singlehtml":
        self.body.append(f'<span class="benchbook-missing">{NOT_YET}</span>')
    else:
        _popover(self, "benchbook-missing", f'{NOT_YET}<span class="visually-hidden"> {said}</span>', said)
    raise nodes.SkipNode


def _popover(self: Any, classes: str, text: str, body: str) -> None:
    """A button that opens a box by the browser's own popover, with no script; a page has every box once."""
    known = self.__dict__.setdefault("benchbook_popovers", {})
    identity, is_new = known.get(body, f"benchbook-{len(known) + 1}"), body not in known
    self.body.append(f'<button class="{classes}" popovertarget="{identity}">{text}</button>')
    if is_new:
        known[body] = identity
        self.body.append(f'<span class="benchbook-popover" popover id="{identity}">{body}</span>')


def announce(app: Sphinx, config: Any) -> None:
    """Every page of a reduced book says so in a bar above it; every page knows the repository that it lies in."""
    file = Path(app.srcdir, "_config.yml")  # Jupyter Book names its own repository where a book names none
    said = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("repository") or {} if file.is_file() else {}
    url, branch = str(said.get("url") or "").rstrip("/").removesuffix(".git"), str(said.get("branch") or "main")
    config.benchbook_repository = (url, branch, str(said.get("path_to_book") or ""))
    path = Path(app.srcdir, config.benchbook_state)
    if path.is_file():
        profile = json.loads(path.read_text(encoding="utf-8"))["profile"]
        if profile["reduced"]:
            text = f"{profile['title']} profile: {profile['note']}".strip()
            config.html_theme_options = {**config.html_theme_options, "announcement": html.escape(text)}


def without_roles(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The bibliography without the roles that docutils gives it: a list may not have what a citation holds."""
    body = context.get("body", "")
    if 'class="citation-list"' in body:
        context["body"] = body.replace(' role="list"', "").replace(' role="doc-biblioentry"', "")


def add_static_files(app: Sphinx) -> None:
    """The style sheet, and MathJax's one file from its package, so that the book opens without a network."""
    target = Path(app.outdir, "_static")
    if app.builder.format == "html":
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(STATIC / "benchbook.css", target)
        if not (target / "tex-svg.js").exists():
            shutil.copy(str(importlib.metadata.distribution(MATHJAX[0]).locate_file(MATHJAX[1])), target)


def add_downloads(app: Sphinx, error: Exception | None) -> None:
    """Puts what the foot of each chapter offers into the site: its notebook with and without outputs, its numbers."""
    if app.builder.format != "html" or app.builder.name == "singlehtml" or error:
        return
    target = Path(app.outdir, DOWNLOADS)
    target.mkdir(parents=True, exist_ok=True)
    known = state_of(app.env)["experiments"]
    wanted = {f"{name}{suffix}" for name in known for suffix in OFFERED}
    for path in target.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, entry in known.items():
        made = entry["page"] not in app.env.benchbook_read and all(  # type: ignore[attr-defined]
            (target / f"{name}{suffix}").is_file() for suffix in OFFERED
        )
        if entry["results"] and entry["page"] in app.env.found_docs and not made:
            notebook = json.loads(Path(app.srcdir, f"{entry['page']}.ipynb").read_text(encoding="utf-8"))
            source, run = without_outputs(notebook), zipped({f"{name}.ipynb": _written(with_links(notebook))})
            contents = {".ipynb.zip": run, "-source.ipynb": _written(source), ".json": _written(entry["results"], None)}
            for suffix in OFFERED:
                (target / f"{name}{suffix}").write_bytes(contents[suffix])


def _written(content: dict[str, Any], indent: int | None = 1) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=indent) + "\n").encode()


def without_outputs(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook as its author keeps it."""
    empty: dict[str, Any] = {"outputs": [], "execution_count": None}
    cells = [{**cell, **(empty if cell["cell_type"] == "code" else {})} for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""

    def unreachable(self: Any, node: value) -> None:
        pass

    PygmentsBridge.html_formatter = Highlighted
    app.add_config_value("benchbook_state", "benchbook.json", "env")
    app.add_config_value("benchbook_front", {}, "")
    app.add_config_value("benchbook_pdf", False, "env")
    app.add_config_value("benchbook_repository", (), "env")
    app.add_node(value, html=(visit_value, unreachable))
    app.add_role("value", ValueRole())
    app.add_role("claim", ClaimRole())
    app.add_role("reference", ReferenceRole())
    app.add_directive("claims", Claims)
    app.add_css_file("benchbook.css")
    app.setup_extension("benchbook.runs_page")
    app.setup_extension("benchbook.answers_page")
    app.setup_extension("benchbook.bench_page")
    app.setup_extension("benchbook.chapters_page")
    app.setup_extension("benchbook.drawings")
    app.setup_extension("benchbook.cells")
    app.setup_extension("benchbook.faults_page")
    app.connect("config-inited", announce)
    app.connect("builder-inited", add_static_files)
    app.connect("env-get-outdated", outdated)
    app.connect("env-before-read-docs", begin)
    app.connect("doctree-read", plain_titles, priority=400)  # before Sphinx collects them
    app.connect("doctree-read", add_states)
    app.connect("html-page-context", plain_context, priority=900)  # after the theme's own
    app.connect("html-page-context", without_roles)
    app.connect("build-finished", add_downloads)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
