"""Missing runs are made in parallel; a stopped builder takes its workers with it and keeps what had finished."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import code, markdown, processes, wait_for, write_notebook

from benchbook import display, plan, schedule
from benchbook.errors import BookError
from benchbook.machine import cores
from benchbook.project import Project

# Waits, with a process of its own, until it is run again after somebody has put a file there.
WAIT = code(
    "import benchbook, pathlib, subprocess, time",
    "if not pathlib.Path('go').exists():",
    "    subprocess.Popen(['sleep', '60'])",
    "    time.sleep(60)",
    "x = benchbook.value('x', 1)",
)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("single", [False, True])
def test_a_stopped_build_leaves_no_process_and_keeps_finished_runs(book, how, single):
    """Ctrl-C, a polite kill and a rude one: kernels and their children end too, and only their runs are lost."""
    if single:  # only the run that will be stopped is missing
        assert book.run("run", "double", "-p", "number=4").returncode == 0
    write_notebook(book.root / "experiments" / "alone.ipynb", markdown("# Wait"), WAIT)
    builder = subprocess.Popen(
        [sys.executable, "-m", "benchbook.cli", "build", "--no-pdf", "--jobs", "2"],
        cwd=book.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_for(lambda: list(book.root.glob("runs/double/*/status.json")), 60)
    assert wait_for(lambda: any(" sleep 60" in line for line in processes(book.root)), 60)
    assert "cell 1 of 1" in book.status()["alone"]
    builder.send_signal(how)
    _, said = builder.communicate(timeout=15)
    if how != signal.SIGKILL:
        assert builder.returncode == 130
        assert "stopped; what had finished is kept" in said
    assert wait_for(lambda: not processes(book.root), 5), processes(book.root)
    assert book.status()["double"].startswith("ok")
    assert book.status()["alone"].startswith("not run")
    book.write("go", "")
    again = book.run("build", "--no-pdf")
    assert again.returncode == 0, again.stderr
    assert "double" not in again.stdout
    assert not list(book.root.glob("runs/*/.*"))


@pytest.mark.slow
def test_a_killed_worker_is_tried_once_more_and_then_given_up(book):
    """The run whose worker always dies has failed, with the cell; the others are made, one of them the second time."""
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Kill the worker"),
        code("times: int = 0  # how often", tags=("parameters",)),
        code(
            "import os, pathlib, signal",
            "from ipykernel.kernelapp import IPKernelApp",
            "tries = pathlib.Path(f'tries{times}')",
            "tries.write_text((tries.read_text() if tries.exists() else '') + 'x')",
            "if len(tries.read_text()) <= times:",
            "    os.kill(IPKernelApp.instance().parent_handle, signal.SIGKILL)",
            "    __import__('time').sleep(60)",
        ),
    )
    done = book.run("run", "alone", "-p", "times=0,1,2", "--jobs", "3")
    assert done.returncode == 1
    assert sorted(line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("runs/")) == (
        ["failed", "ok", "ok"]
    )
    error = "also when tried once more: killed by signal 9 (SIGKILL) in cell 2 of 2"
    assert f"failed: its worker has ended without a result, {error}" in done.stdout
    assert [(book.root / f"tries{times}").read_text() for times in (0, 1, 2)] == ["x", "xx", "xx"]
    for times, found in ((1, "ok"), (2, f"failed: its worker has ended without a result, {error}")):
        (book.root / f"tries{times}").unlink()
        shutil.rmtree(book.root / "runs")
        by_itself = book.run("run", "alone", "-p", f"times={times}")
        assert f": {found}" in by_itself.stdout
        assert (book.root / f"tries{times}").read_text() == "xx"


@pytest.mark.slow
def test_a_single_run_has_all_cores_and_waits_for_no_scheduler(book):
    """It is told so by the same variables as Snakemake's jobs; two runs are Snakemake's."""
    cell = code("import os, benchbook", "benchbook.value('x', int(os.environ['OMP_NUM_THREADS']))")
    write_notebook(book.root / "experiments" / "alone.ipynb", markdown("# Count"), cell)
    scheduler = book.root / "_build" / "schedule" / schedule.LOG
    for name, is_asked in (("alone", False), ("double", False), ("build", True)):
        if is_asked:
            shutil.rmtree(book.root / "runs")
        done = book.run(*(("build", "--no-pdf") if is_asked else ("run", name)))
        assert done.returncode == 0, done.stderr
        assert ("Building DAG of jobs" in scheduler.read_text()) == is_asked
        if name == "alone":
            (folder,) = book.folders("alone")
            assert json.loads((folder / "results.json").read_text())["values"]["x"]["value"] == cores()


@pytest.mark.slow
def test_a_snakefile_of_the_book_comes_first(book):
    """What it does not start is named, with its own complaint."""
    book.write("Snakefile", "raise ValueError('no schedule today')\n")
    done = book.run("run", "alone")
    assert done.returncode == 2
    assert "'alone' could not be started: " in done.stderr
    assert "no schedule today" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_display_says_where_a_run_is(book):
    """Cell k of n, epoch, elapsed and remaining time, from what the worker and the notebook left."""
    run = plan.load(Project(book.root), "quick").runs[0]
    assert display.row(run, {})[0] == "waiting"
    progress = book.root / "_build" / "progress" / f"{run.fingerprint}.json"
    progress.parent.mkdir(parents=True)
    began = time.time() - 65
    progress.write_text(json.dumps({"cell": 3, "cells": 4, "began": began, "time": began + 5}))
    progress.with_suffix(".step").write_text(json.dumps({"step": 5, "steps": 10, "time": began + 60}))
    state, label, where, elapsed, remaining = display.row(run, {})
    assert (state, label, where) == ("running", "double number=4", "cell 3 of 4, epoch 5 of 10")
    assert elapsed == "1:05"
    assert remaining == "0:55"  # half of the steps took 55 s; by its share of the cells it would be 39 s
    progress.with_suffix(".step").write_text(json.dumps({"step": 9, "steps": 10, "time": began + 60}))
    assert display.row(run, {})[4] == "0:25"  # 6 s by the steps; (2 + 9/10) of 4 cells are done: 65 s · 0.275 / 0.725
    # An earlier run counts if it had the same parameters, and what is left of the steps is the least.
    for number, seconds, left in ((3, 66, "0:25"), (4, 75.4, "0:10"), (4, 66, "0:06")):
        status = {"state": "ok", "error": "", "files": {}, "ended": 1.0, "seconds": seconds}
        status["ingredients"] = {"parameters": {**run.parameters, "number": number}}
        folder = run.folder.with_name("earlier")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "status.json").write_text(json.dumps(status))
        assert display.row(run, {})[4] == left


@pytest.fixture
def stars(book):
    """A book whose chapter looks at a data set, which a module of the book's own makes; a function that has it made."""
    book.write("pyproject.toml", '[tool.benchbook.data.stars]\nfiles = ["stars.npz"]\nprepare = "toy.fetch stars"\n')
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Look at stars"),
        code('dataset: str = "stars"  # which', tags=("parameters",)),
    )
    project = Project(book.root)
    return lambda: schedule.prepare_data(project, list(plan.load(project, "quick").runs))


def test_a_data_set_is_made_by_a_module_of_the_book(book, stars):
    """Once, where it belongs, before any run starts."""
    book.write(
        "src/toy/fetch.py",
        "import os, sys, pathlib\n"
        "folder = pathlib.Path(os.environ['DATA_ROOT'])\n"
        "folder.mkdir()\n"
        "(folder / f'{sys.argv[1]}.npz').write_text('')\n",
    )
    assert stars()
    assert (book.root / "data" / "stars.npz").is_file()
    assert not stars()


def test_a_data_set_that_cannot_be_made_is_named(book, stars):
    """The preparing program's own line reaches the user, before any run starts."""
    book.write("src/toy/fetch.py", "raise SystemExit('no network')\n")
    with pytest.raises(BookError, match=r"^data set 'stars': no network$"):
        stars()
