"""Builds the book from the runs: Sphinx source, HTML, PDF. No notebook is executed here."""

from __future__ import annotations

import gc
import html
import io
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchbook import fingerprint, toc
from benchbook.compare import compare
from benchbook.errors import BookError
from benchbook.experiments import code_cells
from benchbook.folders import fill
from benchbook.pictures import Compressed, Pictures
from benchbook.plan import Plan, Project, Run
from benchbook.reference import read_references
from benchbook.rows import Comparison
from benchbook.runs_data import publish
from benchbook.sheet import RUNS_FILE, plain_sheet
from benchbook.size import sizes, tidy, warnings
from benchbook.state import EXECUTED, State, read_results

PACKAGE = Path(__file__).parent
STATE_FILE = "benchbook.json"
EXTENSION = "benchbook.site"
PICTURES = "pictures"  # compressed ones, below the folder of what is made
PAGES = ("_config.yml", "_toc.yml")
SPHINX = {
    "nb_execution_mode": "off",
    "nb_render_markdown_format": "gfm",  # tables that a notebook prints
    "mathjax_path": "tex-svg.js",
    "html_show_search_summary": False,  # it fetches pages, which a browser refuses for file://
    "html_context": {"default_mode": "auto"},  # the theme complains on its console where none is said
    "latex_individualpages": False,  # jupyter-book wants it said
}
OTHERS = 8  # runs that a number's provenance lists beside the shown one
# Texts are copied and compared, so that time stamps do not count.
TEXTS = {".md", ".rst", ".ipynb", ".txt", ".bib", ".py", ".yml"}
UNNAMED = {
    True: "this profile does not name it",
    False: "this profile does not name it, and its outputs are those that it was saved with",
}
UNUSED = {"sphinx_thebe"}  # it names a script in the network, twice on the search page


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
    paths = sources(project)
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
            notebook = pictures.in_notebook(merged(path, published))
            files[path.relative_to(project.root)] = json.dumps(notebook, ensure_ascii=False).encode()
    compared = list(compared)
    files[Path(STATE_FILE)] = json.dumps(describe(project, book, states, compared), ensure_ascii=False).encode()
    sheets = {comparison.experiment: plain_sheet(comparison) for comparison in compared}
    files[Path(RUNS_FILE)] = json.dumps(sheets, ensure_ascii=False).encode()
    files |= {Path(name): text.encode() for name, text in (instead or {}).items()}
    fill(target, files)
    return target


def sources(project: Project) -> list[Path]:
    """The files that a page may be made from: in a plain Jupyter Book all that are not made, else those of `book/`."""
    if toc.is_plain(project.root):
        return list(toc.files(project.root))
    prose = [path for path in sorted((project.root / "book").rglob("*")) if not path.name.startswith(".")]
    return [*(project.root / name for name in PAGES), *filter(Path.is_file, prose), *project.notebooks.values()]


def merged(path: Path, run: Run | None) -> dict[str, Any]:
    """The notebook as it stands, its code cells with the outputs of the run.

    Prose may have changed since the run: its fingerprint holds the code only, and so the cells still match.
    """
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    outputs: list[Any] = []
    if run is not None:
        executed = json.loads((run.folder / EXECUTED).read_text(encoding="utf-8"))
        outputs = [(_readable(cell["outputs"]), cell.get("execution_count")) for cell in code_cells(executed)]
    for number, cell in enumerate(code_cells(notebook)):
        cell["outputs"], cell["execution_count"] = outputs[number] if number < len(outputs) else ([], None)
    return notebook


