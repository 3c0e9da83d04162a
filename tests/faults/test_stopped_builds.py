"""Ctrl-C on a terminal and a polite kill, in each stage of a build: nothing stays, and nothing is done twice."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import code, markdown, processes, wait_for, write_notebook

pytestmark = pytest.mark.slow
# The command line, which says when it comes to a stage and stays there long enough to be met in it.
DRIVER = """
import hashlib, importlib, pathlib, sys, time
module, name = sys.argv.pop(1).split(":")
owner = importlib.import_module(module)
function = getattr(owner, name)
def at_stage(*given, **named):
    pathlib.Path("reached").touch()
    if name == "compile":  # Typst hears nothing while it sets a real book, for ten seconds and more: neither does this
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)
    time.sleep(0.5)
    return function(*given, **named)
setattr(owner, name, at_stage)
from benchbook.cli import main
sys.exit(main(sys.argv[1:]))
"""
STAGES = {
    "planning": "benchbook.plan:load",
    "running": "benchbook.cli:main",  # its notebook says that it has been reached
    "site": "benchbook.book:stage",
    "PDF": "typst:compile",
}


class Terminal:
    """A build on a terminal of its own, and what it wrote there."""

    def __init__(self, root: Path, stage: str) -> None:
        (root / "reached").unlink(missing_ok=True)
        self.said = b""
        self.pid, self.file = pty.fork()
        if not self.pid:
            os.chdir(root)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            words = ["-c", DRIVER, STAGES[stage], "build"] if stage != "running" else ["-m", "benchbook.cli", "build"]
            os.execv(sys.executable, [sys.executable, *words])
        self.modes = termios.tcgetattr(self.file)

    def read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while select.select([self.file], [], [], 0)[0] and (more := os.read(self.file, 65536)):
                self.said += more

    def wait_until(self, condition: Callable[[], bool]) -> None:
        assert wait_for(lambda: self.read() or condition(), 60), self.said.decode()

    def stop(self, how: str) -> None:
        """Ctrl-C as a key, thrice for good measure, or SIGTERM."""
        if how == "SIGTERM":
            os.kill(self.pid, signal.SIGTERM)
            return
        for _ in range(3):
            os.write(self.file, b"\x03")
            time.sleep(0.02)

    def status(self, seconds: float) -> int | None:
        """The exit status of the build; None where it goes on for longer."""

        def ended() -> tuple[int, int] | None:
            self.read()
            found = os.waitpid(self.pid, os.WNOHANG)
            return found if found[0] else None

        found = wait_for(ended, seconds)
        return os.waitstatus_to_exitcode(found[1]) if found else None

    def is_restored(self) -> bool:
        """Whether keys are heard as before and the cursor can be seen."""
        self.read()
        same = termios.tcgetattr(self.file) == self.modes
        return same and self.said.rfind(b"\x1b[?25h") >= self.said.rfind(b"\x1b[?25l")


@pytest.fixture
def waiting(book):
    """A book whose second run waits until somebody has put a file there, and counts how often it began."""
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Wait"),
        code(
            "import benchbook, pathlib, subprocess, time",
            "with pathlib.Path('began').open('a') as file:",
            "    file.write('x')",
            "if not pathlib.Path('go').exists():",
            "    pathlib.Path('reached').touch()",
            "    subprocess.Popen(['sleep', '60'])",
            "    time.sleep(60)",
            "x = benchbook.value('x', 1)",
        ),
    )
    return book


def made(book) -> dict[str, float]:
    """When each successful run ended."""
    statuses = {path.parent.name: json.loads(path.read_text()) for path in book.root.glob("runs/*/*/status.json")}
    return {name: status["ended"] for name, status in statuses.items() if status["state"] == "ok"}


def test_a_stopped_build_leaves_nothing_and_repeats_only_what_had_not_finished(waiting, tries, fault):
    """In each stage: status 130, no process after 3 s, the terminal as before; the next build goes on from there."""
    seconds = tries(few=20, many=3)  # three on a machine that has nothing else to do
    book, lost = waiting, dict.fromkeys(STAGES, 0)
    number = tries(few=1, many=5)
    for attempt in range(number):
        for name in ("_build", "runs", "go", "began"):
            subprocess.run(["rm", "-rf", book.root / name], check=True)
        for stage in ("running", "planning", "site", "PDF"):
            how = random.Random(f"{stage} {attempt}").choice(["SIGTERM", "Ctrl-C"])
            before = made(book)
            terminal = Terminal(book.root, stage)
            terminal.wait_until((book.root / "reached").exists)
            if stage == "running":
                terminal.wait_until(lambda: len(made(book)) == 1)
            terminal.stop(how)
            status = terminal.status(seconds)
            left = not wait_for(lambda: not processes(book.root), seconds)
            good = status == 130 and not left and terminal.is_restored() and b"Traceback" not in terminal.said
            lost[stage] += not good or not (before.items() <= made(book).items())
            assert good, (stage, how, status, left, terminal.said.decode())
            os.close(terminal.file)
            book.write("go", "")
    done = book.run("build")
    lost["PDF"] += done.returncode != 0 or not (book.root / "_build" / "book.pdf").is_file()
    began = (book.root / "began").read_text()
    lost["running"] += began != "xx"
    for stage in STAGES:
        fault(f"Ctrl-C or SIGTERM during {stage}", tries=number, lost=lost[stage])
    assert set(lost.values()) == {0}, (lost, began, done.stderr)
