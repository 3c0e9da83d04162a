"""What a book's folder holds: its YAML, the pages that _toc.yml names, and every file that a page may refer to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchbook.errors import BookError

SUFFIXES = (".ipynb", ".md", ".rst")  # of pages, which a toc may leave out
FOLDERS = {"book", "experiments"}  # where the pages of a book are that was not adopted
PASSED_BY = {"_build", "node_modules", "__pycache__"}  # no page lies in these, nor in hidden folders
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # mark a folder as a Python of its own
WILDCARDS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where the library is there
LARGEST = 100_000  # what a YAML file may say, in values; one that refers to itself has no end


def contents(root: Path) -> dict[str, Any]:
    """What _toc.yml says; raises BookError where it is no table of contents of Jupyter Book 1."""
    path = root / "_toc.yml"
    found = _parsed(path, _text(path))
    if not isinstance(found, dict) or not isinstance(found.get("root"), str):
        raise BookError(f"{path} names no root page: `jupyter-book toc migrate {path}` mends one of Jupyter Book 0")
    return found


def pages(root: Path) -> list[str]:
    """The pages of the book in its order, without their suffixes."""
    toc = contents(root)
    entries = list(_entries(toc))
    known: list[str] = []
    if any(kind == "glob" for kind, _ in entries):
        known = sorted(page_of(path, root) for path in files(root) if path.suffix in SUFFIXES)
    found = dict.fromkeys([_bare(toc["root"])])
    for kind, name in entries:
        found |= dict.fromkeys([_bare(name)] if kind == "file" else filter(_expression(name).fullmatch, known))
    for page in found:
        if page.startswith("/") or ".." in page.split("/") or not page.isprintable():
            raise BookError(f"{root / '_toc.yml'}: {page!r} is no page of this book: name files below its folder")
    return list(found)


def pages_below(part: Mapping[str, Any]) -> list[str]:
    """The pages that one part of a toc names, in its order."""
    return [_bare(name) for kind, name in _entries(part) if kind == "file"]


def page_of(path: Path, root: Path) -> str:
    """The name of the page that a file holds."""
    return path.relative_to(root).with_suffix("").as_posix()


def is_plain(root: Path) -> bool:
    """Whether this is a Jupyter Book as others lay it out, with pages outside `book/` and `experiments/`."""
    return not (root / "experiments").is_dir() or any(page.split("/")[0] not in FOLDERS for page in pages(root))


def files(root: Path) -> Iterator[Path]:
    """Every file below a book's root but those that are hidden or made; links to folders are followed, each once.

    `runs/` is passed by, and `data/` comes as one folder, unseen, unless the toc names pages in them.
    """
    with_pages = {name.split("/")[0] for _, name in _entries(contents(root))}
    seen: set[Path] = set()
    for name, folders, names in os.walk(root, followlinks=True):
        folder = Path(name)
        kept = []
        for inner in sorted(folders):
            path = folder / inner
            if folder == root and inner in {"runs", "data"} - with_pages:
                yield from [path] if inner == "data" else []
            elif _may_hold_pages(path, root, seen):
                kept.append(inner)
        folders[:] = kept
        named = (folder / file for file in sorted(names) if not file.startswith("."))
        yield from filter(Path.is_file, named)  # no link that leads nowhere, no socket


def _may_hold_pages(folder: Path, root: Path, seen: set[Path]) -> bool:
    if folder.name.startswith(".") or folder.name in PASSED_BY:
        return False
    if folder.is_symlink():
        real = folder.resolve()
        if real in seen or root.resolve().is_relative_to(real):
            return False
        seen.add(real)
    return not any((folder / marker).exists() for marker in ENVIRONMENTS)


def _entries(entry: Any) -> Iterator[tuple[str, str]]:
    """Every ('file', name) and ('glob', pattern) of a toc, in its order."""
    if isinstance(entry, Mapping):
        yield from ((kind, entry[kind]) for kind in ("file", "glob") if isinstance(entry.get(kind), str))
        entry = list(entry.values())
    for inner in entry if isinstance(entry, list) else ():
        yield from _entries(inner)


def _bare(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _expression(pattern: str) -> re.Pattern[str]:
    """A toc's glob as a regular expression: one star stays within a folder."""

    def translated(match: re.Match[str]) -> str:
        part = match[0]
        return part.replace("[!", "[^/") if len(part) > 2 else WILDCARDS.get(part, re.escape(part))

    return re.compile(re.sub(r"\*\*|\[!?[^\]]+\]|.", translated, pattern))


def read_yaml(path: Path) -> Any:
    """What a YAML file says; raises BookError, of one line, where it cannot be read or has no end."""
    return _parsed.__wrapped__(path, _text(path))  # its own: a caller may change it


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BookError(f"{path} cannot be read ({error}): it is to be text in UTF-8") from None


@cache
def _parsed(path: Path, text: str) -> Any:
    try:
        found = yaml.load(text, SafeLoader)  # noqa: S506 - it is a safe one
    except Exception as error:  # PyYAML's own, and whatever its reading of numbers and dates raises
        raise BookError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    left, queue = LARGEST, [found]
    while queue:
        left -= 1
        if left < 0:
            raise BookError(f"{path} says more than {LARGEST:,} things, or refers to itself: make it smaller")
        value = queue.pop()
        if isinstance(value, dict | list):
            queue.extend([*value, *value.values()] if isinstance(value, dict) else value)
    return found
