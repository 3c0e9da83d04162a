"""GPUs are counted, granted in slots, and never given to more runs at once than there are slots."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import code, markdown, write_notebook

from benchbook import gpus, plan, schedule
from benchbook.project import Project, forget, read_experiment


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1"]), ("1", ["1"]), ("", []), ("-1", []), ("1,-1,0", ["1"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])],
)
def test_devices_are_nvidia_s_and_those_that_cuda_may_see(tmp_path, monkeypatch, visible, expected):
    """Control files of the driver are no GPUs; CUDA_VISIBLE_DEVICES ends at its first invalid entry, as in CUDA."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.devices(tmp_path) == expected


def test_where_there_is_no_gpu_none_is_named(tmp_path, monkeypatch):
    """An environment that names GPUs makes none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert gpus.devices(tmp_path) == []
    with gpus.held([], 1) as names:
        assert names == []


def test_slots_fill_every_gpu_before_any_twice_and_are_freed_by_a_death(tmp_path):
    """Two GPUs of two slots: one run each, then a second each; a killed holder's slot is free at once."""
    slots = gpus.slots(tmp_path, ["a", "b"], 2)
    hold = (
        "import time; from benchbook import gpus\n"
        f"with gpus.held({slots}, 1) as names: print(names, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "['a']\n"
        with gpus.held(slots, 1) as second, gpus.held(slots, 2) as both:
            assert second == ["b"]
            assert both == ["a", "b"]
            holder.kill()
            holder.wait()
            with gpus.held(slots, 1) as again:
                assert again == ["a"]


@pytest.mark.slow
def test_runs_that_ask_for_a_gpu_get_one_each_and_wait_for_it(book, monkeypatch):
    """Five runs on two GPUs, with workers enough for all: each GPU has one at a time, and all get one."""
    path = book.root / "experiments" / "alone.ipynb"
    write_notebook(
        path,
        markdown("# Use a GPU"),
        code("number: int = 0  # which", tags=("parameters",)),
        code("import benchbook, os, time", "benchbook.environment(gpu=os.environ['CUDA_VISIBLE_DEVICES'])"),
        code("began = benchbook.value('began', time.time())", "time.sleep(0.5)"),
        code("ended = benchbook.value('ended', time.time())"),
    )
    notebook = json.loads(path.read_text())
    project = Project(book.root)
    monkeypatch.setattr(gpus, "devices", lambda: ["0", "1"])

    def make(memory: int, numbers: range) -> list[tuple[str, float, float]]:
        notebook["metadata"]["benchbook"] = {"gpu": 1, "memory_mb": memory}
        path.write_text(json.dumps(notebook))
        forget()
        runs = plan.plan_runs(project, read_experiment(path), [{"number": number} for number in numbers])
        schedule.make(project, runs, "quick", schedule.Where(jobs=5))
        found = [json.loads((run.folder / "results.json").read_text()) for run in runs]
        return [(r["environment"]["gpu"], r["values"]["began"]["value"], r["values"]["ended"]["value"]) for r in found]

    spans = make(100, range(5))
    assert {gpu for gpu, _, _ in spans} == {"0", "1"}
    assert all(not overlap(a, b) for a in spans for b in spans if a < b and a[0] == b[0])
    spans = make(10**9, range(5, 7))  # more than any machine has
    assert not overlap(*spans), "two runs that need all the memory ran at once"


def overlap(a: tuple[str, float, float], b: tuple[str, float, float]) -> bool:
    return a[1] < b[2] and b[1] < a[2]
