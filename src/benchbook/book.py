"""Builds the book from the runs: Sphinx source, HTML, PDF. No notebook is executed here."""

from __future__ import annotations

import gc
import io
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchbook import experiments, fingerprint, plan
from benchbook.compare import compare
from benchbook.errors import BookError
from benchbook.experiments import code_cells
from benchbook.plan import Plan, Project, Run
from benchbook.rows import Comparison
from benchbook.runs_data import publish
from benchbook.sheet import RUNS_FILE, plain_sheet
from benchbook.state import EXECUTED, State, read_results

PACKAGE = Path(__file__).parent
STATE_FILE = "benchbook.json"
PAGES = ("_config.yml", "_toc.yml")
SPHINX = {
    "nb_execution_mode": "off",
    "nb_render_markdown_format": "gfm",  # tables that a notebook prints
    "nitpicky": True,
    "mathjax_path": "tex-svg.js",
    "html_show_search_summary": False,  # it fetches pages, which a browser refuses for file://
    "html_context": {"default_mode": "auto"},  # the theme complains on its console where none is said
    "latex_individualpages": False,  # jupyter-book wants it said
}
UNUSED = {"sphinx_thebe"}  # it names a script in the network, twice on the search page


def stage(project: Project, book: Plan, states: dict[str, State], compared: Iterable[Comparison] = ()) -> Path:
    """Lays out the Sphinx source: prose, notebooks with the outputs of their runs, the state of all, runs compared.

    Files are written only where their content changed, so that Sphinx reads only those pages again.
    """
    target = project.build / "source"
    files = {Path(name): (project.root / name).read_bytes() for name in PAGES}
    for path in sorted((project.root / "book").rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            files[path.relative_to(project.root)] = path.read_bytes()
    shown = book.shown()
    for name, path in experiments.notebooks(project.root).items():
        published = shown.get(name) if name in states and states[name].name in ("ok", "failed") else None
        notebook = merged(path, published)
        files[path.relative_to(project.root)] = json.dumps(notebook, ensure_ascii=False).encode()
    files[Path(STATE_FILE)] = json.dumps(describe(project, book, states), ensure_ascii=False).encode()
    sheets = {comparison.experiment: plain_sheet(comparison) for comparison in compared}
    files[Path(RUNS_FILE)] = json.dumps(sheets, ensure_ascii=False).encode()
    for path in target.rglob("*"):
        if path.is_file() and path.relative_to(target) not in files:
            path.unlink()
    for relative, content in files.items():
        path = target / relative
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return target


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


def describe(project: Project, book: Plan, states: dict[str, State]) -> dict[str, Any]:
    """What the Sphinx extension must know: the profile, and each experiment's state, parameters and results."""
    shown = book.shown()
    entries = {}
    for name, path in experiments.notebooks(project.root).items():
        experiment = plan.read_experiment(path)
        state = states.get(name, State("not run", "this profile does not name it"))
        run = shown.get(name)
        results = read_results(run.folder) if run and state.name == "ok" else {}
        entries[name] = {
            "title": experiment.title,
            "page": path.relative_to(project.root).with_suffix("").as_posix(),
            "state": state.name,
            "reason": state.reason,
            "parameters": {p.name: [p.type, p.default, p.help] for p in experiment.parameters.values()},
            "changed_parameters": run.changed_parameters if run else {},
            "results": results,
        }
    profile = {"name": book.name, "title": book.title, "note": book.note, "reduced": book.reduced}
    return {"profile": profile, "experiments": entries}


def build(project: Project, book: Plan, how: Mapping[Path, State], *, pdf: bool = True) -> str:
    """Builds HTML and PDF where anything changed; returns what was done, in words.

    how: the state of every run of the plan, by its folder. Raises BookError where Sphinx or Typst cannot make the book.
    """
    html, document, marker = project.build / "html", project.build / "book.pdf", project.build / "site.json"
    digest = _digest(project, book, how)
    made = json.loads(marker.read_text()) if marker.is_file() else {}
    wanted = [html / "index.html", *([document] if pdf else [])]
    if made.get("digest") == digest and (made["pdf"] or not pdf) and all(path.is_file() for path in wanted):
        return "nothing has changed"
    marker.unlink(missing_ok=True)
    states = {name: how[run.folder] for name, run in book.shown().items()}
    compared = [compare(project, name, book) for name in states if (project.runs / name).is_dir()]
    source = stage(project, book, states, compared)
    whole = all(state.name == "ok" for state in states.values())
    _stop_at(sphinx(source, html, "html"), whole)
    _add_start_page(project, html)
    if (html / "_static" / "runs").is_dir():  # the extension makes it where a page compares runs
        publish(compared, html / "_static" / "runs")
    if pdf:
        from benchbook.pdf import make_pdf

        single = project.build / "singlehtml"
        _stop_at(sphinx(source, single, "singlehtml"), whole)
        make_pdf(single, document, settings(project, book))
    marker.write_text(json.dumps({"digest": digest, "pdf": pdf}))
    return f"{html / 'index.html'}" + (f" and {document}" if pdf else "")


def _stop_at(problems: list[str], whole: bool) -> None:
    """Raises BookError for Sphinx's problems, but for figures that are missing because their run is, which is told."""
    serious = [line for line in problems if whole or not re.search(r"undefined label|cross reference", line)]
    if serious:
        raise BookError("\n".join(serious))


def sphinx(source: Path, target: Path, builder: str) -> list[str]:
    """Runs a Sphinx builder over the source; returns its warnings, a line each, which are errors here."""
    from jupyter_book.config import get_final_config
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    overrides = {**SPHINX, "benchbook_state": STATE_FILE}
    config, _ = get_final_config(user_yaml=source / "_config.yml", cli_config=overrides, sourcedir=source)
    config["extensions"] = [name for name in config["extensions"] if name not in UNUSED]
    gc.set_threshold(50_000)  # a tenth of Sphinx's time goes into looking through documents that all stay
    doctrees = target.parent / "doctrees"
    log = io.StringIO()
    error = ""
    try:
        with patch_docutils(), docutils_namespace():
            app = Sphinx(source, None, target, doctrees, builder, config, status=None, warning=log, keep_going=True)
            if builder == "singlehtml":
                app.set_html_assets_policy("always")
            if "numbered: true" in (source / "_toc.yml").read_text(encoding="utf-8"):
                app.setup_extension("sphinx_multitoc_numbering")
            app.build()
    except Exception as raised:  # an extension's own error is as much the author's to mend as a warning
        error = f"{type(raised).__name__}: {raised}"
    problems = [_plain(line, source) for line in log.getvalue().splitlines() if line.strip()] + [error] * bool(error)
    (target.parent / f"sphinx-{builder}.log").write_text("\n".join([*problems, ""]))
    if problems:
        # Pages with errors would count as read in the next build, and their errors would be forgotten.
        shutil.rmtree(doctrees, ignore_errors=True)
    return problems


def settings(project: Project, book: Plan) -> dict[str, Any]:
    """What the title page says, from _config.yml, and which profile the numbers come from."""
    import yaml

    config = yaml.safe_load((project.root / "_config.yml").read_text(encoding="utf-8"))
    front = {key: str(config[key]) for key in ("title", "author") if config.get(key)}
    subtitle = f"{book.title} profile" + (f": {book.note}" if book.note else "")
    return {**front, "subtitle": subtitle, **config.get("sphinx", {}).get("config", {}).get("benchbook_front", {})}


def _digest(project: Project, book: Plan, how: Mapping[Path, State]) -> str:
    """The digest of all that decides the site: prose, notebooks, runs, this engine, and the Sphinx that renders it."""
    prose = [project.root / name for name in PAGES] + sorted((project.root / "book").rglob("*"))
    files = [*prose, *experiments.notebooks(project.root).values(), *sorted(project.runs.glob("*/*/status.json"))]
    engine = [*sorted(PACKAGE.glob("*.py")), *sorted((PACKAGE / "static").iterdir())]
    versions = [fingerprint.version(name) for name in ("sphinx", "jupyter-book", "myst-nb", "sphinx-book-theme")]
    parts = [
        *(f"{path} {fingerprint.hash_file(path)}" for path in [*files, *engine] if path.is_file()),
        *(f"{run.folder} {run.shown} {how[run.folder]}" for run in book.runs),
        *versions,
        f"{book.name} {book.title} {book.note} {book.reduced}",
    ]
    return fingerprint.hash_text("\n".join(parts))


def _add_start_page(project: Project, html: Path) -> None:
    """An index.html that leads to the toc's root, where that is another page."""
    root = re.search(r"(?m)^root:\s*(\S+)", (project.root / "_toc.yml").read_text(encoding="utf-8"))
    if root and root[1] != "index":
        page = f'<!DOCTYPE html><title>…</title><meta http-equiv="Refresh" content="0; url={root[1]}.html">\n'
        (html / "index.html").write_text(page, encoding="utf-8")


def _plain(line: str, source: Path) -> str:
    """A warning without terminal colours and without the path of the staged source."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line).replace(f"{source}/", "")
