"""The same profile on a cluster: SLURM itself, on this one machine, which tests/slurm/start.sh starts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import code, markdown, processes, wait_for, write_notebook

SCRIPTS = Path(__file__).with_name("slurm")
EXECUTOR = ("--executor", "slurm", "--jobs", "2")
SOON = ("--", "--slurm-init-seconds-before-status-checks", "1")

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A running SLURM; the test is skipped, with the reason, where there can be none."""
    if shutil.which("slurmctld") is None or shutil.which("munged") is None:
        pytest.skip("no SLURM: apt install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons are started by root only")
    folder = str(tmp_path_factory.mktemp("slurm"))
    started = subprocess.run([SCRIPTS / "start.sh", folder], capture_output=True, text=True, check=False)
    try:
        if started.returncode == 3:
            pytest.skip(started.stderr.strip())
        assert started.returncode == 0, started.stderr
        yield
    finally:
        subprocess.run([SCRIPTS / "stop.sh", folder], capture_output=True, check=True)


@pytest.fixture
def waiting(book):
    """A book whose `alone` asks for a GPU and, with x = 1, waits for a file."""
    path = book.root / "experiments" / "alone.ipynb"
    write_notebook(
        path,
        markdown("# Wait"),
        code("x: int = 0  # which", tags=("parameters",)),
        code("import benchbook, os, pathlib, time"),
        code("while x == 1 and not pathlib.Path('go').exists():", "    time.sleep(0.2)"),
        code("benchbook.environment(job=os.environ['SLURM_JOB_ID'], gpu=os.environ['CUDA_VISIBLE_DEVICES'])"),
    )
    notebook = json.loads(path.read_text())
    notebook["metadata"]["benchbook"] = {"gpu": 1, "memory_mb": 300, "minutes": 5}
    path.write_text(json.dumps(notebook))
    return book


def start(book, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchbook.cli", "run", "alone", *EXECUTOR, *words],
        cwd=book.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers(book) -> list[psutil.Process]:
    """The workers in whose notebook x is 1."""
    jobs = [path for path in book.root.glob("_build/schedule/*.json") if '"parameters": {"x": 1}' in path.read_text()]
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][1:] == ["-m", "benchbook.run", *map(str, jobs)]
    ]


def test_a_sweep_gets_what_it_asks_for_and_survives_a_killed_worker(slurm, waiting):
    """GPU, memory and minutes are SLURM's own; the display is live; the run whose worker is killed is made again."""
    builder = start(waiting, "-p", "x=0,1", *SOON)
    assert wait_for(lambda: list(waiting.root.glob("_build/progress/*.json")) and workers(waiting), 60)
    (worker,) = workers(waiting)
    worker.kill()
    waiting.write("go", "")
    said, error = builder.communicate(timeout=80)
    assert builder.returncode == 0, error
    assert "running  alone x=1" in said
    for folder in waiting.folders("alone"):
        facts = json.loads((folder / "results.json").read_text())["environment"]
        asked = subprocess.run(["scontrol", "show", "job", facts["job"]], capture_output=True, text=True, check=True)
        assert "TimeLimit=00:05:00" in asked.stdout
        assert "mem=300M" in asked.stdout
        assert "TresPerJob=gres:gpu:1" in asked.stdout
        assert facts["gpu"] in ("0", "1")
    assert said.count("ok       alone") == 2


def test_a_stopped_build_cancels_its_jobs(slurm, waiting):
    """After Ctrl-C, nothing runs and nothing is queued."""
    builder = start(waiting, "-p", "x=1", *SOON)
    assert wait_for(lambda: workers(waiting), 60)
    builder.send_signal(signal.SIGINT)
    builder.communicate(timeout=30)
    assert builder.returncode == 130

    def queue() -> str:
        return subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout

    assert wait_for(lambda: not queue() and not processes(waiting.root), 30), [queue(), *processes(waiting.root)]
    assert not waiting.folders("alone")


def test_what_slurm_refuses_is_said(slurm, waiting):
    """No run has failed, because none has begun; SLURM's own words say why."""
    builder = start(waiting, "-p", "x=0", *SOON, "--default-resources", "slurm_partition=none")
    _, error = builder.communicate(timeout=80)
    assert builder.returncode == 2
    assert "'alone' could not be started" in error
    assert "invalid partition specified: none" in error
    assert not waiting.folders("alone")
