"""A run leaves a whole folder or none, says what it depended on, and fails loudly."""

from __future__ import annotations

import json
import platform
import resource
from pathlib import Path

import pytest
from conftest import code, markdown, write_notebook

from benchbook import plan, schedule
from benchbook.project import Project

pytestmark = pytest.mark.slow


def results(book, experiment: str) -> dict:
    (folder,) = book.folders(experiment)
    return json.loads((folder / "results.json").read_text())


def test_a_run_keeps_parameters_values_claims_and_machine(book):
    """results.json holds what the notebook recorded, typed parameters and the cell of every record."""
    done = book.run("run", "double", "-p", "number=21")
    assert done.returncode == 0, done.stderr
    assert "twice = 42" in done.stdout
    found = results(book, "double")
    assert found["parameters"] == {"number": 21, "rate": 0.5}
    assert found["values"]["twice"] == {"value": 42, "unit": "s", "mean": 42.0, "std": None, "n": 1, "cell": 2}
    assert found["claims"]["bigger"]["holds"] is True
    assert found["claims"]["bigger"]["left"]["value"] == 42
    assert found["environment"]["packages"]["python"]
    assert found["environment"]["memory_mb"] > 10


def test_nothing_runs_twice_and_another_parameter_is_another_folder(book):
    """The folder is the fingerprint: the same run is found again, a new one stands beside it."""
    book.run("run", "double")
    (first,) = book.folders("double")
    made = (first / "status.json").read_bytes()
    book.run("run", "double")
    assert (first / "status.json").read_bytes() == made
    book.run("run", "double", "-p", "number=5")
    assert len(book.folders("double")) == 2


def test_several_seeds_keep_each_result(book):
    """A value of several seeds has its mean, spread and count."""
    book.run("run", "alone")
    record = results(book, "alone")["values"]["x"]
    assert record == {"values": [1.0, 1.5, 2.0], "unit": "", "mean": 1.5, "std": 0.5, "n": 3, "cell": 1}


def test_a_notebook_adds_facts_and_changes_none_of_the_engine_s(book):
    """Its own are kept; packages, memory and machine are what they are."""
    cell = code("import benchbook", "benchbook.environment(device='abacus', packages='all', memory_mb='much')")
    write_notebook(book.root / "experiments" / "alone.ipynb", markdown("# Boast"), cell)
    assert book.run("run", "alone").returncode == 0
    found = results(book, "alone")["environment"]
    assert found["device"] == "abacus"
    assert found["packages"]["python"] == ".".join(platform.python_version_tuple()[:2])
    assert found["memory_mb"] > 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_freed_memory_is_used_again(book):
    """Ten arrays of 50 MB one after another touch new pages once, unless whoever builds has set glibc otherwise."""
    cell = code(
        "import resource, benchbook",
        "for _ in range(10):",
        "    b'x' * 50_000_000",
        "benchbook.value('faults', resource.getrusage(resource.RUSAGE_SELF).ru_minflt)",
    )
    found = {}
    for name, settings in {"few": {}, "many": {"MALLOC_MMAP_THRESHOLD_": "1000000"}}.items():
        write_notebook(book.root / "experiments" / f"{name}.ipynb", markdown("# Arrays"), cell)
        book.run("run", name, GLIBC_TUNABLES="", **settings)
        found[name] = results(book, name)["values"]["faults"]["value"]
    assert found["many"] - found["few"] > 8 * 50_000_000 / resource.getpagesize()


def _offers_huge_pages() -> bool:
    offers = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return offers.exists() and "[never]" not in offers.read_text()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not _offers_huge_pages(), reason="settings of glibc and Linux")
def test_memory_comes_in_huge_pages(book):
    """Most of an array of 50 MB lies in pages of 2 MB."""
    cell = code(
        "import re, benchbook",
        "array = b'x' * 50_000_000",
        "found = re.findall(r'^AnonHugePages: +(\\d+) kB', open('/proc/self/smaps').read(), re.MULTILINE)",
        "benchbook.value('huge', sum(map(int, found)) / 1000)",
    )
    write_notebook(book.root / "experiments" / "huge.ipynb", markdown("# Arrays"), cell)
    book.run("run", "huge")
    assert results(book, "huge")["values"]["huge"]["value"] > 25


