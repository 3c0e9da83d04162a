"""The longest realistic case: a profile of hundreds of runs, whose kernels are killed now and then."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import code, markdown, write_notebook

pytestmark = pytest.mark.slow
BUILDS = 5  # a run whose kernel is killed twice in one build has failed, and is made by the next


def kernels(builder: psutil.Process) -> list[psutil.Process]:
    """The kernels of a build: forks of its second fork server."""
    servers = [child for child in builder.children() if child.cmdline()[-1:] == ["kernel"]]
    return [kernel for server in servers for kernel in server.children()]


def soak(root: Path, jobs: int, each: int, chance: random.Random) -> tuple[int, int, list[int]]:
    """Builds, killing a kernel for about every `each` runs that end; returns exit status, kills, memory in bytes."""
    words = [sys.executable, "-m", "benchbook.cli", "build", "--no-pdf", "--jobs", str(jobs)]
    builder = psutil.Popen(words, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended = len(list(root.glob("runs/alone/*/status.json")))  # in builds before this one, which mends what they lost
    kills, memory, due = 0, [], 1 + 1.5 * ended
    while builder.poll() is None:
        with contextlib.suppress(psutil.Error):  # gone in the meantime
            running = kernels(builder)
            if running:
                memory.append(builder.memory_info().rss)
            if running and len(list(root.glob("runs/alone/*/status.json"))) >= due:
                chance.choice(running).kill()
                kills += 1
                due += each * chance.uniform(0.5, 1.5)
        time.sleep(0.2)
    return builder.returncode, kills, memory


def test_many_runs_with_killed_kernels_are_all_made_and_right(book, tries, fault):
    """Every run ends well, with the value that its seed demands, and the builder's memory does not grow."""
    number = tries(few=6, many=500)
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Take two seconds"),
        code("seed: int = 0  # of the value", tags=("parameters",)),
        code("import benchbook, random, time", f"time.sleep({tries(few=1, many=2)})"),
        code("x = benchbook.value('x', random.Random(seed).random())"),
    )
    book.write("profiles/quick.yml", f"title: Quick\nruns:\n  - experiment: alone\n    seeds: {number}\n")
    book.write("_toc.yml", "format: jb-book\nroot: book/index\nchapters:\n  - file: experiments/alone\n")
    book.write("book/index.md", "# Toy\n\n{value}`alone:x`\n")
    (book.root / "experiments" / "double.ipynb").unlink()
    chance, kills, memory = random.Random(0), 0, []
    for _ in range(BUILDS):
        status, killed, sizes = soak(book.root, tries(few=2, many=8), tries(few=3, many=10), chance)
        kills += killed
        memory = memory or sizes
        if status == 0:
            break
    found = [json.loads((folder / "results.json").read_text()) for folder in book.folders("alone")]
    values = [(result["parameters"]["seed"], result["values"]["x"]["value"]) for result in found if result["values"]]
    wrong = sum(value != random.Random(seed).random() for seed, value in values)
    quarter = len(memory) // 4
    early, late = (sorted(part)[len(part) // 2] for part in (memory[quarter : 2 * quarter], memory[-quarter:]))
    print(f"{number} runs, {kills} kernels killed, {early / 1e6:.1f} MB early, {late / 1e6:.1f} MB late")
    lost = number - len(values) + (status != 0) + (late - early > 5e6)
    fault(f"Kernels killed at random in a build of {number} runs", tries=kills, wrong=wrong, lost=lost)
    assert kills
    assert (status, len(values), wrong) == (0, number, 0)
    assert late - early < 5e6
