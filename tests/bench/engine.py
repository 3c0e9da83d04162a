"""The engine against jupyter-book with its cache, papermill and Snakemake, on books made up for it."""

from __future__ import annotations

import json
import shutil
import time
from functools import cache
from pathlib import Path

from benchbook import plan
from benchbook.project import Project
from benchbook.run import job
from tests.bench import _books
from tests.bench._books import command, scratch
from tests.bench.measure import Pair

CHAPTERS, RUNS = 12, 5  # of each chapter
PEER_CHAPTERS = 10
THOUSAND = 10, 100
SNAKEFILE = """
rule all:
    input: expand("runs/{{n}}/status.json", n=range({number}))
rule run:
    input: "chapter.ipynb"
    output: "runs/{{n}}/status.json"
    shell: "false"
"""


def pairs(quick: bool) -> list[Pair]:
    """The engine's promises; books are made in the warm-up, so that only those are made that are asked for."""
    cached = "jupyter-book, cached, 10 chapters"
    return [
        Pair("nothing to do: 12 chapters, 60 runs", build_unchanged, cached, peer_unchanged, goal=3, limit=0.25),
        Pair("one chapter's prose changed", build_changed, cached, peer_changed, goal=0.9, prepare=change_prose),
        Pair("one notebook, a worker", work, "papermill", papermill, goal=0.8),
        Pair("one notebook, the whole command", run, "papermill", papermill, prepare=forget, slow=True),
        Pair("plan of 1,000 runs, none there", plan_all, "snakemake --dry-run", dry_run_all),
        Pair("status of 1,000 runs that are there", status, "snakemake --dry-run", dry_run, limit=2),
        Pair("status of 1,000 stale runs", status_stale, limit=2, slow=True),
    ]


@cache
def book() -> Path:
    """12 chapters and 60 pretended runs, built."""
    root = _books.write_book(scratch() / "book", CHAPTERS, RUNS)
    _books.pretend_runs(root)
    command("benchbook", "build", cwd=root)
    return root


@cache
def peer_book() -> Path:
    """Ten of the chapters, executed and built by jupyter-book."""
    root = _books.write_peer(scratch() / "peer", PEER_CHAPTERS)
    command("jupyter-book", "build", ".", cwd=root)
    return root


def build_unchanged() -> None:
    """`benchbook build`, HTML and PDF."""
    said = command("benchbook", "build", cwd=book())
    _expect("nothing has changed" in said, said)


def peer_unchanged() -> None:
    """`jupyter-book build`, HTML."""
    command("jupyter-book", "build", ".", cwd=peer_book())


def change_prose() -> None:
    """Ends the first text of a chapter in a new word, in both books."""
    for root in (book(), peer_book()):
        _books.change_prose(root / "experiments" / "chapter_03.ipynb", f"w{time.time_ns()}")


def build_changed() -> None:
    """`benchbook build` of HTML, which is all that the peer builds."""
    said = command("benchbook", "build", "--no-pdf", cwd=book())
    _expect("running" not in said and "nothing" not in said, said)


def peer_changed() -> None:
    """`jupyter-book build`, which finds the code in its cache."""
    command("jupyter-book", "build", ".", cwd=peer_book())


@cache
def small_book() -> Path:
    """One chapter without pictures."""
    return _books.write_book(scratch() / "small", 1, 1, pictures=0)


def work() -> None:
    """One notebook in a worker, as the scheduler starts it."""
    root = small_book()
    task = root / "job.json"
    if not task.is_file():
        task.write_text(json.dumps(job(plan.load(Project(root), "quick").runs[0], "quick")))
    command("python", "-m", "benchbook.run", task, cwd=root)


def run() -> None:
    """One notebook through `benchbook run`, with Snakemake between."""
    command("benchbook", "run", "chapter_00", cwd=small_book())


def papermill() -> None:
    """The same notebook by papermill's command."""
    root = small_book()
    command("papermill", "experiments/chapter_00.ipynb", root / "out.ipynb", "--no-progress-bar", cwd=root)


def forget() -> None:
    """No run is there."""
    shutil.rmtree(small_book() / "runs", ignore_errors=True)


@cache
def thousand() -> Path:
    """1,000 pretended runs of ten chapters, with one picture each."""
    root = _books.write_book(scratch() / "thousand", *THOUSAND, pictures=1)
    _books.pretend_runs(root)
    return root


def status() -> None:
    """`benchbook status`: plans, and verifies every file of every run."""
    said = command("benchbook", "status", cwd=thousand())
    _expect(said.count("ok ") == 1000, said)


@cache
def stale() -> Path:
    """The same runs after a change of a module that all chapters reach."""
    root = scratch() / "stale"
    shutil.copytree(thousand(), root)
    with (root / "src" / "convnets" / "colour.py").open("a") as module:
        module.write("# changed\n")
    return root


def status_stale() -> None:
    """`benchbook status`, which says for each run why it is stale."""
    said = command("benchbook", "status", cwd=stale())
    _expect(said.count("colour.py (notebook") == 1000, said)


@cache
def planned() -> Path:
    """A book of 1,000 runs, none of them made."""
    return _books.write_book(scratch() / "planned", *THOUSAND, pictures=1)


def plan_all() -> None:
    """`benchbook status`, which plans all and finds none."""
    said = command("benchbook", "status", cwd=planned())
    _expect(said.count("not run") == 1000, said)


@cache
def workflow(number: int, made: bool = True) -> Path:
    """So many results that are there, or are to be made, as Snakemake sees them."""
    root = scratch() / f"workflow-{number}-{made}"
    root.mkdir()
    (root / "chapter.ipynb").write_text("{}")
    (root / "Snakefile").write_text(SNAKEFILE.format(number=number))
    for run in range(number * made):
        (root / "runs" / str(run)).mkdir(parents=True)
        (root / "runs" / str(run) / "status.json").write_text("{}")
    return root


def dry_run() -> None:
    """Snakemake's answer to what there is to do, by time stamps."""
    command("snakemake", "--dry-run", "--quiet", "all", "--cores", "1", cwd=workflow(1000))


def dry_run_all() -> None:
    """The same where nothing has been made."""
    command("snakemake", "--dry-run", "--quiet", "all", "--cores", "1", cwd=workflow(1000, made=False))


def _expect(holds: bool, said: str) -> None:
    if not holds:
        raise RuntimeError(f"this is not the work that was to be timed: {said.strip()[-300:]}")
