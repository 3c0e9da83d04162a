"""Several builds at once: each succeeds or says who holds the lock, and a killed one leaves no lock behind."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import Book, code, markdown, processes, wait_for, write_notebook

pytestmark = pytest.mark.slow
HOLDER = re.compile(r"benchbook: process (\d+) is building this book: wait for it to end\n")


def start(root: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchbook.cli", *words]
    where = {"cwd": root, "env": {**os.environ, **environment}}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **where)


def results(root: Path) -> dict[str, object]:
    """What the runs found, by their folders."""
    found = {path.parent.name: json.loads(path.read_text()) for path in root.glob("runs/*/*/results.json")}
    return {name: (content["values"], content["claims"]) for name, content in found.items()}


@pytest.mark.parametrize(("number", "words"), [(2, ["run", "double"]), (8, ["build", "--no-pdf"])])
def test_builds_at_once_in_one_checkout_exclude_one_another(book, number, words, tries, fault):
    """One makes the runs; the others name it, or find them made. Nothing is left over, and a later build is content."""
    wrong = lost = 0
    for _ in range(tries(few=1)):
        shutil.rmtree(book.root / "runs", ignore_errors=True)
        shutil.rmtree(book.root / "_build", ignore_errors=True)
        builds = [start(book.root, *words) for _ in range(number)]
        said = {build.pid: build.communicate()[1] for build in builds}
        ended = [build.returncode for build in builds]
        lost += 0 not in ended or not set(ended) <= {0, 2}
        for build in builds:
            named = HOLDER.fullmatch(said[build.pid]) if build.returncode else None
            lost += bool(build.returncode) and (named is None or int(named[1]) not in said)
        wrong += len(results(book.root)) != len(list(book.root.glob("runs/*/[!.]*")))
        lost += bool(list(book.root.glob("runs/*/.*"))) or book.run(*words).returncode != 0
    fault(f"{number} builds at once in one checkout", tries=tries(few=1), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0), said


def test_two_checkouts_share_their_data(book, tmp_path, tries, fault):
    """Both prepare what is missing at the same time; both succeed, from the same bytes, to equal hashes."""
    book.write("pyproject.toml", '[tool.benchbook.data.stars]\nfiles = ["stars"]\nprepare = "toy.stars"\n')
    book.write(
        "src/toy/stars.py",
        "import os, pathlib, time\n\nfolder = pathlib.Path(os.environ['DATA_ROOT'])\n"
        "part = folder / f'.stars.{os.getpid()}'\npart.write_bytes(b'star' * 2**20)\ntime.sleep(0.1)\n"
        "part.replace(folder / 'stars')\n",
    )
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Count stars"),
        code('dataset: str = "stars"  # which', tags=("parameters",)),
        code("import benchbook, os, pathlib", "stars = pathlib.Path(os.environ['DATA_ROOT'], 'stars').read_bytes()"),
        code("x = benchbook.value('x', stars.count(b'star'))"),
    )
    other = Book(tmp_path / "other")
    shutil.copytree(book.root, other.root)
    wrong = lost = 0
    for attempt in range(tries(few=1)):
        data = tmp_path / f"data{attempt}"
        data.mkdir()
        where = {"DATA_ROOT": str(data), "PYTHONPATH": f"src{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        builds = [start(one.root, "run", "alone", **where) for one in (book, other)]
        said = [build.communicate() for build in builds]
        lost += [build.returncode for build in builds] != [0, 0]
        found = [results(one.root) for one in (book, other)]
        wrong += found[0] != found[1] or "x = 1,048,576" not in said[0][0]
        lost += [path.name for path in data.iterdir()] != ["stars"]
        for one in (book, other):
            shutil.rmtree(one.root / "runs", ignore_errors=True)
    fault("Two checkouts at once share DATA_ROOT", tries=tries(few=1), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0), said


def test_a_build_killed_with_all_its_processes_leaves_no_lock_and_no_half_run(book, tries, fault):
    """At a random moment, every process at once: the next build takes the lock and makes what is missing."""
    assert book.run("build", "--no-pdf").returncode == 0
    expected = results(book.root)
    wrong = lost = 0
    for attempt in range(tries(few=1)):
        shutil.rmtree(book.root / "runs")
        builder = psutil.Popen(
            [sys.executable, "-m", "benchbook.cli", "build", "--no-pdf"],
            **{"cwd": book.root, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL},
        )
        time.sleep(random.Random(attempt).uniform(0.2, 6))
        family = builder.children(recursive=True) if builder.is_running() else []
        for process in [builder, *family]:
            if process.is_running():
                process.send_signal(signal.SIGKILL)
        builder.wait()
        found = results(book.root)
        wrong += any(found[name] != expected[name] for name in found)
        lost += bool(wait_for(lambda: not processes(book.root), 10)) is False
        lost += book.run("build", "--no-pdf").returncode != 0 or results(book.root) != expected
        lost += bool(list(book.root.glob("runs/*/.*")))
    fault("Builder killed with all its processes", tries=tries(few=1), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)
