"""The page that lays runs side by side: the directive {runs}, its plain tables, and where its script comes in.

The engine leaves `runs.json` beside the source; pages with the directive are read again when that file has changed.
"""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from benchbook.fingerprint import hash_text
from benchbook.provenance import chapter_link, state_of, table
from benchbook.sheet import RUNS_FILE

STATIC = Path(__file__).parent / "static"
USED = "benchbook_runs"  # in the metadata of a page with the directive: the digest of the file that it was made from


class comparison(nodes.General, nodes.Element):
    """The place where the script puts an experiment's tables, curves and pictures; nothing in print."""


class Runs(SphinxDirective):
    """{runs}: a section for each experiment with several runs."""

    def run(self) -> list[nodes.Node]:
        text = _read(self.env)
        self.env.metadata[self.env.docname][USED] = hash_text(text)
        sheets: dict[str, dict[str, Any]] = json.loads(text)
        known = {name: sheet for name, sheet in sheets.items() if name in state_of(self.env)["experiments"]}
        found: list[nodes.Node] = [self.section(name, s) for name, s in known.items() if s["runs"] > 1]
        single = [name for name, sheet in known.items() if sheet["runs"] == 1]
        if single:
            links = [node for name in single for node in (nodes.Text(", "), self.link(name))][1:]
            words = nodes.Text("With a single run, and so nothing to compare yet: ")
            found.insert(0, nodes.paragraph("", "", words, *links, nodes.Text(".")))
        return found or [nodes.paragraph("", "There is no run yet.")]

    def section(self, name: str, sheet: dict[str, Any]) -> nodes.Node:
        """An experiment's section: a plain table, which the script replaces by one that answers."""
        title = state_of(self.env)["experiments"][name]["title"]
        section = nodes.section("", nodes.title("", title), ids=[nodes.make_id(f"runs-of-{name}")], names=[])
        section += nodes.paragraph("", "", nodes.Text(f"{sheet['runs']} runs of "), self.link(name), nodes.Text("."))
        box = nodes.container("", classes=["benchbook-runs-plain"])
        # Sphinx would make curly quotes of straight ones, which are part of a parameter.
        rows = ([nodes.inline("", cell, support_smartquotes=False) for cell in row] for row in sheet["rows"])
        box += table([_broken(title) for title in sheet["titles"]], rows)
        notes = ["✓ holds, ✗ does not hold, ≈ too close to call."] * sheet["signs"]
        notes += [f"Not in this table: {', '.join(sheet['left_out'])}."] * bool(sheet["left_out"])
        if notes:
            box += nodes.paragraph("", " ".join(notes))
        section += nodes.container("", box, comparison(experiment=name, version=sheet["version"]))
        return section

    def link(self, name: str) -> nodes.Node:
        return chapter_link(self.env, name, state_of(self.env)["experiments"][name]["title"])


def _broken(name: str) -> nodes.Node:
    """A name on several lines, so that its column is narrow."""
    parts = name.replace("_", "_\u200b ").split(" ")
    lines = [node for part in parts for node in (nodes.raw("", "<br>", format="html"), nodes.Text(part))]
    return nodes.inline("", "", *lines[1:])


def visit_comparison(self: Any, node: comparison) -> None:
    """The script, once a page, and the data of this experiment, each a file beside the page."""
    if self.builder.name != "html":
        raise nodes.SkipNode
    static = "../" * self.builder.current_docname.count("/") + "_static/"
    scripts = [f"runs/{quote(node['experiment'])}.js?v={node['version']}"]
    if not getattr(self, "benchbook_compares", False):
        self.benchbook_compares = True
        scripts.insert(0, f"compare.js?v={hash_text((STATIC / 'compare.js').read_text(encoding='utf-8'))[:8]}")
    name = html.escape(node["experiment"])
    self.body.append(f'<div class="benchbook-compare" data-experiment="{name}" data-pictures="{static}../_images/">')
    self.body.append("</div>" + "".join(f'<script src="{static}{script}" defer></script>' for script in scripts))
    raise nodes.SkipNode


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages with the directive, where the runs have changed since they were read."""
    now = hash_text(_read(env))
    return [page for page, metadata in env.metadata.items() if metadata.get(USED, now) != now]


def add_script(app: Sphinx, error: Exception | None) -> None:
    """Copies the script, and makes the folder that the engine fills, where a page has the directive."""
    if app.builder.name != "html" or error:
        return
    target = Path(app.outdir, "_static")
    if any(USED in metadata for metadata in app.env.metadata.values()):
        (target / "runs").mkdir(parents=True, exist_ok=True)
        shutil.copy(STATIC / "compare.js", target)
    else:
        shutil.rmtree(target / "runs", ignore_errors=True)


def _read(env: BuildEnvironment) -> str:
    path = Path(env.srcdir, RUNS_FILE)
    return path.read_text(encoding="utf-8") if path.is_file() else "{}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""

    def unreachable(self: Any, node: comparison) -> None:
        pass

    app.add_node(comparison, html=(visit_comparison, unreachable))
    app.add_directive("runs", Runs)
    app.connect("env-get-outdated", outdated)
    app.connect("build-finished", add_script)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
