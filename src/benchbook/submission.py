"""What a course wants handed in, made from the runs, checked before it is written: `_build/submission/`.

briefs.yml says under `handin` which files a brief asks for, with {id} and {name} (the author's, for file names) in
their names, and what each holds:

answers      a PDF with the brief's answers alone, in its order
notebook     one notebook that runs by itself, from the chapters behind the answers
notebooks    a folder with these chapters, as they were run
html         a folder with the answers and these chapters, which opens without a network
code         a folder with everything that is needed to make it all again
readme       a text: who, what, how to make it again
{…}          a ZIP with such members
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchbook import atomic
from benchbook import book as pages
from benchbook.answers import Answer, Brief, brief_named, read_answers, read_briefs
from benchbook.built import PAGES
from benchbook.compression import zipped
from benchbook.conditions import chosen, considered, is_met
from benchbook.errors import BookError, nearest
from benchbook.pdf import make_pdf
from benchbook.plan import Plan, Run
from benchbook.project import Project
from benchbook.record import claim_sentence
from benchbook.rendering import sphinx
from benchbook.size import tidy
from benchbook.standalone import readable, standalone
from benchbook.state import State, read_results
from benchbook.toc import page_of, read_yaml

ROLE = re.compile(r"\{(value|claim)\}`([\w-]+):(\w+)`")
IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
EXTERNAL = re.compile(
    r"""<(?:script|link(?![^>]*canonical)|img|iframe|source|audio|video|embed|object)\b[^>]*?"""
    r"""\b(?:src|srcset|href|data)=["'](?:https?:)?//[^"']*"""
)
MISSING = re.compile(r'class="[^"]*benchbook-missing[^"]*"[^>]*>(?:.{0,200}?no run has produced ([\w:-]+))?', re.DOTALL)
CODE = ("Makefile", "README.md", "LICENSE", "pyproject.toml", "requirements.lock")
FOLDERS = ("src", "experiments", "profiles", "book", "reference")
PLAIN = str.maketrans({"ı": "i", "ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "đ": "d"})
FOLDER_PARTS = ("notebooks", "html", "code")
LARGEST = 50 * 2**20  # bytes: what upload forms take


@dataclass(frozen=True)
class Submission:
    """A brief to be handed in: by whom, from which runs."""

    project: Project
    book: Plan
    brief: Brief
    answers: Mapping[str, Answer]
    author: str
    identity: str
    runs: Mapping[str, Run]  # the chapters behind the answers, in the book's order

    @property
    def texts(self) -> str:
        return "\n".join(self.answers[item].text for item in self.brief.items)

    def named(self, pattern: str) -> str:
        """A file's name with the author's and the identity in their places."""
        return pattern.replace("{id}", self.identity).replace("{name}", file_name(self.author))


def submit(
    project: Project, book: Plan, how: Mapping[Path, State], name: str, author: str, identity: str, *, quick: bool
) -> list[str]:
    """Checks, then writes `_build/submission/`, whole or not at all; returns what was checked and written, a line each.

    Raises BookError, with a line for each thing that is wrong.
    """
    briefs, answers = read_briefs(project.root), read_answers(project.root)
    brief = brief_named(name, briefs)
    _check_names(brief, author, identity)
    wrong = [f"{item} has no answer" for item in brief.items if item not in answers]
    if wrong:
        raise BookError("\n".join(wrong))
    behind = {experiment for item in brief.items for experiment in answers[item].experiments}
    runs = {name: run for name, run in book.shown().items() if name in behind}
    made = Submission(project, book, brief, answers, author, identity, runs)
    said = check(made, how, behind, quick)
    target = project.build / "submission"
    part = target.with_name(".submission.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        said += write(made, how, part)
        atomic.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return said


def check(made: Submission, how: Mapping[Path, State], behind: set[str], quick: bool) -> list[str]:
    """What can be known before anything is made; returns what was found right, raises BookError for what is not."""
    wrong = [
        f"no profile run of '{name}' is behind the answers: name it in the profile" for name in behind - {*made.runs}
    ]
    for name, run in made.runs.items():
        state = how[run.folder]
        wrong += [f"{name}: {state}"] * (state.name != "ok")
    if made.book.reduced and not quick:
        wrong.append(
            f"the {made.book.title} profile is a reduced one: PROFILE=full, or QUICK=1 for a draft that says so"
        )
    if wrong:
        raise BookError("\n".join(wrong))
    records = {name: read_results(run.folder) for name, run in made.runs.items()}
    values = claims = 0
    failed = {}

    def met(text: str, outcome: str) -> bool:
        experiment, _, name = text.partition(":")
        return is_met(records[experiment], name, outcome)

    for kind, experiment, name in ROLE.findall(chosen(made.texts, met)):
        found = records[experiment][f"{kind}s"].get(name)
        if found is None:
            wrong.append(f"the run of '{experiment}' has no {kind} '{name}'")
        elif kind == "claim":
            claims += 1
            if found["holds"] is False:
                failed[f"{experiment}:{name}"] = claim_sentence(found)
        else:
            values += 1
    if not quick:
        wrong += [
            f"{name} does not hold in this run: {failed[name]} Say under {{where}} {name} fails what then is true"
            for name in failed.keys() - considered(made.texts, "fails")
        ]
    if wrong:
        raise BookError("\n".join(wrong))
    said = [f"{len(made.brief.items)} items answered, from {len(made.runs)} chapters, each run current and successful"]
    verdict = f"{len(failed)} do not hold: {', '.join(failed)}" if failed else "the run contradicts none"
    return [*said, f"{values} values and {claims} claims are there; {verdict}"]


def _check_names(brief: Brief, author: str, identity: str) -> None:
    if not brief.handin:
        raise BookError(f"brief '{brief.name}' says nothing under 'handin' in book/briefs.yml")
    for pattern, content in brief.handin.items():
        if content in FOLDER_PARTS:
            raise BookError(
                f"book/briefs.yml, brief '{brief.name}': '{pattern}' holds {content}, a folder: put it in a ZIP, "
                f"{pattern.rstrip('/')}.zip: {{{content}/: {content}}}"
            )
    if not author.strip() or any(unicodedata.category(sign)[0] == "C" for sign in author):
        raise BookError('whose work is it? Give AUTHOR="First Last"')
    if any("{id}" in pattern for pattern in brief.handin) and not IDENTITY.fullmatch(identity):
        raise BookError("this hand-in is named by your number: give ID=… of letters, digits, '.', '_' and '-'")


def file_name(author: str) -> str:
    """A name for files: 'Çağla Öz, Ada Byron' → 'cagla-oz-ada-byron'."""
    plain = unicodedata.normalize("NFKD", author.translate(PLAIN)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "author"


def write(made: Submission, how: Mapping[Path, State], target: Path) -> list[str]:
    """Makes every file of the hand-in, and SHA256SUMS; returns a line for each with its size."""
    said = []
    for pattern, content in made.brief.handin.items():
        path = target / made.named(pattern)
        if isinstance(content, Mapping):
            members: dict[str, bytes] = {}
            for inner, kind in content.items():
                members |= {f"{made.named(inner)}{name}": data for name, data in contents(made, how, kind).items()}
            path.write_bytes(zipped(members))
        else:
            (data,) = contents(made, how, content).values()
            path.write_bytes(data)
        size = path.stat().st_size
        if size > LARGEST:
            raise BookError(f"{path.name} has {size / 2**20:.0f} MB, more than {LARGEST / 2**20:.0f}: leave a part out")
        said.append(f"{path.name}: {size / 2**20:.1f} MB")
    files = sorted(target.iterdir())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (target / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return said


def contents(made: Submission, how: Mapping[Path, State], kind: Any) -> dict[str, bytes]:
    """The files of one part by their names below it; a part that is a single file has the name ''."""
    known: dict[str, Callable[[], dict[str, bytes]]] = {
        "answers": lambda: {"": _pdf(made, how)},
        "notebook": lambda: {"": _json(standalone([*made.runs.values()], made.brief.title, made.author))},
        "notebooks": lambda: {f"{n}.ipynb": _json(readable(r)) for n, r in made.runs.items()},
        "html": lambda: _html(made, how),
        "code": lambda: dict(_code(made.project)),
        "readme": lambda: {"": _readme(made).encode()},
    }
    if kind not in known:
        raise BookError(f"book/briefs.yml, brief '{made.brief.name}': unknown part {kind!r}{nearest(str(kind), known)}")
    return known[kind]()


def _pdf(made: Submission, how: Mapping[Path, State]) -> bytes:
    source = _staged(made, how, [])
    single, document = source.with_name("singlehtml"), source.with_name("answers.pdf")
    _sphinx(source, single, "singlehtml", made)
    settings = pages.settings(made.project, made.book)
    settings |= {
        "title": made.brief.title,
        "author": made.author,
        "course": made.identity,
        "watermark": _watermark(made),
    }
    return make_pdf(single, document, settings).read_bytes()


def _html(made: Submission, how: Mapping[Path, State]) -> dict[str, bytes]:
    chapters = [page_of(run.experiment.path, made.project.root) for run in made.runs.values()]
    source = _staged(made, how, chapters)
    html = source.with_name("html")
    _sphinx(source, html, "html", made)
    root = f"book/brief_{made.brief.name}"
    forward = f'<!DOCTYPE html><title>…</title><meta http-equiv="Refresh" content="0; url={root}.html">\n'
    (html / "index.html").write_text(forward, encoding="utf-8")
    tidy(html)
    files = [path for path in sorted(html.rglob("*")) if path.is_file() and path.name != ".buildinfo"]
    return {path.relative_to(html).as_posix(): path.read_bytes() for path in files}


def _staged(made: Submission, how: Mapping[Path, State], chapters: list[str]) -> Path:
    """The Sphinx source of a book of the brief's answers and these chapters, by this author."""
    root, page = made.project.root, f"book/brief_{made.brief.name}"
    states = {name: how[run.folder] for name, run in made.book.shown().items() if how[run.folder].name == "ok"}
    toc: dict[str, Any] = {"format": "jb-book", "root": page}
    references = (
        ["book/references"]
        if (root / "book" / "references.md").is_file() and (chapters or "{cite" in made.texts)
        else []
    )
    if chapters or references:
        toc["chapters"] = [{"file": page} for page in [*chapters, *references]]
    config = read_yaml(root / "_config.yml") or {}
    config |= {"title": made.brief.title, "author": made.author, "only_build_toc_files": True}
    opening = "Each question with its short answer; the chapters beside it have the rest.\n\n" if chapters else ""
    answers = f"# {made.brief.title}\n\n{opening}```{{brief}} {made.brief.name}\n:handin:\n```\n"
    instead = {"_toc.yml": yaml.safe_dump(toc), "_config.yml": yaml.safe_dump(config, allow_unicode=True)}
    instead[f"{page}.md"] = answers
    work = made.project.build / "handin" / f"{made.brief.name}{'-html' * bool(chapters)}"
    return pages.stage(made.project, made.book, states, target=work / "source", instead=instead)


def _sphinx(source: Path, target: Path, builder: str, made: Submission) -> None:
    """Builds; that a page which is not handed in cannot be referred to is no error here."""
    shutil.rmtree(target, ignore_errors=True)
    problems = sphinx(source, target, builder, made.book.strict)
    serious = [line for line in problems if not re.search(r"undefined label|cross reference|unknown document", line)]
    for path in sorted(target.rglob("*.html")):
        page = path.read_text(encoding="utf-8")
        name = path.relative_to(target)
        serious += [f"{name} would need the network: {found[0][:120]}" for found in EXTERNAL.finditer(page)]
        serious += [f"{name} has no number for {found[1] or 'a value'}" for found in MISSING.finditer(page)]
    if serious:
        raise BookError("\n".join(dict.fromkeys(serious)))


def _code(project: Project) -> Iterator[tuple[str, bytes]]:
    """Everything that the book is made from, but data."""
    files = [project.root / name for name in (*CODE, *PAGES)]
    files += [path for name in FOLDERS for path in sorted((project.root / name).rglob("*"))]
    for path in files:
        relative = path.relative_to(project.root)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in relative.parts):
            yield relative.as_posix(), path.read_bytes()


def _readme(made: Submission) -> str:
    lines = [made.brief.title, made.author, made.identity, ""]
    lines += [
        "Made by benchbook: every number comes from a run, and every sentence that a run can decide says what it",
        "decided.",
        "",
    ]
    note = f" ({made.book.note})" if made.book.note else ""
    lines += [f"Profile: {made.book.title}{note}.", ""]
    command = f"make book {shlex.quote(f'PROFILE={made.book.name}')}"
    lines += [f"To make it again: `{command}` in code/ (Python 3.11 or newer).", "", "Runs:"]
    for name, run in made.runs.items():
        results = read_results(run.folder)
        environment = results["environment"]
        where = ", ".join(filter(None, (environment.get("device", ""), environment["machine"])))
        lines.append(f"- {name}: {results['seconds']:.0f} s on {where}; commit {environment.get('commit', 'unknown')}")
    return "\n".join(lines) + "\n"


def _watermark(made: Submission) -> str:
    return f"{made.book.title} profile" if made.book.reduced else ""


def _json(notebook: Mapping[str, Any]) -> bytes:
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()
