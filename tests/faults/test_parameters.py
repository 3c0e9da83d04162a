"""Names and values that mean harm, by every way in which a user gives parameters: none runs, each is one line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT, Book, code, write_notebook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchbook import cli, commands

HOSTILE = (
    "$(touch evil)", "`touch evil`", "; touch evil", '"; touch evil; "', "'; touch evil; '", "$(shell touch evil)",
    "| touch evil", "&& touch evil", "\n touch evil", "__import__('os').system('touch evil')", "{{ evil }}", "${evil}",
    "1\nimport os; os.system('touch evil')", "'''; open('evil', 'w'); '''", "\\'; open('evil', 'w') #", "--", "-p",
    "../../evil", "/etc/passwd", "\x1b[2J", "\0", "\ud800", "%s%n", "!touch evil", "%%bash\ntouch evil", "1e999", "nan",
    "9" * 5000, "[", "[[", "[1]x[2]", "[1],[2]", "", " ", ",", ",,", "=", "١٢", "1_0", "0x10", "true", "None",
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30), st.integers().map(str), st.floats().map(str))
NAMES = st.one_of(st.sampled_from(("number", "rate", "text", "flag", "many", "__class__", "import", *HOSTILE)), TEXTS)
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.binary(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture
def typed(book: Book, monkeypatch: pytest.MonkeyPatch) -> Book:
    """A book with an experiment of all types, as the working folder; what would be run is kept in `planned`."""
    write_notebook(
        book.root / "experiments" / "typed.ipynb",
        code(
            "number: int = 3", "rate: float = 0.5", "text: str = 'a'", "flag: bool = True", "many: list[int] = [1]",
            "words: list[str] = ['a']",
            tags=("parameters",),
        ),
        code("given = [number, rate, text, flag, many, words]"),
    )  # fmt: skip
    monkeypatch.chdir(book.root)
    book.planned = []

    def make(project, planned, options):
        made = planned()
        book.planned += made.runs
        return made, {run.folder: commands.State("ok") for run in made.runs}

    monkeypatch.setattr(commands, "_make", make)
    monkeypatch.setattr(commands, "_print_run", lambda run, how: None)
    return book


def said(words: list[str]) -> tuple[int, str]:
    """The exit status of the command line in this process, and what it said of an error."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = cli.main(words)
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, error.getvalue()


def one_line(status: int, text: str) -> bool:
    """Whether a rejection has status 2 and is one line, and anything else is silent."""
    lines = text.splitlines()
    return (status == 2 and len(lines) == 1 and lines[0].isprintable()) or (status in (0, 1) and not lines)


