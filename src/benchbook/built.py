"""What the last build has made of the book, and whether it still is what a build would make."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchbook import fingerprint
from benchbook.plan import Plan, Project
from benchbook.state import State

PACKAGE = Path(__file__).parent
MARKER = "site.json"
# Texts are copied and compared, so that time stamps do not count.
TEXTS = {".md", ".rst", ".ipynb", ".txt", ".bib", ".py", ".yml"}


def read(project: Project) -> dict[str, Any]:
    """What the last build that came to its end has made: digest, files, seconds; {} where there is none."""
    marker = project.build / MARKER
    made: dict[str, Any] = json.loads(marker.read_text()) if marker.is_file() else {}
    return made


def is_current(made: Mapping[str, Any], digest: str, pdf: bool) -> bool:
    """Whether this is what a build of that digest would make."""
    return made.get("digest") == digest and (made["pdf"] or not pdf) and all(map(os.path.isfile, made["files"]))


def digest(project: Project, book: Plan, how: Mapping[Path, State], sources: Iterable[Path]) -> str:
    """The digest of all that decides the site: prose, notebooks, runs, this engine, and the Sphinx that renders it."""
    prose = (f"{path} {_content(path)}" for path in sources)
    files = [*sorted(project.runs.glob("*/*/status.json")), *sorted((project.root / "reference").rglob("*.json"))]
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
