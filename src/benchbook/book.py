"""Builds the book from the runs: Sphinx source, HTML, PDF. No notebook is executed here."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchbook import atomic, built, toc
from benchbook.built import PICTURES, TEXTS, WORK
from benchbook.compare import compare
from benchbook.errors import BookError
from benchbook.fingerprint import Snapshot
from benchbook.folders import fill
from benchbook.notebook import merged
from benchbook.pictures import Compressed, Pictures
from benchbook.plan import Plan
from benchbook.project import FAULTS, Project
from benchbook.reference import FOLDER, faults, read_profile, read_references
from benchbook.rendering import STATE_FILE, sphinx
from benchbook.rows import Comparison
from benchbook.runs_data import publish
from benchbook.sheet import RUNS_FILE, plain_sheet
from benchbook.size import sizes, tidy, warnings
from benchbook.state import State, read_results

PACKAGE = Path(__file__).parent
OTHERS = 8  # runs that a number's provenance lists beside the shown one
UNNAMED = {
    True: "this profile does not name it",
    False: "this profile does not name it, and its outputs are those that it was saved with",
}


def stage(
    project: Project,
    book: Plan,
    states: dict[str, State],
    compared: Iterable[Comparison] = (),
    *,
    target: Path | None = None,
    instead: Mapping[str, str] | None = None,
    pictures: Compressed | None = None,
) -> Path:
    """Lays out the Sphinx source: prose, notebooks with the outputs of their runs, the state of all, runs compared.

    Files are written only where their content changed, so that Sphinx reads only those pages again. What is no text is
    linked, a folder without any text as a whole: there may be many pictures, and large ones. `instead` holds texts that
    take the place of files, for a book that differs from this one in them.
    """
    target, pictures = target or project.build / "source", pictures or Compressed(project.build / PICTURES)
    paths = built.sources(project)
    with_texts = {folder for path in paths if path.suffix in TEXTS for folder in path.parents}
    files: dict[Path, bytes | Path] = {}
    for path in paths:
        if path.suffix in TEXTS:
            files[path.relative_to(project.root)] = path.read_bytes()
        else:
            linked = next((folder for folder in reversed(path.parents) if folder not in with_texts), path)
            files[linked.relative_to(project.root)] = linked
    shown = book.shown()
    for name, path in project.notebooks.items():
        if name in shown or book.strict:
            published = shown.get(name) if name in states and states[name].name in ("ok", "failed") else None
            notebook = pictures.in_notebook(merged(path, published, book.title, trusted=book.trusted))
            files[path.relative_to(project.root)] = json.dumps(notebook, ensure_ascii=False).encode()
    compared = list(compared)
    files[Path(STATE_FILE)] = json.dumps(describe(project, book, states, compared), ensure_ascii=False).encode()
    sheets = {comparison.experiment: plain_sheet(comparison) for comparison in compared}
    files[Path(RUNS_FILE)] = json.dumps(sheets, ensure_ascii=False).encode()
    benches = sorted((project.root / FOLDER).glob("*.json"))  # for the directive {bench}
    files |= {path.relative_to(project.root): path.read_bytes() for path in benches}
    files[Path(FAULTS)] = json.dumps(faults(project.root), ensure_ascii=False).encode()
    files |= {Path(name): text.encode() for name, text in (instead or {}).items()}
    fill(target, files)
    return target


def describe(
    project: Project, book: Plan, states: dict[str, State], compared: Iterable[Comparison] = ()
) -> dict[str, Any]:
    """What the Sphinx extension must know: the profile, and in the toc's order each experiment's state and results.

    With them go its reference results and what its other runs found. An experiment that neither the toc nor the
    profile names is a draft, and no part of the book.
    """
    shown = book.shown()
    references, others = read_references(project.root), {found.experiment: _others(found) for found in compared}
    repeated = read_profile(project.root, book.name) if book.reduced else {}
    places = {page: place for place, page in enumerate(toc.pages(project.root))}
    pages = {name: toc.page_of(path, project.root) for name, path in project.notebooks.items()}
    entries = {}
    for name in sorted(pages, key=lambda name: places.get(pages[name], len(places))):
        if pages[name] not in places and name not in shown:
            continue
        experiment = project.experiment(name)
        state = states.get(name, State("not run", UNNAMED[book.strict]))
        run = shown.get(name)
        results = read_results(run.folder) if run and state.name == "ok" else {}
        entries[name] = {
            "title": experiment.title,
            "cover": experiment.looks.get("cover", ""),
            "headline": experiment.looks.get("headline", ""),
            "page": pages[name],
            "state": state.name,
            "reason": state.reason,
            "parameters": {p.name: [p.type, p.default, p.help] for p in experiment.parameters.values()},
            "changed_parameters": run.changed_parameters if run else {},
            "results": results,
            "reference": references.get(name, {}),
            "repeated": repeated.get(name, {}),
            "others": others.get(name, []),
        }
    profile = {"name": book.name, "title": book.title, "note": book.note, "reduced": book.reduced}
    return {"profile": profile, "experiments": entries}


def _others(found: Comparison) -> list[dict[str, Any]]:
    """The runs that the book does not show, of today's code: what tells each apart, its values and claims."""
    rows = [row for row in found.rows if not row.shown and not row.older]
    return [{"label": found.label(row), "values": row.values, "claims": row.claims} for row in rows[:OTHERS]]


