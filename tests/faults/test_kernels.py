"""A run that does not end well is told every time, with its reason, and nothing of it is published."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import code, markdown, write_notebook

pytestmark = pytest.mark.slow
# Each says when it began, and ends badly unless a file says that all is well.
BAD = {
    "alone": ("Kernel killed (SIGKILL)", "killed by signal 9", "import os, signal\n    os.kill(os.getpid(), 9)"),
    "memory": (
        "Memory limit reached (RLIMIT_AS)",
        "MemoryError",
        "import resource as r\n    r.setrlimit(r.RLIMIT_AS, (2**32, 2**32))\n    bytearray(2**33)",
    ),
    "failing": ("A failing cell", "ZeroDivisionError: division by zero", "1 / 0"),
}
CELL = """import benchbook, pathlib, time
number = benchbook.value('number', 1000.0 + 7 * seed)
if not pathlib.Path('well').exists():
    with pathlib.Path('began-{name}').open('a') as file:
        file.write(f'{{time.time()}}\\n')
    {ends}"""


@pytest.fixture
def bad(book, tries):
    """A book of experiments that end badly, each with as many seeds as there are tries."""
    pages, runs = "", "title: Quick\nruns:\n"
    for name, (_, _, ends) in BAD.items():
        write_notebook(
            book.root / "experiments" / f"{name}.ipynb",
            markdown(f"# End {name}\n\nIt is {{value}}`number`."),
            code("seed: int = 0  # of nothing", tags=("parameters",)),
            code(CELL.format(name=name, ends=ends)),
        )
        pages += f"  - file: experiments/{name}\n"
        runs += f"  - experiment: {name}\n    seeds: {tries(few=1)}\n"
    book.write("_toc.yml", f"format: jb-book\nroot: book/index\nchapters:\n{pages}")
    book.write("book/index.md", "# Toy\n\n{value}`alone:number` {value}`memory:number` {value}`failing:number`\n")
    book.write("profiles/quick.yml", runs)
    (book.root / "experiments" / "double.ipynb").unlink()
    return book


def test_what_ends_badly_is_told_by_every_build_and_published_by_none(bad, tries, fault):
    """Status 1 each time, the reason in each run and on its page, and no number; mended, the same runs are made."""
    builds = tries(few=1, many=19)
    wrong = dict.fromkeys(BAD, 0)
    lost = dict.fromkeys(BAD, 0)
    statuses = [bad.run("build", "--no-pdf").returncode]
    for name, (_, reason, _) in BAD.items():
        found = [json.loads((folder / "status.json").read_text()) for folder in bad.folders(name)]
        lost[name] += any(status["state"] != "failed" or reason not in status["error"] for status in found)
        lost[name] += len(found) != tries(few=1)
        pages = bad.html(f"experiments/{name}") + bad.html("book/index")
        wrong[name] += "benchbook-value" in pages or "benchbook-missing" not in pages or reason not in pages
        # Five seconds hold for a machine that has nothing else to do than this test.
        ended = max(status["ended"] for status in found)
        began = max(map(float, (bad.root / f"began-{name}").read_text().split()))
        lost[name] += ended - began > tries(few=60, many=5)
    statuses += [bad.run("build", "--no-pdf", *word).returncode for word in [["--no-run"]] + [[]] * (builds - 1)]
    wrong["failing"] += statuses != [1] * (builds + 1)
    bad.write("well", "")
    done = bad.run("build", "--no-pdf")
    for name, (what, _, _) in BAD.items():
        lost[name] += done.returncode != 0 or not re.search(r">1,0\d\d</button>", bad.html(f"experiments/{name}"))
        fault(what, tries=builds + 1 if name == "failing" else tries(few=1), wrong=wrong[name], lost=lost[name])
    assert set(wrong.values()) == set(lost.values()) == {0}, (wrong, lost, statuses, done.stderr)


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with little memory; the test is skipped where none can be made."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    roots = [("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("", "/sys/fs/cgroup", "memory.max")]
    for kind, root, limit in roots:
        group = Path(root) / own.get(kind, "/").lstrip("/") / f"benchbook-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text(str(600 * 2**20))
                yield group
                return
            finally:
                group.rmdir()
    pytest.skip("no control group with little memory can be made here")


def test_the_out_of_memory_killer_fails_the_run_alone(book, small_group, tries, fault):
    """The real killer: the reason is said within 5 s of the death, and a run that takes too much is not tried again."""
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Take it all"),
        code(
            "import pathlib, time",
            "with pathlib.Path('began').open('a') as file:",
            "    file.write(f'{time.time()}\\n')",
            "bytearray(2 * 10**9)",
        ),
    )
    lost = 0
    number = tries(few=1)
    for attempt in range(number):
        (book.root / "began").unlink(missing_ok=True)
        done = book.run("run", "alone", group=small_group / "cgroup.procs")
        (folder,) = book.folders("alone")
        status = json.loads((folder / "status.json").read_text())
        told = "the kernel was killed for want of memory (out-of-memory killer) in cell 1" in status["error"]
        (began,) = (book.root / "began").read_text().split()
        late = status["ended"] - float(began) > 5 + tries(few=60, many=5)  # five to use up the memory
        lost += done.returncode != 1 or not told or late
        assert not lost, (attempt, status["error"])
    fault("Memory limit reached (out-of-memory killer)", tries=number, lost=lost)
