"""What course briefs ask, and what the book answers: the files `book/briefs.yml` and `book/answers/*.md`.

briefs.yml: for each brief its title, and its items in order, each an id with the question in words; under `also` other
names that it goes by.
answers/*.md: a section `## A-1, B-2` answers these items, in markdown as on any page, whatever brief they are of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbook.errors import BookError, nearest
from benchbook.toc import read_yaml

KEYS = ("title", "items", "handin", "also")
BRIEFS, ANSWERS = Path("book/briefs.yml"), Path("book/answers")
IDENTIFIER = re.compile(r"[A-Za-z][\w.-]*")
EVIDENCE = re.compile(r"\{(?:value|claim|shown|where)\}`*\s*`?([\w-]+):")  # roles and directives


@dataclass(frozen=True)
class Answer:
    """A section of an answers file: the ids that it answers, the markdown below its heading, and the heading's line."""

    ids: tuple[str, ...]
    text: str
    path: Path
    line: int

    @property
    def experiments(self) -> list[str]:
        """The experiments whose values, claims or outputs it rests on, in the order of their first mention."""
        return list(dict.fromkeys(EVIDENCE.findall(self.text)))


@dataclass(frozen=True)
class Brief:
    """A course brief: its title, its items as id and question, and what its hand-in is made of."""

    name: str
    title: str
    items: Mapping[str, str]
    handin: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()


def read_briefs(root: Path) -> dict[str, Brief]:
    """The briefs below a book's root, by their names; none where it has no briefs.yml.

    Raises BookError where the file is not as the head of this module says, or two briefs share an id.
    """
    path = root / BRIEFS
    if not path.is_file():
        return {}
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise BookError(f"{path}: a mapping of briefs' names is wanted here")
    briefs = {str(name): _brief(path, str(name), entry) for name, entry in found.items()}
    ids = [item for brief in briefs.values() for item in brief.items]
    twice = sorted({item for item in ids if ids.count(item) > 1})
    if twice:
        raise BookError(f"{path}: '{twice[0]}' stands in two briefs: give it another id")
    return briefs


def _brief(path: Path, name: str, entry: Any) -> Brief:
    where = f"{path}, brief '{name}'"
    if not isinstance(entry, dict) or not isinstance(entry.get("title"), str):
        raise BookError(f"{where}: a mapping with 'title' and 'items' is wanted here")
    for key in entry:
        if key not in KEYS:
            raise BookError(f"{where}: unknown key {str(key)!r}{nearest(str(key), KEYS)}")
    items, handin, also = entry.get("items"), entry.get("handin") or {}, entry.get("also") or []
    if not isinstance(items, dict) or not items:
        raise BookError(f"{where}: 'items' is a mapping of ids to questions")
    for key, question in items.items():
        if not isinstance(key, str) or not IDENTIFIER.fullmatch(key) or not isinstance(question, str):
            raise BookError(f"{where}: item {key!r}: an id of letters, digits, '-' and '.', and a question are wanted")
    if not isinstance(handin, dict):
        raise BookError(f"{where}: 'handin' is a mapping")
    if not isinstance(also, list):
        raise BookError(f"{where}: 'also' is a list of names")
    return Brief(name, entry["title"], items, handin, tuple(map(str, also)))


def brief_named(name: str, briefs: Mapping[str, Brief]) -> Brief:
    """The brief of this name, or of another name that it goes by; raises BookError where there is none."""
    names = {other: brief for brief in briefs.values() for other in brief.also} | dict(briefs)
    if name not in names:
        raise BookError(f"there is no brief '{name}'{nearest(name, names)}")
    return names[name]


def read_answers(root: Path) -> dict[str, Answer]:
    """The answers below a book's root, by the ids of the items; raises BookError where one is answered twice."""
    found: dict[str, Answer] = {}
    for path in sorted((root / ANSWERS).glob("*.md")):
        for answer in _sections(path):
            for item in answer.ids:
                if item in found:
                    other = found[item]
                    raise BookError(f"{path}:{answer.line}: '{item}' is answered in {other.path}:{other.line}, too")
                found[item] = answer
    return found


def _sections(path: Path) -> Iterator[Answer]:
    """The sections of a file; a line that looks like a heading inside a fence is none."""
    ids: tuple[str, ...] = ()
    lines: list[str] = []
    start, fence = 0, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        mark = re.match(r"(`{3,}|:{3,}|~{3,})", line)
        if mark and not fence:
            fence = mark[1]
        elif mark and line.strip() == fence:
            fence = ""
        if line.startswith("## ") and not fence:
            if ids:
                yield Answer(ids, "\n".join(lines).rstrip("\n"), path, start)
            ids, lines, start = tuple(re.split(r"[\s,]+", line[3:].strip())), [], number
        else:
            lines.append(line)
    if ids:
        yield Answer(ids, "\n".join(lines).rstrip("\n"), path, start)


def unanswered(briefs: Mapping[str, Brief], answers: Mapping[str, Answer]) -> list[str]:
    """What is missing, a line each: items without an answer, answers without evidence, answers to no item."""
    ids = {item for brief in briefs.values() for item in brief.items}
    lines = [f"{item} has no answer" for brief in briefs.values() for item in brief.items if item not in answers]
    for item, answer in answers.items():
        if not answer.experiments:
            lines.append(f"the answer to {item} shows no value, claim or output")
        if item not in ids:
            lines.append(f"{answer.path.name}:{answer.line} answers '{item}', which no brief asks{nearest(item, ids)}")
    return lines
