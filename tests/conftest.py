"""Small books for the engine's tests, and the real data where they are."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pages import browser, chromium

ROOT = Path(__file__).parents[1]

# What started the tests must not reach the commands under test: a shell lets processes in its background ignore Ctrl-C,
# and make hands its own options to every make below it.
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "TRAININGS"):
    os.environ.pop(name, None)


def code(*lines: str, tags: tuple[str, ...] = ()) -> dict:
    return {
        "cell_type": "code",
        "source": "\n".join(lines),
        "metadata": {"tags": list(tags)},
        "outputs": [],
        "execution_count": None,
    }


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "source": text, "metadata": {}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that fork go first: once Typst has run in a process, a fork lacks its threads, and waits for them."""
    items.sort(key=lambda item: "test_writers" not in item.nodeid)


def write_notebook(path: Path, *cells: dict) -> None:
    content = {
        "cells": list(cells),
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    }
    content |= {"nbformat": 4, "nbformat_minor": 4}
    path.write_text(json.dumps(content))


def processes(folder: Path) -> list[str]:
    """The running processes that work in the folder or name it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if str(folder) in words or Path(process.cwd()).is_relative_to(folder):
                found.append(f"{process.pid} {words}")
    return found


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """What the condition says as soon as it is true, at the latest after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


class Book:
    """A small book on disk, and the command line in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *words: str, group: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `benchbook` with these words; `group` is the cgroup.procs of a control group to run it in."""
        return subprocess.run(
            [sys.executable, "-m", "benchbook.cli", *words],
            cwd=self.root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=group and (lambda: group.write_text(str(os.getpid()))),
        )

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def html(self, page: str) -> str:
        return (self.root / "_build" / "html" / f"{page}.html").read_text()

    def folders(self, experiment: str) -> list[Path]:
        return sorted((self.root / "runs" / experiment).glob("[!.]*"))

    def status(self) -> dict[str, str]:
        """The lines of `benchbook status`, by experiment."""
        lines = self.run("status").stdout.splitlines()
        return {line[9:].split()[0].rstrip(":"): line for line in lines}


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A small book of a test's own."""
    return small_book(tmp_path)


def small_book(folder: Path) -> Book:
    """Two experiments, `double` (which reaches toy.b through toy.a) and `alone`, with prose about both."""
    made = Book(folder / "a book")  # a space, so that no command is put together without quotes
    made.write("_config.yml", "title: Toy\nonly_build_toc_files: true\n")
    made.write(
        "_toc.yml",
        "format: jb-book\nroot: book/index\nchapters:\n"
        "  - file: experiments/double\n  - file: experiments/alone\n  - file: book/claims\n",
    )
    made.write(
        "book/index.md",
        "# Toy\n\nTwice is {value}`double:twice`. {claim}`double:bigger`\n\n{value}`alone:x`\n\n```{chapters}\n```\n",
    )
    made.write("book/claims.md", "# Claims\n\n```{claims}\n```\n")
    made.write(
        "profiles/quick.yml",
        "title: Quick\nnote: a small one\nreduced: true\nruns:\n"
        "  - experiment: double\n    parameters: {number: 4}\n  - experiment: alone\n",
    )
    made.write("src/toy/__init__.py", '"""Toy."""\n')
    made.write("src/toy/a.py", "from toy import b\n\n\ndef double(number):\n    return b.times(number)\n")
    made.write("src/toy/b.py", "def times(number):\n    return 2 * number\n")
    (made.root / "experiments").mkdir()
    write_notebook(
        made.root / "experiments" / "double.ipynb",
        markdown("# Double a number\n\nThe sum $x + x$."),
        code("number: int = 3  # what to double", "rate: float = 0.5  # a rate", tags=("parameters",)),
        code("import benchbook", "from toy.a import double", "twice = benchbook.value('twice', double(number), 's')"),
        code("benchbook.claim('bigger', twice > number, 'Twice, {left}, is more than once, {right}')"),
    )
    write_notebook(
        made.root / "experiments" / "alone.ipynb",
        markdown("# Stand alone"),
        code("import benchbook", "x = benchbook.value('x', [1.0, 1.5, 2.0])"),
    )
    return made


@pytest.fixture(scope="session")
def runs_of_small_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = small_book(tmp_path_factory.mktemp("runs"))
    for words in (("double", "-p", "number=4"), ("alone",)):
        ended = made.run("run", *words)
        assert ended.returncode == 0, ended.stderr
    return made.root / "runs"


@pytest.fixture
def ran(book: Book, runs_of_small_book: Path) -> None:
    """The runs of the small book are there: they were made once, for all tests that ask for none."""
    shutil.copytree(runs_of_small_book, book.root / "runs")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real data; the test is skipped where they are absent."""
    root = ROOT / os.environ.get("DATA_ROOT", "data")
    if not (root / "cifar10.npz").exists():
        pytest.skip(f"no real data in {root}: set DATA_ROOT")
    return root


@pytest.fixture
def page():
    """A page of headless Chromium without a network, that keeps every console error and failed request."""
    if not chromium():
        pytest.skip("no Chromium: apt install chromium")
    with browser() as opened:
        yield opened
