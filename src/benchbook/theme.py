"""What is mended in the theme's pages: titles that are text, plain code, a bar above a reduced book, no network."""

from __future__ import annotations

import html
import importlib.metadata
import json
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from jinja2 import FileSystemBytecodeCache
from markupsafe import escape
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.token import Name, Punctuation  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.highlighting import PygmentsBridge

from benchbook.toc import read_yaml

STATIC = Path(__file__).parent / "static"
MATHJAX = ("sphinx-mathjax-offline", "sphinx-mathjax-offline/static/mathjax/tex-svg.js")
PLAIN = (Name, Punctuation)  # a third of a page of code would be marks around these
PLAIN_TAG = re.compile(r"</?(b|i|em|strong|sub|sup|br|code|small)\s*/?>")


class Highlighted(HtmlFormatter):
    """Code without marks around names and punctuation, which every style shows as the text that they are."""

    def _get_css_classes(self, ttype: Any) -> str:
        return "" if ttype in PLAIN else str(super()._get_css_classes(ttype))


def plain_titles(app: Sphinx, doctree: nodes.document) -> None:
    """HTML in a title is text, but for what only shows: titles go into menus, cards and the head of a page."""
    for title in doctree.findall(nodes.title):
        for raw in list(title.findall(nodes.raw)):
            if not PLAIN_TAG.fullmatch(raw.astext()):
                raw.replace_self(nodes.Text(raw.astext()))


def plain_context(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Escapes what the theme puts into its pages as it is."""
    for name in ("pagetitle", "root_title", "docstitle"):
        context[name] = escape(str(context.get(name) or ""))


def without_roles(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The bibliography without the roles that docutils gives it: a list may not have what a citation holds."""
    body = context.get("body", "")
    if 'class="citation-list"' in body:
        context["body"] = body.replace(' role="list"', "").replace(' role="doc-biblioentry"', "")


def announce(app: Sphinx, config: Any) -> None:
    """Every page of a reduced book says so in a bar above it; every page knows the repository that it lies in."""
    file = Path(app.srcdir, "_config.yml")  # Jupyter Book names its own repository where a book names none
    said = (read_yaml(file) or {}).get("repository") or {} if file.is_file() else {}
    url, branch = str(said.get("url") or "").rstrip("/").removesuffix(".git"), str(said.get("branch") or "main")
    config.benchbook_repository = (url, branch, str(said.get("path_to_book") or ""))
    path = Path(app.srcdir, config.benchbook_state)
    if path.is_file():
        profile = json.loads(path.read_text(encoding="utf-8"))["profile"]
        if profile["reduced"]:
            text = f"{profile['title']} profile: {profile['note']}".strip()
            config.html_theme_options = {**config.html_theme_options, "announcement": html.escape(text)}


def add_static_files(app: Sphinx) -> None:
    """The style sheet, and MathJax's one file from its package, so that the book opens without a network."""
    target = Path(app.outdir, "_static")
    if app.builder.format == "html":
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(STATIC / "benchbook.css", target)
        if not (target / "tex-svg.js").exists():
            shutil.copy(str(importlib.metadata.distribution(MATHJAX[0]).locate_file(MATHJAX[1])), target)


def keep_templates(app: Sphinx) -> None:
    """The theme's templates, compiled once for all builds: that takes as long as to write two pages with them."""
    if templates := getattr(app.builder, "templates", None):
        folder = Path(app.doctreedir).parent / "templates"
        folder.mkdir(exist_ok=True)
        templates.environment.bytecode_cache = FileSystemBytecodeCache(str(folder))


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    PygmentsBridge.html_formatter = Highlighted
    app.add_config_value("benchbook_repository", (), "env")
    app.add_css_file("benchbook.css")
    app.connect("config-inited", announce)
    app.connect("builder-inited", add_static_files)
    app.connect("builder-inited", keep_templates)
    app.connect("doctree-read", plain_titles, priority=400)  # before Sphinx collects them
    app.connect("html-page-context", plain_context, priority=900)  # after the theme's own
    app.connect("html-page-context", without_roles)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