def quiet(tries, many: int = 500):
    """Hypothesis without a memory and without a clock."""
    few = 30
    return settings(
        max_examples=tries(few, many), deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def test_the_command_line_takes_any_name_and_value(typed, fault, tries):
    """A value of the declared type, or one line; what papermill writes into the notebook is a literal again."""
    counts = [0, 0]

    @quiet(tries)
    @given(st.lists(st.tuples(NAMES, TEXTS), max_size=3), st.sampled_from(("typed", "typed", *HOSTILE)))
    def attempt(pairs, experiment):
        typed.planned.clear()
        words = ["run", *(f"--parameter={name}={value}" for name, value in pairs), experiment]
        status, text = said(words)
        counts[0] += 1
        good = one_line(status, text) and not list(typed.root.rglob("*evil*"))
        for run in typed.planned:
            for name, found in run.parameters.items():
                kind = type(run.experiment.parameters[name].default)
                good = good and type(found) is kind
        counts[1] += not good
        assert good, (words, status, text)

    attempt()
    fault("Parameter from a fuzzer, through benchbook run -p", tries=counts[0], wrong=counts[1])


def test_what_is_injected_is_a_literal(fault, tries):
    """Papermill's cell for any accepted text gives that very text back, and nothing else happens."""
    from papermill.translators import PythonTranslator

    counts = [0, 0]

    @quiet(tries)
    @given(st.text(max_size=40), TEXTS, st.lists(TEXTS, max_size=3))
    def attempt(first, second, third):
        values = {"first": first, "second": second, "third": third, "fourth": {second: third}}
        with contextlib.suppress(UnicodeEncodeError):  # half a character, which benchbook refuses before
            cell = PythonTranslator.codify(values)
            found: dict = {}
            exec(compile(cell, "cell", "exec"), {"__builtins__": {}}, found)
            counts[0] += 1
            counts[1] += found != values
            assert found == values

    attempt()
    fault("Parameter from a fuzzer, as the notebook gets it", tries=counts[0], wrong=counts[1])


@pytest.mark.parametrize("hostile", [text for text in HOSTILE if "\0" not in text and "\ud800" not in text])
def test_make_hands_over_what_it_is_given(tmp_path, fault, hostile):
    """Neither make nor the shell runs anything in what is given; benchbook gets the words as they are."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml", ".venv/.ready", ".venv/bin/benchbook"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    echo = tmp_path / ".venv" / "bin" / "benchbook"
    echo.write_text("#!/bin/sh\nfor word; do printf '%s\\0' \"$word\" >> got; done\n")
    echo.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key not in ("PROFILE", "NAME", "ID")}
    wrong = 0
    for given_in in ("words", "environment"):
        expected = hostile.lstrip() if given_in == "words" else hostile  # make itself takes the space before a value
        mine = {"EXP": hostile, "PARAMS": f"text={hostile}", "PROFILE": hostile, "AUTHOR": hostile, "BRIEF": hostile}
        words = [f"{key}={value}" for key, value in mine.items()] if given_in == "words" else []
        surrounding = environment if words else {**environment, **mine}
        for target in ("run", "submission", "status"):
            (tmp_path / "got").unlink(missing_ok=True)
            ended = subprocess.run(
                ["make", target, *words], cwd=tmp_path, env=surrounding, capture_output=True, text=True, check=False
            )
            wrong += (tmp_path / "evil").exists()
            if ended.returncode == 0 and (tmp_path / "got").exists():
                got = (tmp_path / "got").read_bytes().decode().split("\0")[:-1]
                if target == "run":
                    wrong += got != ["run", *(f"--parameter={word}" for word in f"text={hostile}".split()), expected]
                if target == "submission":
                    wrong += got[1:4] != [expected, "--author", expected]
            else:
                wrong += len(ended.stderr.strip().splitlines()) > 2  # ours, and make's own
    fault("Hostile words through make", tries=6, wrong=wrong)
    assert wrong == 0


def test_a_profile_takes_anything(typed, fault, tries):
    """Any YAML in a profile's place: a plan, or one line that names the file."""
    counts = [0, 0]
    entry = st.one_of(
        VALUES,
        st.fixed_dictionaries(
            {},
            optional={
                "experiment": st.one_of(st.sampled_from(("typed", "double", *HOSTILE)), VALUES),
                "parameters": st.one_of(st.dictionaries(NAMES, VALUES, max_size=2), VALUES),
                "sweep": st.one_of(st.dictionaries(NAMES, st.lists(VALUES, max_size=3), max_size=2), VALUES),
                "seeds": VALUES, "show": VALUES, "needs": VALUES, "nedes": VALUES,
            },
        ),
    )  # fmt: skip
    keys = {"title": VALUES, "note": VALUES, "reduced": VALUES, "strict": VALUES, "gpu_slots": VALUES, "other": VALUES}
    profile = st.fixed_dictionaries({}, optional={**keys, "runs": st.one_of(st.lists(entry, max_size=2), VALUES)})

    @quiet(tries)
    @given(st.one_of(profile, profile, VALUES))
    def attempt(content):
        text = yaml.safe_dump(content, allow_unicode=True)
        with contextlib.suppress(UnicodeEncodeError):
            typed.write("profiles/fuzzed.yml", text)
            status, line = said(["status", "--profile", "fuzzed"])
            counts[0] += 1
            good = one_line(status, line) and not list(typed.root.rglob("*evil*"))
            counts[1] += not good
            assert good, (content, status, line)

    attempt()
    fault("Profile from a fuzzer", tries=counts[0], wrong=counts[1])


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
FILES = {
    "profiles/bad.yml": (
        b"\xff\xfe", b"runs: &r [*r]", b"title: 2024-13-45", b"title: 2024-01-01",
        b"a: !!python/object/apply:os.system ['touch evil']", b"[" * 3000,
        b"? [a]\n: b", b"title: !!timestamp x", b"gpu_slots: !!int ''",
        b"runs: [{experiment: typed, sweep: {number: [1,2,3,4,5,6,7,8,9,10], rate: [1,2,3,4,5,6,7,8,9,10], "
        b"text: [a,b,c,d,e,f,g,h,i,j], flag: [true, false], many: [[1],[2],[3],[4],[5],[6]]}}]",
        b"runs: [{experiment: double, needs: {double: {}}}]", b"runs: [{experiment: typed}, {experiment: typed}]",
        b"title: \"a\\nb\"", b"\0", BOMB.encode(),
    ),
    "_toc.yml": (
        b"\xff", b"format: jb-book\nroot: ../outside\n", b"format: jb-book\nroot: book/index\nchapters: &c [*c]\n",
        b"format: jb-book\nroot: book/index\nchapters:\n- file: ../../outside\n", b"root: /etc/passwd",
        b"format: jb-book\nroot: book/index\nchapters:\n- file: \"a\\nb\"\n", b"root: [1]", b"[" * 3000, BOMB.encode(),
        b"root: book/index\nchapters:\n- file: a/../../b\n",
    ),
    "experiments/typed.ipynb": (
        b"\xff", b"[]", b"{}", b"null", b'{"cells": 5}', b'{"cells": [5]}', b'{"cells": [], "metadata": []}',
        b'{"cells": [{"cell_type": "code", "source": [1], "metadata": {}}]}', b"[" * 100_000,
        b'{"cells": [{"cell_type": "code", "source": "", "metadata": {"tags": 5}}]}',
        b'{"cells": [{"cell_type": "code", "source": "", "metadata": {"mystnb": 5}}]}',
        b'{"cells": [{"cell_type": "code", "source": "", "metadata": {"mystnb": {"figure": []}}}]}',
        b'{"cells": [{"cell_type": "code", "source": "x: int = {[]: 1}", "metadata": {"tags": ["parameters"]}}]}',
        b'{"cells": [{"cell_type": "code", "source": "x = 1\\u0000", "metadata": {"tags": ["parameters"]}}]}',
        b'{"cells": [{"cell_type": "code", "source": "def f():\\n  return 1", "metadata": {"tags": ["parameters"]}}]}',
        b'{"cells": [], "metadata": {"kernelspec": []}}', b'{"cells": [], "metadata": {"benchbook": 5}}',
        b'{"cells": [], "metadata": {"benchbook": {"needs": "a"}}}',
        b'{"cells": [], "metadata": {"benchbook": {"x": 1}}}',
        b'{"cells": [], "metadata": {"benchbook": {"needs": ["../outside"]}}}',
        b'{"cells": [], "metadata": {"benchbook": {"needs": ["typed"]}}}',
        b'{"cells": [], "metadata": {"benchbook": {"gpu": -1}}}',
        b'{"cells": [], "metadata": {"benchbook": {"gpu": true}}}',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, one) for name, all_of in FILES.items() for one in all_of])
