"""What a site offers to take away of each chapter: its notebook with and without outputs, its numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from benchbook.compression import zipped
from benchbook.foot import OFFERED
from benchbook.pictures import with_links
from benchbook.provenance import state_of
from benchbook.rendering import DOWNLOADS


def begin(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Before pages are read: none has been."""
    env.benchbook_read = set()  # type: ignore[attr-defined]


def note(app: Sphinx, doctree: nodes.document) -> None:
    """A page has been read."""
    app.env.benchbook_read.add(app.env.docname)  # type: ignore[attr-defined]


def add_downloads(app: Sphinx, error: Exception | None) -> None:
    """Puts what the foot of each chapter offers into the site, anew where the chapter has been read."""
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
    app.connect("env-before-read-docs", begin)
    app.connect("doctree-read", note)
    app.connect("build-finished", add_downloads)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
