"""A whole book built: with nothing to do, after a change, from nothing, against jupyter-book and papermill in a loop.

The peers: `jupyter-book build` with its cache, which makes the same HTML; and papermill executing every notebook in one
process, one after another, which makes no pages at all and knows of no change.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.bench import _books
from tests.bench._books import command, scratch
from tests.bench.measure import Pair

CHAPTERS, FEW = 10, 3  # in a quick bench
LATEX = ("latexmk", "xelatex")  # which jupyter-book calls
LOOP = """
import pathlib, sys, papermill

for path in sorted(pathlib.Path("experiments").glob("*.ipynb")):
    papermill.execute_notebook(path, pathlib.Path(sys.argv[1], path.name), progress_bar=False)
"""


def pairs(quick: bool) -> list[Pair]:
    """The same books in every row, made in the warm-up."""
    number = FEW if quick else CHAPTERS
    books = f"{number} chapters"
    peer, loop = "jupyter-book with its cache", "papermill in a loop"

    def both(work: Callable[[int], None]) -> Callable[[], None]:
        return lambda: work(number)

    return [
        Pair(f"nothing to do, {books}", both(build), loop, both(execute), prepare=both(build)),
        Pair(f"one chapter's code changed, {books}", both(build), peer, both(build_peer), prepare=both(change_code)),
        Pair(
            f"one chapter's code changed, {books}",
            both(build),
            loop,
            both(execute),
            prepare=both(change_code),
            slow=True,
        ),
        Pair(f"cold, {books}", both(build_cold), peer, both(build_peer_cold), slow=True),
        Pair(f"cold, {books}", both(build_cold), loop, both(execute), slow=True),
        Pair(
            f"HTML of {books} whose runs are there",
            both(build),
            peer,
            both(build_peer),
            prepare=both(remove_pages),
            slow=True,
        ),
        _with_pdf(number),
    ]


def _with_pdf(number: int) -> Pair:
    """HTML and PDF; ours alone where there is no LaTeX."""
    name = f"HTML and PDF of {number} chapters whose runs are there"

    def prepare() -> None:
        remove_pages(number)

    def ours() -> None:
        command("benchbook", "build", cwd=book(number))

    def peer() -> None:
        build_peer(number)
        command("jupyter-book", "build", ".", "--builder", "pdflatex", cwd=peer_book(number))

    if missing := [program for program in LATEX if shutil.which(program) is None]:
        return Pair(name, ours, f"jupyter-book: {' and '.join(missing)} not installed", prepare=prepare, slow=True)
    return Pair(name, ours, "jupyter-book with LaTeX", peer, prepare=prepare, slow=True)


@cache
def book(number: int) -> Path:
    """A book of ours whose chapters take no time of their own."""
    return _books.write_book(scratch() / f"built-{number}", number, 1)


@cache
def peer_book(number: int) -> Path:
    """The same chapters for jupyter-book."""
    return _books.write_peer(scratch() / f"built-{number}-peer", number)


def build(number: int) -> None:
    """`benchbook build` of HTML, which is all that the peer builds."""
    command("benchbook", "build", "--no-pdf", cwd=book(number))


def build_peer(number: int) -> None:
    """`jupyter-book build`, with what is in its cache."""
    command("jupyter-book", "build", ".", cwd=peer_book(number))


def execute(number: int) -> None:
    """Papermill over all notebooks, whatever has changed."""
    folder = book(number) / "executed"
    folder.mkdir(exist_ok=True)
    command("python", "-c", LOOP, folder, cwd=book(number))


def build_cold(number: int) -> None:
    """`benchbook build` where nothing has been made."""
    for made in ("runs", "_build"):
        shutil.rmtree(book(number) / made, ignore_errors=True)
    build(number)


def build_peer_cold(number: int) -> None:
    """`jupyter-book build` with an empty cache."""
    shutil.rmtree(peer_book(number) / "_build", ignore_errors=True)
    build_peer(number)


def change_code(number: int) -> None:
    """Another number in the code of one chapter, in both books, the pages of which have been built."""
    if not (book(number) / "_build").exists():
        build(number)
        build_peer(number)
    for root in (book(number), peer_book(number)):
        path = root / "experiments" / "chapter_01.ipynb"
        notebook = json.loads(path.read_text())
        notebook["cells"][-1]["source"] = f"print({time.time_ns()})"
        path.write_text(json.dumps(notebook))


def remove_pages(number: int) -> None:
    """What has been executed stays, no page does."""
    build(number)
    build_peer(number)
    for root in (book(number), peer_book(number)):
        for path in (root / "_build").iterdir():
            if path.is_dir() and path.name != ".jupyter_cache":
                shutil.rmtree(path)