WRONG = {
    "1 / 0": "ZeroDivisionError: division by zero (cell 1)",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)": (
        "the kernel died in cell 1: killed by signal 9 (SIGKILL; the out-of-memory killer does that)"
    ),
    "import os\nopen('tries', 'a').write('x')\nos._exit(4)": "the kernel died in cell 1: it left with exit status 4",
    "import benchbook\nbenchbook.value('x', 1)\nbenchbook.value('x', 2)": "value 'x' is recorded twice",
    "import benchbook\nbenchbook.claim('t', False, 'false', must=True)": "AssertionError: claim 't' must hold",
    "import sys\nsys.exit()": "the notebook left before its end (SystemExit)",
    "import importlib\nimportlib.import_module('toy.b')": ("module toy was loaded, but no import statement names it"),
    (
        "import os, sys\nos.mkdir('far')\nopen('far/off.py', 'w').close()\n"
        "folder = 'far'\nsys.path.append(folder)\nimport off"
    ): ("module off was loaded, but no import statement names it"),
}


def test_what_goes_wrong_is_said_and_the_run_has_failed(book):
    """An exception, a dead kernel, a doubled name, a false theorem and a hidden import each fail their run alone."""
    for number, cell in enumerate(WRONG):
        write_notebook(book.root / "experiments" / f"wrong{number}.ipynb", markdown("# Fail"), code(cell))
    names = [f"wrong{number}" for number in range(len(WRONG))]
    book.write("profiles/quick.yml", "runs:\n" + "".join(f"  - experiment: {name}\n" for name in [*names, "alone"]))
    project = Project(book.root)
    schedule.make(project, plan.load(project, "quick").runs, "quick", schedule.Where(jobs=4))
    stands = book.status()
    for name, says in zip(names, WRONG.values(), strict=True):
        (folder,) = book.folders(name)
        status = json.loads((folder / "status.json").read_text())
        assert status["state"] == "failed"
        assert says in status["error"]
        assert says in stands[name]
        assert (folder / "executed.ipynb").is_file()
    assert stands["alone"].startswith("ok")
    assert (book.root / "tries").read_text() == "xx", "a dead kernel is worth another try"
    done = book.run("run", "wrong0")
    assert done.returncode == 1
    assert WRONG["1 / 0"] in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "twice"), [("double(number)", "double(number) + 1", 7), ("number: int = 3", "number: int = 4", 8)]
)
def test_a_notebook_edited_during_a_build_is_not_kept_as_the_old_one(book, old, new, twice):
    """The run that was planned before the edit has failed; the same command then makes the one of the new notebook."""
    path = book.root / "experiments" / "double.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["benchbook"] = {"needs": ["alone"]}
    path.write_text(json.dumps(notebook))
    edit = f"path.write_text(path.read_text().replace({old!r}, {new!r}))"
    cell = code("from pathlib import Path", f"path = Path({str(path)!r})", edit)
    write_notebook(book.root / "experiments" / "alone.ipynb", markdown("# Edit"), cell)
    project = Project(book.root)
    (planned, _) = plan.plan_runs(project, project.experiment("double"), [{}])
    done = book.run("run", "double")
    assert f"twice = {twice}" in done.stdout
    (made,) = (folder for folder in book.folders("double") if folder != planned.folder)
    assert json.loads((made / "results.json").read_text())["values"]["twice"]["value"] == twice
    status = json.loads((planned.folder / "status.json").read_text())
    assert status["error"] == "the notebook was edited after this run had been planned: run again"


@pytest.mark.parametrize("given", ["numbr=3", "number=2.5", "number=nan", "rate=nan", "a b=1", "number", "number=1;x"])
def test_a_bad_parameter_is_refused_before_a_kernel_starts(book, given):
    """One line, no traceback, nothing written."""
    done = book.run("run", "double", "-p", given)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (book.root / "runs").exists()


def test_plain_papermill_leaves_the_same_records(book, tmp_path):
    """Without the engine the executed notebook still holds its values and claims."""
    import papermill

    from benchbook.run import collect

    path, out = book.root / "experiments" / "alone.ipynb", tmp_path / "out.ipynb"
    papermill.execute_notebook(path, out, progress_bar=False, kernel_name="python3")
    found, wrong = collect(json.loads(out.read_text()))
    assert wrong == ""
    assert found["values"]["x"]["mean"] == 1.5