def _readable(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs without the records, which are for results.json; their texts stand together, a line each."""
    readable: list[dict[str, Any]] = []
    lines: list[str] | None = None
    for output in outputs:
        data = output.get("data", {})
        if not any("vnd.benchbook" in mime for mime in data):
            readable.append(output)
            lines = None
            continue
        if lines is None:
            lines = []
            readable.append({"output_type": "stream", "name": "stdout", "text": lines})
        lines.append("".join(data["text/plain"]) + "\n")
    return readable


def describe(
    project: Project, book: Plan, states: dict[str, State], compared: Iterable[Comparison] = ()
) -> dict[str, Any]:
    """What the Sphinx extension must know: the profile, and in the toc's order each experiment's state and results.

    With them go its reference results and what its other runs found. An experiment that neither the toc nor the
    profile names is a draft, and no part of the book.
    """
    shown = book.shown()
    references, others = read_references(project.root), {found.experiment: _others(found) for found in compared}
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
            "others": others.get(name, []),
        }
    profile = {"name": book.name, "title": book.title, "note": book.note, "reduced": book.reduced}
    return {"profile": profile, "experiments": entries}


def _others(found: Comparison) -> list[dict[str, Any]]:
    """The runs that the book does not show, of today's code: what tells each apart, and its values."""
    rows = [row for row in found.rows if not row.shown and not row.older]
    return [{"label": found.label(row), "values": row.values} for row in rows[:OTHERS]]


def build(project: Project, book: Plan, how: Mapping[Path, State], *, pdf: bool = True) -> str:
    """Builds HTML and PDF where anything changed; returns what was done, in words.

    how: the state of every run of the plan, by its folder. Raises BookError where Sphinx or Typst cannot make the book.
    """
    html, document, marker = project.build / "html", project.build / "book.pdf", project.build / "site.json"
    digest = _digest(project, book, how)
    made = json.loads(marker.read_text()) if marker.is_file() else {}
    if made.get("digest") == digest and (made["pdf"] or not pdf) and all(map(os.path.isfile, made["files"])):
        return "nothing has changed"
    marker.unlink(missing_ok=True)
    states = {name: how[run.folder] for name, run in book.shown().items()}
    compared = [compare(project, name, book) for name in states if (project.runs / name).is_dir()]
    pictures = Compressed(project.build / PICTURES)
    source = stage(project, book, states, compared, pictures=pictures)
    whole = all(state.name == "ok" for state in states.values())
    _stop_at(sphinx(source, html, "html", book.strict), whole, book.strict)
    _add_start_page(project, html)
    if (html / "_static" / "runs").is_dir():  # the extension makes it where a page compares runs
        publish(compared, html / "_static" / "runs", Pictures(html / "_images", pictures))
    pictures.close()
    tidy(html)
    files = [str(html / "index.html")]
    if pdf and _make_pdf(project, book, source, whole):
        files.append(str(document))
    found = sizes(html, toc.pages(project.root)[0], document if str(document) in files else None)
    for line in warnings(found):
        print(line, file=sys.stderr)
    marker.write_text(json.dumps({"digest": digest, "pdf": pdf, "files": files}))
    return f"{' and '.join(files)} ({', '.join(f'{name} {size:.1f} MB' for name, size in found.items())})"


def _make_pdf(project: Project, book: Plan, source: Path, whole: bool) -> bool:
    """Makes the PDF; of a book that is not strict it only says why there is none, and returns False."""
    from benchbook.appendix import append_values
    from benchbook.pdf import make_pdf

    single, document = project.build / "singlehtml", project.build / "book.pdf"
    try:
        _stop_at(sphinx(source, single, "singlehtml", book.strict), whole, book.strict)
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


def sphinx(source: Path, target: Path, builder: str, strict: bool) -> list[str]:
    """Runs a Sphinx builder over the source; returns its warnings, a line each; raises BookError where it breaks."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    gc.set_threshold(50_000)  # a tenth of Sphinx's time goes into looking through documents that all stay
    doctrees = target.parent / "doctrees"
    log = io.StringIO()
    error = ""
    try:
        config = _sphinx_config(source, strict)
        with patch_docutils(), docutils_namespace():
            app = Sphinx(source, None, target, doctrees, builder, config, status=None, warning=log, keep_going=True)
            if builder == "singlehtml":
                app.set_html_assets_policy("always")
            app.build()
    except Exception as raised:  # an extension's own error is as much the author's to mend as a warning
        error = " ".join(f"{type(raised).__name__}: {raised}".split())
    problems = [_plain(line, source) for line in log.getvalue().splitlines() if line.strip()] + [error] * bool(error)
    (target.parent / f"sphinx-{builder}.log").write_text("\n".join([*problems, ""]))
    if error or (problems and strict):
        # Pages with errors would count as read in the next build, and their errors would be forgotten.
        shutil.rmtree(doctrees, ignore_errors=True)
    if error:
        raise BookError("\n".join(problems))
    return problems


def _sphinx_config(source: Path, strict: bool) -> dict[str, Any]:
    """Sphinx's configuration: Jupyter Book's for this _config.yml, with what the engine needs."""
    from jupyter_book.config import get_final_config

    overrides = {**SPHINX, "nitpicky": strict, "benchbook_state": STATE_FILE}
    config: dict[str, Any]
    config, _ = get_final_config(user_yaml=source / "_config.yml", cli_config=overrides, sourcedir=source)
    for key in ("author", "copyright"):  # the theme puts them into its pages as they are
        config[key] = html.escape(str(config.get(key) or ""), quote=False)
    thebe = config["html_theme_options"].get("launch_buttons", {}).get("thebe")
    dropped = {EXTENSION} if thebe else {EXTENSION, *UNUSED}
    config["extensions"] = [name for name in config["extensions"] if name not in dropped] + [EXTENSION]
    folders = (Path(name, inner) for name, inners, _ in os.walk(source) for inner in inners)
    linked = [path.relative_to(source).as_posix() for path in folders if path.is_symlink()]
    config["exclude_patterns"] = [*config["exclude_patterns"], *linked]  # their files are offered, none is a page
    return config


def settings(project: Project, book: Plan) -> dict[str, Any]:
    """What the title page says, from _config.yml, and which profile the numbers come from."""
    import yaml

    config = yaml.safe_load((project.root / "_config.yml").read_text(encoding="utf-8")) or {}
    front = {key: str(config[key]) for key in ("title", "author") if config.get(key)}
    subtitle = f"{book.title} profile" + (f": {book.note}" if book.note else "")
    sphinx_config = (config.get("sphinx") or {}).get("config") or {}
    return {**front, "subtitle": subtitle, **sphinx_config.get("benchbook_front", {})}


def _digest(project: Project, book: Plan, how: Mapping[Path, State]) -> str:
    """The digest of all that decides the site: prose, notebooks, runs, this engine, and the Sphinx that renders it."""
    prose = (f"{path} {_content(path)}" for path in sources(project))
    files = [*sorted(project.runs.glob("*/*/status.json")), *sorted((project.root / "reference").glob("*/*.json"))]
    engine = [*sorted(PACKAGE.glob("*.py")), *sorted((PACKAGE / "static").iterdir())]
    versions = [fingerprint.version(name) for name in ("sphinx", "jupyter-book", "myst-nb", "sphinx-book-theme")]
    parts = [
        *prose,
        *(f"{path} {fingerprint.hash_file(path)}" for path in [*files, *engine] if path.is_file()),
        *(f"{run.folder} {run.shown} {how[run.folder]}" for run in book.runs),
        *versions,
        f"{book.name} {book.title} {book.note} {book.reduced} {book.strict}",
    ]
    return fingerprint.hash_text("\n".join(parts))


def _content(path: Path) -> str:
    """The digest of a text; of anything else, which may be large and is no page, its size and time stamp."""
    if path.suffix in TEXTS:
        return fingerprint.hash_file(path)
    found = path.stat()
    return "folder" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} {found.st_mtime_ns}"


def _add_start_page(project: Project, html: Path) -> None:
    """An index.html that leads to the toc's root, where that is another page."""
    root = toc.pages(project.root)[0]
    if root != "index":
        page = f'<!DOCTYPE html><title>…</title><meta http-equiv="Refresh" content="0; url={root}.html">\n'
        (html / "index.html").write_text(page, encoding="utf-8")


def _plain(line: str, source: Path) -> str:
    """A warning without terminal colours and without the path of the staged source."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line).replace(f"{source}/", "")
