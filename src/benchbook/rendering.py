"""Runs Sphinx with Jupyter Book's configuration over a staged source."""

from __future__ import annotations

import errno
import gc
import html
import io
import os
import re
import shutil
from pathlib import Path
from typing import Any

from benchbook.errors import NO_SPACE, BookError

STATE_FILE = "benchbook.json"
DOWNLOADS = "_static/downloads"  # below the site
EXTENSION = "benchbook.site"
SPHINX = {
    "nb_execution_mode": "off",
    "nb_render_markdown_format": "gfm",  # tables that a notebook prints
    "mathjax_path": "tex-svg.js",
    "html_show_search_summary": False,  # it fetches pages, which a browser refuses for file://
    "html_context": {"default_mode": "auto"},  # the theme complains on its console where none is said
    "latex_individualpages": False,  # jupyter-book wants it said
}
WHOLE = ".whole"  # the mark of a build that came to its end
KEPT = ("doctrees", "html", "jupyter_execute", "shown", "singlehtml", "templates")
UNUSED = {"sphinx_thebe"}  # it names a script in the network, twice on the search page


def sphinx(source: Path, target: Path, builder: str, strict: bool, offered: bool = False) -> list[str]:
    """Runs a Sphinx builder over the source, `offered`: with links to the PDF; returns its warnings, a line each.

    Raises BookError where it breaks, OSError where the disk is full. What Sphinx keeps for the next build lies beside
    the target. After a build that did not come to its end nothing of it can be believed, and all is made anew: Sphinx
    takes pages for written that it has only read, and myst-nb takes pictures for whole that are there.
    """
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    gc.set_threshold(50_000)  # a tenth of Sphinx's time goes into looking through documents that all stay
    work = target.parent
    log = io.StringIO()
    error = ""
    _begin(work, builder)
    try:
        config = {**_sphinx_config(source, strict), "benchbook_pdf": offered}
        with patch_docutils(), docutils_namespace():
            places = (source, None, target, work / "doctrees")
            app = Sphinx(*places, builder, config, status=None, warning=log, keep_going=True)
            if builder == "singlehtml":
                app.set_html_assets_policy("always")
            app.build()
        gc.freeze()  # nor does Python's end look through them, which takes a fifth of a small build
    except Exception as raised:  # an extension's own error is as much the author's to mend as a warning
        error = " ".join(f"{type(raised).__name__}: {raised}".split())
    problems = [_plain(line, source) for line in log.getvalue().splitlines() if line.strip()] + [error] * bool(error)
    if any(NO_SPACE in line for line in problems):
        _begin(work, builder)
        raise OSError(errno.ENOSPC, NO_SPACE, str(target))
    (work / f"sphinx-{builder}.log").write_text("\n".join([*problems, ""]))
    if error:
        raise BookError("\n".join(problems))
    if not (problems and strict):  # pages with errors would count as read, and their errors would be forgotten
        (work / WHOLE).touch()
    return problems


def _begin(work: Path, builder: str) -> None:
    """Takes the mark of a whole build off a folder; where there is none, removes what Sphinx has left there.

    But not the site, where the single page of the same book is made after it.
    """
    if (work / WHOLE).is_file():
        (work / WHOLE).unlink()
    else:
        for name in KEPT:
            if (name, builder) != ("html", "singlehtml"):
                shutil.rmtree(work / name, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)


def _sphinx_config(source: Path, strict: bool) -> dict[str, Any]:
    """Sphinx's configuration: Jupyter Book's for this _config.yml, with what the engine needs."""
    from jupyter_book.config import get_final_config

    overrides = {**SPHINX, "nitpicky": strict, "benchbook_state": STATE_FILE}
    config: dict[str, Any]
    config, _ = get_final_config(user_yaml=source / "_config.yml", cli_config=overrides, sourcedir=source)
    for key in ("author", "copyright"):  # the theme puts them into its pages as they are
        config[key] = html.escape(str(config.get(key) or ""), quote=False)
    if not config.get("html_copy_source", True):
        config["html_theme_options"]["use_download_button"] = False  # it offers the page's source, which is not there
    thebe = config["html_theme_options"].get("launch_buttons", {}).get("thebe")
    dropped = {EXTENSION} if thebe else {EXTENSION, *UNUSED}
    config["extensions"] = [name for name in config["extensions"] if name not in dropped] + [EXTENSION]
    folders = (Path(name, inner) for name, inners, _ in os.walk(source) for inner in inners)
    linked = [path.relative_to(source).as_posix() for path in folders if path.is_symlink()]
    config["exclude_patterns"] = [*config["exclude_patterns"], *linked]  # their files are offered, none is a page
    return config


def _plain(line: str, source: Path) -> str:
    """A warning without terminal colours and without the path of the staged source."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line).replace(f"{source}/", "")
