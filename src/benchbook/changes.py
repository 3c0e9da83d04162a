"""The sentences of the book whose numbers or claims have moved since the last look, old beside new."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbook import atomic, toc
from benchbook.answers import read_answers
from benchbook.experiments import source
from benchbook.plan import Plan, Run
from benchbook.project import Project
from benchbook.record import VERDICTS, claim_sentence, show
from benchbook.state import State, read_results

ROLE = re.compile(r"\{(value|claim)\}`([^`]+)`")
# A sentence ends at its full stop, and a claim is a sentence of its own.
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=`)\s+(?=\{claim\})|(?<=\`)(?<!,)\s+(?=[A-Z])")
MISSING = "—"


@dataclass(frozen=True)
class Change:
    """One sentence, on its page, as it read at the last look and as it reads now."""

    page: str
    old: str
    new: str


def records(runs: Mapping[str, Run], states: Mapping[Path, State]) -> dict[str, str]:
    """Every value and claim of the runs that the book shows, as a reader sees it, by 'experiment:name'."""
    found: dict[str, str] = {}
    for name, run in runs.items():
        if states[run.folder].name != "ok":
            continue
        results = read_results(run.folder)
        found |= {f"{name}:{key}": show(record) for key, record in results["values"].items()}
        for key, record in results["claims"].items():
            found[f"{name}:{key}"] = f"{claim_sentence(record)} ({VERDICTS[record['holds']]})"
    return found


def look(project: Project, book: Plan, states: Mapping[Path, State], *, keep: bool = False) -> list[Change] | None:
    """What has moved since the last look at this profile; None where this is the first. Unless kept, it is one too."""
    path = project.build / f"seen-{book.name}.json"
    now = records(book.shown(), states)
    then = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if not keep:
        path.parent.mkdir(exist_ok=True)
        atomic.write(path, json.dumps(now, ensure_ascii=False, indent=1).encode())
    if then is None:
        return None
    moved = {key for key in now.keys() | then.keys() if now.get(key) != then.get(key)}
    return [
        Change(page, _read(sentence, page, then), _read(sentence, page, now))
        for page, sentence in sentences(project)
        if any(_key(match[2], page) in moved for match in ROLE.finditer(sentence))
    ]


def sentences(project: Project) -> Iterator[tuple[str, str]]:
    """Every sentence of the book with a value or a claim in it, after its page, in the toc's order; then the answers.

    An answer is shown on its briefs' pages; its file stands for them.
    """
    for page, text in _texts(project.root):
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
                if ROLE.search(sentence):
                    yield page, sentence


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    for page in toc.pages(root):
        notebook, prose = root / f"{page}.ipynb", root / f"{page}.md"
        if notebook.is_file():
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            yield from ((page, source(cell)) for cell in cells if cell["cell_type"] == "markdown")
        elif prose.is_file():
            yield page, prose.read_text(encoding="utf-8")
    for answer in dict.fromkeys(read_answers(root).values()):
        yield toc.page_of(answer.path, root), answer.text


def _key(target: str, page: str) -> str:
    return target if ":" in target else f"{Path(page).stem}:{target}"


def _read(sentence: str, page: str, known: Mapping[str, str]) -> str:
    return ROLE.sub(lambda match: known.get(_key(match[2], page), MISSING), sentence)
