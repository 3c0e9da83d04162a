"""The command line explains itself, and says what is wrong in one line."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_help_names_every_command(book):
    """`benchbook --help` explains all that there is."""
    said = book.run("--help").stdout
    for command in ("list", "run", "build", "status", "serve"):
        assert re.search(rf"^    {command} +\w", said, re.MULTILINE)


def test_list_shows_parameters_with_their_meanings(book):
    """Names, types, defaults and comments of all experiments."""
    said = book.run("list").stdout
    assert "double: Double a number" in said
    assert "number: int = 3  what to double" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "duoble"], "no experiment 'duoble'; did you mean 'double'"),
        (["run", "double", "-p", "number=1", "-p", "number=2"], "given twice"),
        (["build", "--profile", "qiuck"], "no profile 'qiuck'; did you mean 'quick'"),
        (["build", "--jobs", "0"], "--jobs is 0"),
        (["serve"], "there is no book"),
    ],
)
def test_bad_input_gets_one_line(book, words, says):
    """The thing and the remedy, status 2, no traceback."""
    done = book.run(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_that_cannot_be_had_is_named_in_one_line(book):
    """One that another program has, and one that is none."""
    book.write("_build/html/index.html", "")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], 70_000):
            done = book.run("serve", "--port", str(port))
            assert done.returncode == 2
            assert f"--port {port} cannot be had" in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1


def test_outside_a_book_it_says_so(tmp_path):
    """Called from anywhere else, it names the folder and what is missing."""
    command = [sys.executable, "-m", "benchbook.cli", "status"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path} is not inside a book" in done.stderr


def test_serve_shows_the_built_book_on_a_free_port(book):
    """The address is printed, only this machine is answered, and pages arrive."""
    book.write("_build/html/index.html", "<p>here</p>")
    book.write("_build/book.pdf", "%PDF")
    command = [sys.executable, "-m", "benchbook.cli", "serve"]
    server = subprocess.Popen(command, cwd=book.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        assert urllib.request.urlopen(address, timeout=10).read() == b"<p>here</p>"
        assert urllib.request.urlopen(f"{address}book.pdf", timeout=10).read() == b"%PDF"  # beside the site
    finally:
        server.terminate()
        assert server.wait(10) == 130


def test_make_alone_prints_one_line_for_each_target():
    """The targets of the README, each with its meaning."""
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    targets = {line.split()[1] for line in said}
    assert targets >= {"book", "test", "check", "run", "status", "serve", "clean"}
    assert all(len(line.split()) > 3 for line in said)
