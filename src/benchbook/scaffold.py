"""Starts a book: writes a small new one, or adds to an existing Jupyter Book what it lacks."""

from __future__ import annotations

import fnmatch
import importlib.resources
import json
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from benchbook import experiments, toc
from benchbook.errors import BookError

TEMPLATE_TITLE = "A new book"  # stands in the template where the new book's title belongs
HIDDEN = {"gitignore": ".gitignore"}  # a dot would hide the file from those who pack the template
PROFILE = """\
# Which notebooks the book runs. Written by `benchbook init --adopt`; it is yours to edit.
title: Default
strict: false  # Sphinx's warnings are shown, and do not stop the book
trusted: true  # scripts in the notebooks' outputs stay; false makes what is shown inert
runs:{runs}
"""
MADE = ("runs", "_build")


def create(folder: Path, title: str | None = None) -> list[str]:
    """Writes the template's book into a new or empty folder; returns what to tell the user, a line each.

    Raises BookError where the folder holds anything, and for a title that is no line of text.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise BookError(f"{folder} is there and not empty: name a new folder; --adopt takes an existing Jupyter Book")
    title = _title(folder) if title is None else title.strip()
    if not title or not title.isprintable():
        raise BookError(f"{title!r} is no title: give a line of text by --title")
    written = 0
    for relative, source in _template(importlib.resources.files("benchbook") / "template"):
        text = source.read_text(encoding="utf-8").replace(f'"{TEMPLATE_TITLE}"', json.dumps(title, ensure_ascii=False))
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # never over anything
            file.write(text.replace(TEMPLATE_TITLE, title))
        written += 1
    return [f"{folder}: {written} files written", f"next: make -C {folder} book"]


def _title(folder: Path) -> str:
    """A folder's name as a title: 'my-first_book' is 'My first book'."""
    words = re.sub(r"[-_\s]+", " ", folder.resolve().name).strip()
    return words[:1].upper() + words[1:]


def _template(folder: Traversable, above: Path = Path()) -> Iterator[tuple[Path, Traversable]]:
    """The template's files, each after its place in the new book."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _template(entry, above / entry.name)
        elif entry.is_file():
            yield above / HIDDEN.get(entry.name, entry.name), entry


def adopt(root: Path) -> list[str]:
    """Adds to a Jupyter Book 1 what the engine needs; returns what was written and what to know, a line each.

    Raises BookError, with nothing written, where there is none, and for a notebook that cannot be read.
    """
    for name in ("_toc.yml", "_config.yml"):
        if not (root / name).is_file():
            raise BookError(f"{root} has no {name}, so it is no Jupyter Book 1: `benchbook init DIR` starts a new book")
    found = {name: experiments.read(path, name) for name, path in experiments.notebooks(root).items()}
    config = toc.read_yaml(root / "_config.yml") or {}
    left_out = {name: reason for name, one in found.items() if (reason := _obstacle(one, root, config))}
    lines = [_write_profile(root, [name for name in found if name not in left_out]), _write_gitignore(root)]
    lines += [f"{found[name].path.relative_to(root)}: left out: {reason}" for name, reason in left_out.items()]
    lines += [
        f"{page}.md: its code cells are not run, for only notebooks are: `jupytext --to ipynb {page}.md` makes one"
        for page in toc.pages(root)
        if _has_code_cells(root / f"{page}.md")
    ]
    return [*lines, "next: benchbook build" + ("" if root.resolve() == Path.cwd() else f", in {root}")]


def _obstacle(experiment: experiments.Experiment, root: Path, config: dict[str, Any]) -> str:
    """Why a notebook is not run; '' where it is."""
    if experiment.language != "python":
        return f"it is written in {experiment.language}, and only Python notebooks are run"
    relative = experiment.path.relative_to(root).as_posix()
    for pattern in (config.get("execute") or {}).get("exclude_patterns") or ():
        if any(fnmatch.fnmatch(relative, one) for one in (pattern, f"*/{pattern}", pattern.removeprefix("**/"))):
            return f"_config.yml excludes it by '{pattern}'"
    return ""


def _write_profile(root: Path, names: list[str]) -> str:
    path = root / "profiles" / "quick.yml"
    if path.exists():
        return "profiles/quick.yml: kept as it is"
    path.parent.mkdir(exist_ok=True)
    runs = "".join(f"\n  - {yaml.safe_dump({'experiment': name}, allow_unicode=True).strip()}" for name in names)
    path.write_text(PROFILE.format(runs=runs or " []"), encoding="utf-8")
    return f"profiles/quick.yml: written; it names {len(names)} notebook{'' if len(names) == 1 else 's'}"


def _write_gitignore(root: Path) -> str:
    path = root / ".gitignore"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    ignored = {line.strip().strip("/") for line in text.splitlines()}
    missing = [f"/{name}/" for name in MADE if name not in ignored]
    if not missing:
        return ".gitignore: kept as it is"
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * (text != "" and not text.endswith("\n")) + "".join(f"{line}\n" for line in missing))
    return f".gitignore: {' and '.join(missing)} added"


def _has_code_cells(page: Path) -> bool:
    return page.is_file() and bool(re.search(r"(?m)^\s*[`:~]{3,}\{code-cell\}", page.read_text(encoding="utf-8")))
