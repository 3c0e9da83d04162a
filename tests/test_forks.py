"""A fork is a process like one that Python starts anew, and it never outlives the one that asked for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from conftest import code, markdown, write_notebook

from benchbook import forks
from benchbook.run import collect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="fork servers are for Linux; elsewhere Python starts anew"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server of kernels."""
    with (tmp_path_factory.mktemp("server") / "log").open("w") as log, forks.server("kernel", os.environ, log) as name:
        yield name


def script(folder, *lines: str) -> None:
    (folder / "script.py").write_text("\n".join(lines))


def client(server, folder, *words: str, **environment: str) -> list[str]:
    """The command that runs the script in a fork."""
    return subprocess.Popen(
        [sys.executable, "-IS", forks.__file__, server, "script", *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_fork_has_the_client_s_words_folder_environment_and_files(server, tmp_path):
    """And the client has the fork's exit status."""
    script(
        tmp_path,
        "import os, random, sys",
        "print(sys.argv[1:], os.getcwd(), os.environ.get('COLOUR'), __name__, random.random())",
        "sys.exit('said on standard error')",
    )
    first, second = (client(server, tmp_path, "a b", "c", COLOUR="blue") for _ in range(2))
    said, error = first.communicate(timeout=20)
    assert said.startswith(f"['a b', 'c'] {tmp_path} blue __main__ 0.")
    assert error == "said on standard error\n"
    assert first.returncode == 1
    assert second.communicate(timeout=20)[0] != said, "two forks drew the same random number"


def test_a_fork_that_a_signal_ends_is_reported_as_such(server, tmp_path):
    """Its client says so and fails."""
    script(tmp_path, "import os", "os.kill(os.getpid(), 9)")
    killed = client(server, tmp_path)
    assert killed.communicate(timeout=20)[1] == "killed by signal 9 (SIGKILL)\n"
    assert killed.returncode != 0


def test_a_fork_and_its_children_end_with_the_client(server, tmp_path):
    """Nothing goes on when the client has been killed."""
    script(
        tmp_path,
        "import os, subprocess, time",
        "print(os.getpid(), subprocess.Popen(['sleep', '60']).pid, flush=True)",
        "time.sleep(60)",
    )
    waiting = client(server, tmp_path)
    family = [psutil.Process(int(word)) for word in waiting.stdout.readline().split()]
    assert all(process.is_running() for process in family)
    waiting.kill()
    waiting.communicate()
    deadline = time.monotonic() + 5
    while any(map(alive, family)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, family))


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_forked_kernel_has_what_any_kernel_has(book, monkeypatch):
    """Modules, paths and flags are those of a kernel that papermill starts: nothing leaks into a notebook."""
    path = book.root / "experiments" / "alone.ipynb"
    write_notebook(
        path,
        markdown("# Look around"),
        code(
            "import os, sys",
            "names = ' '.join(sorted(sys.modules))",
            "facts = [sys.path, sys.flags, sys._xoptions, sys.argv[0], os.getcwd(), os.getsid(0) == os.getpid()]",
        ),
        code("import benchbook", "benchbook.environment(modules=names, facts=facts)"),
    )
    done = book.run("run", "alone")
    assert done.returncode == 0, done.stdout
    (folder,) = book.folders("alone")
    forked = json.loads((folder / "results.json").read_text())["environment"]
    import papermill

    paths = [str(book.root / "src"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    out = book.root / "out.ipynb"
    papermill.execute_notebook(path, out, progress_bar=False, kernel_name="python3", cwd=str(book.root))
    plain = collect(json.loads(out.read_text()))[0]["environment"]
    assert set(forked["modules"].split()) - set(plain["modules"].split()) <= {"gc"}
    assert forked["facts"] == plain["facts"]
