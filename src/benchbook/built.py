"""What the last build has made of the book, and whether it still is what a build would make."""

from __future__ import annotations

import functools
import json
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchbook import atomic, fingerprint, seals, toc
from benchbook.plan import Plan
from benchbook.project import FAULTS, Project
from benchbook.state import State

PACKAGE = Path(__file__).parent
MARKER = "site.json"
PAGES = ("_config.yml", "_toc.yml")
KEYS = {"digest", "engine", "pdf", "files", "kept", "seconds"}
WORK = "sphinx"  # what Sphinx writes, and keeps for the next build
PICTURES = "pictures"  # compressed ones
KEPT = (WORK, PICTURES)
# Texts are copied and compared, so that time stamps do not count.
TEXTS = {".md", ".rst", ".ipynb", ".txt", ".bib", ".py", ".yml"}


def read(project: Project) -> dict[str, Any]:
    """What the last build that came to its end has made; {} where there is none, or its word is damaged.

    With the keys digest, pdf, seconds, and the digests of the files that it has shown and of those that it has kept.
    """
    try:
        made: dict[str, Any] = json.loads((project.build / MARKER).read_text(encoding="utf-8"))
        return made if made.keys() == KEYS else {}
    except (OSError, ValueError, AttributeError):
        return {}


def is_current(project: Project, made: Mapping[str, Any], digest: str, pdf: bool) -> bool:
    """Whether this is what a build of that digest would make, and all of it is still as it was made."""
    same = made.get("digest") == digest and (made["pdf"] or not pdf)
    return same and not seals.damaged(project.build, made["files"])


def expected_seconds(project: Project, book: Plan, how: Mapping[Path, State], *, pdf: bool = True) -> float | None:
    """How long the pages took in the last build, 0 where they are there as they should be; None where nobody knows."""
    made = read(project)
    return 0.0 if is_current(project, made, digest(project, book, how), pdf) else made.get("seconds")


def forget(project: Project) -> None:
    """Begins a build: the last one's word goes.

    With it goes all that it has kept, if anything of that is damaged, or has been made by another engine.
    """
    made, marker = read(project), project.build / MARKER
    if marker.is_file() and (not made or made["engine"] != engine() or seals.damaged(project.build, made["kept"])):
        for name in KEPT:
            shutil.rmtree(project.build / name, ignore_errors=True)
    marker.unlink(missing_ok=True)


def write(project: Project, digest: str, shown: Iterable[str], pdf: bool, seconds: float) -> None:
    """Ends a build that has made these files and folders."""
    files, kept = (seals.seal(project.build, names) for names in (shown, KEPT))
    made = {
        "digest": digest,
        "engine": engine(),
        "pdf": pdf,
        "files": files,
        "kept": kept,
        "seconds": round(seconds, 1),
    }
    atomic.write(project.build / MARKER, json.dumps(made).encode())


def digest(project: Project, book: Plan, how: Mapping[Path, State]) -> str:
    """The digest of all that decides the site: prose, notebooks, runs, this engine, and the Sphinx that renders it."""
    known = [*sorted((project.root / "reference").rglob("*.json")), project.build / FAULTS]
    files = [*sorted(project.runs.glob("*/*/status.json")), *known]
    parts = [
        *(f"{path} {_content(path)}" for path in sources(project)),
        *(f"{path} {fingerprint.hash_file(path)}" for path in files if path.is_file()),
        *(f"{run.folder} {run.shown} {how[run.folder]}" for run in book.runs),
        engine(),
        f"{book.name} {book.title} {book.note} {book.reduced} {book.strict} {book.trusted}",
    ]
    return fingerprint.hash_text("\n".join(parts))


def sources(project: Project) -> list[Path]:
    """The files that a page may be made from: in a plain Jupyter Book all that are not made, else those of `book/`."""
    if toc.is_plain(project.root):
        return list(toc.files(project.root))
    prose = [path for path in sorted((project.root / "book").rglob("*")) if not path.name.startswith(".")]
    return [*(project.root / name for name in PAGES), *filter(Path.is_file, prose), *project.notebooks.values()]


@functools.cache  # the code that runs stays what it is
def engine() -> str:
    """The digest of what renders: this package, and the versions of what it renders with."""
    files = sorted(path for folder in (PACKAGE, PACKAGE / "static") for path in folder.iterdir() if path.is_file())
    versions = [
        fingerprint.version(name) for name in ("sphinx", "jupyter-book", "myst-nb", "sphinx-book-theme", "typst")
    ]
    return fingerprint.hash_text(
        "\n".join([*(f"{path.name} {fingerprint.hash_file(path)}" for path in files), *versions])
    )


def _content(path: Path) -> str:
    """The digest of a text; of anything else, which may be large and is no page, its size and time stamp."""
    if path.suffix in TEXTS:
        return fingerprint.hash_file(path)
    found = path.stat()
    return "folder" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} {found.st_mtime_ns}"