def build(project: Project, book: Plan, how: Mapping[Path, State], digest: str, *, pdf: bool = True) -> str:
    """Builds HTML and PDF; returns what was made, in words.

    how: the state of every run of the plan, by its folder. digest: `built.digest` of these three.
    Raises BookError where Sphinx or Typst cannot make the book.
    """
    html, document = project.build / "html", project.build / "book.pdf"
    began = time.monotonic()
    built.forget(project)
    states = {name: how[run.folder] for name, run in book.shown().items()}
    snapshot = Snapshot()
    compared = [compare(project, name, book, snapshot) for name in states if (project.runs / name).is_dir()]
    pictures = Compressed(project.build / PICTURES)
    source = stage(project, book, states, compared, pictures=pictures)
    pages = toc.pages(project.root)
    chapters = {name for name, path in project.notebooks.items() if toc.page_of(path, project.root) in pages}
    whole = chapters <= states.keys() and all(state.name == "ok" for state in states.values())
    made = project.build / WORK / "html"  # here Sphinx keeps at hand what it need not write again
    offered = pdf and book.strict  # a book that is not strict may turn out to have no PDF
    _stop_at(sphinx(source, made, "html", book.strict, offered), whole, book.strict)
    with atomic.naming(made):
        _finish(project, made, compared, pictures)
    files = [html / "index.html"]
    if pdf and _make_pdf(project, book, source, whole):
        files.append(document)
    atomic.publish(made, html)
    weights = sizes(html, toc.pages(project.root)[0], document if document in files else None)
    for line in warnings(weights):
        print(line, file=sys.stderr)
    built.write(project, digest, ["html", *(path.name for path in files[1:])], pdf, time.monotonic() - began)
    told = ", ".join(f"{name} {size:.1f} MB" for name, size in weights.items())
    return f"{' and '.join(map(str, files))} ({told})"


def _finish(project: Project, made: Path, compared: Iterable[Comparison], pictures: Compressed) -> None:
    """What Sphinx does not do for a site: where it begins, the runs side by side, and nothing that nobody asks for."""
    _add_start_page(project, made)
    if (made / "_static" / "runs").is_dir():  # the extension makes it where a page compares runs
        publish(compared, made / "_static" / "runs", Pictures(made / "_images", pictures))
    pictures.close()
    tidy(made)


def _make_pdf(project: Project, book: Plan, source: Path, whole: bool) -> bool:
    """Makes the PDF; of a book that is not strict it only says why there is none, and returns False."""
    from benchbook.appendix import append_values
    from benchbook.pdf import make_pdf

    single, document = project.build / WORK / "singlehtml", project.build / "book.pdf"
    try:
        _stop_at(sphinx(source, single, "singlehtml", book.strict, book.strict), whole, book.strict)
        known = json.loads((source / STATE_FILE).read_text(encoding="utf-8"))["experiments"]
        make_pdf(single, document, settings(project, book), lambda article: append_values(article, known))
    except BookError as error:
        if book.strict:
            raise
        document.unlink(missing_ok=True)
        print(f"no PDF: {error}", file=sys.stderr)
        return False
    return True


def _stop_at(problems: list[str], whole: bool, strict: bool) -> None:
    """Raises BookError for Sphinx's problems, but for figures that are missing because their run is, which is told.

    A book that is not strict only shows them.
    """
    if not strict:
        print("".join(f"{line}\n" for line in problems), end="", file=sys.stderr)
        return
    serious = [line for line in problems if whole or not re.search(r"undefined label|cross reference", line)]
    if serious:
        raise BookError("\n".join(serious))


def settings(project: Project, book: Plan) -> dict[str, Any]:
    """What the title page says, from _config.yml, and which profile the numbers come from."""
    config = toc.read_yaml(project.root / "_config.yml") or {}
    front = {key: str(config[key]) for key in ("title", "author") if config.get(key)}
    subtitle = f"{book.title} profile" + (f": {book.note}" if book.note else "")
    sphinx_config = (config.get("sphinx") or {}).get("config") or {}
    return {**front, "subtitle": subtitle, **sphinx_config.get("benchbook_front", {})}


def _add_start_page(project: Project, html: Path) -> None:
    """An index.html that leads to the toc's root, where that is another page."""
    root = toc.pages(project.root)[0]
    if root != "index":
        page = f'<!DOCTYPE html><title>…</title><meta http-equiv="Refresh" content="0; url={root}.html">\n'
        (html / "index.html").write_text(page, encoding="utf-8")