def test_a_file_that_means_nothing_is_one_line(typed, fault, name, content):
    """Wrong types, unknown keys, cycles, bombs, paths outside, no text at all: refused in one line."""
    (typed.root.parent / "outside.ipynb").write_bytes((typed.root / "experiments" / "alone.ipynb").read_bytes())
    typed.write("profiles/bad.yml", "runs: [{experiment: typed}]")
    (typed.root / name).write_bytes(content)
    wrong = 0
    for words in (["status", "--profile", "bad"], ["build", "--no-run", "--no-pdf", "--profile", "bad"]):
        status, line = said(words)
        wrong += not (status == 2 and one_line(status, line))
        assert not wrong, (status, line)
    wrong += bool(list(typed.root.rglob("*evil*")))
    fault("Profile, notebook or _toc.yml that means nothing", tries=2, wrong=wrong)
    assert wrong == 0


def test_a_null_byte_in_a_cell_stops_nothing_else(typed):
    """A cell that is no Python is read for its imports as far as it goes."""
    write_notebook(typed.root / "experiments" / "null.ipynb", code("import toy.a\nx = '\0'"), code("(" * 500))
    typed.write("profiles/null.yml", "runs: [{experiment: 'null'}]")
    assert said(["status", "--profile", "null"]) == (0, "")


def test_the_kernel_gets_texts_as_they_are(book, fault):
    """Through the engine to the notebook: a few hostile texts come back as values of what was given."""
    write_notebook(
        book.root / "experiments" / "text.ipynb",
        code("text: str = 'a'", "words: list[str] = ['a']", tags=("parameters",)),
        code("import benchbook, hashlib", "benchbook.claim('same', True, hashlib.sha256(text.encode()).hexdigest())"),
    )
    import hashlib

    chosen = ["$(touch evil)", "'''; open('evil', 'w'); '''", "%%bash\ntouch evil", "\\'; open('evil', 'w') #"]
    words = [word for text in chosen for word in ("-p", f"text='{text}'")][:2]
    ended = book.run("run", "text", *words)
    assert ended.returncode == 0, ended.stderr
    results = json.loads((book.folders("text")[0] / "results.json").read_text())
    assert results["claims"]["same"]["text"] == hashlib.sha256(chosen[0].encode()).hexdigest()
    book.write("profiles/texts.yml", yaml.safe_dump({"runs": [{"experiment": "text", "sweep": {"text": chosen[1:]}}]}))
    assert book.run("build", "--no-pdf", "--profile", "texts", "--jobs", "1").returncode in (0, 2)
    for folder in book.folders("text"):
        results = json.loads((folder / "results.json").read_text())
        expected = hashlib.sha256(results["parameters"]["text"].encode()).hexdigest()
        assert results["claims"]["same"]["text"] == expected
    wrong = len(list(book.root.rglob("*evil*")))
    fault("Hostile text through the kernel", tries=len(chosen), wrong=wrong)
    assert wrong == 0
