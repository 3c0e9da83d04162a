"""The page on the engine tells the truth: its commands print what it shows, its cells record what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jupyter_book
import pytest
from conftest import Book, code, write_notebook

from benchbook import plan
from benchbook.cli import _parser
from benchbook.experiments import read
from benchbook.project import Project

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "book" / "engine.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# What differs from one machine or run to the next: fingerprints, times, sizes.
PERSONAL = [
    (r" \(site [^)]*MB\)", ""),
    (r"\b[0-9a-f]{16}\b|\([0-9a-f]{8}\)", "#"),
    (r"\d+:\d\d", "0:00"),
    (r" *\d+\.\d MB", "0.0 MB"),
]

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def impersonal(text: str, home: Path) -> str:
    text = text.replace(str(home), "~")
    for pattern, replacement in PERSONAL:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def matches(shown: str, said: str) -> bool:
    """Whether the output is what the page shows, where a line '…' stands for any number of lines."""
    parts = [re.escape(part.strip("\n")) for part in re.split(r"^…$", shown, flags=re.MULTILINE)]
    return re.fullmatch(r"(?:.*\n)?".join(f"{part}\n?" if part else "" for part in parts), said, re.DOTALL) is not None


@dataclass
class Session:
    """A user's terminal: a home with `benchbook` on the PATH, and what has been said in it."""

    home: Path
    folder: Path

    def say(self, command: str) -> str:
        """The output of a command, which may change the folder."""
        script = f"{command}\nstatus=$?; pwd > '{self.home}/.folder'; exit $status"
        environment = {**os.environ, "HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.folder = Path((self.home / ".folder").read_text().strip())
        return done.stdout


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Session:
    """A home with a program `benchbook` and the book that `jupyter-book create` writes, under the name of lectures."""
    home = tmp_path_factory.mktemp("home").resolve()
    (home / "bin").mkdir()
    (home / "bin" / "benchbook").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m benchbook.cli "$@"\n')
    (home / "bin" / "benchbook").chmod(0o755)
    shutil.copytree(Path(jupyter_book.__file__).parent / "book_template", home / "lectures")
    return Session(home, home)


@pytest.fixture(scope="module")
def told(session) -> list[tuple[str, str, str]]:
    """Every command of the page, run in its order, with what the page shows and what was said."""
    found = []
    for language, text in BLOCKS:
        if language == "yaml":
            name = re.match(r"# (\S+)", text)
            (session.folder / name[1]).write_text(text)
        elif language == "md":
            with (session.folder / "book" / "index.md").open("a") as file:
                file.write(f"\n{text}")
        elif language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, shown = part.partition("\n")
                said = session.say(command)
                found.append((command, impersonal(shown, session.home), impersonal(said, session.home)))
    return found


def test_every_command_prints_what_the_page_shows(told):
    """All console blocks, from `benchbook init` on, in one session."""
    wrong = [f"$ {command}\n{said}" for command, shown, said in told if not matches(shown, said)]
    assert not wrong, "\n".join(wrong)
    assert len(told) >= 18


def test_the_prose_example_prints_numbers(told, session):
    """The value roles of the example show numbers, and its claim a verdict, in the book that the page builds."""
    html = Book(session.home / "pi-book").html("book/index")
    after = " ".join(re.sub(r"<[^>]+>", "", html[html.index("Make it yours") :]).split())
    assert re.search(r"After 100,000.* darts the estimate is 3\.14\d+ ± 0\.\d+", after)
    assert "✓ holds" in after


def test_every_cell_records_what_the_page_shows(told, session):
    """The Python blocks are one notebook, with the page's own metadata; each prints the text block that follows it."""
    cells, shown = [], []
    for (language, text), following in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if language == "python":
            cells.append(code(text.rstrip(), tags=() if cells else ("parameters",)))
            shown.append(following[1] if following[0] == "text" else "")
    path = session.home / "pi-book" / "experiments" / "page.ipynb"
    write_notebook(path, *cells)
    notebook = json.loads(path.read_text())
    settings = [json.loads(text)["benchbook"] for text in blocks("json")]
    notebook["metadata"]["benchbook"] = {key: value for part in settings for key, value in part.items()}
    path.write_text(json.dumps(notebook))
    session.folder = session.home / "pi-book"
    assert "runs/page/" in session.say("benchbook run page")
    (executed,) = (session.home / "pi-book" / "runs" / "page").glob("*/executed.ipynb")
    printed = []
    for cell in json.loads(executed.read_text())["cells"]:
        texts = [output.get("text") or output["data"]["text/plain"] for output in cell["outputs"]]
        printed.append("\n".join("".join(text).rstrip("\n").replace("\u00a0", " ") for text in texts))
    assert printed == [text.rstrip("\n") for text in shown]
    assert (executed.parent / "throws.safetensors").is_file()
    assert read(path).resources == {"gpu": 1, "memory_mb": 8000, "minutes": 90}


def test_the_profile_means_what_the_page_says(told, session):
    """A grid of two by two, the shown run, and the other one that `even` needs."""
    made = plan.load(Project(session.home / "pi-book"), "small")
    assert made.gpu_slots == 2
    assert made.reduced
    points = [(run.parameters["num_points"], run.parameters["seed"]) for run in made.runs[:4]]
    assert points == [(1000, 1), (1000, 2), (2000, 1), (2000, 2)]
    assert made.shown()["darts"].parameters["num_points"] == 2000
    assert made.shown()["even"].needs["darts"].parameters["num_points"] == 1000


def test_declared_data_count_as_the_page_says(tmp_path):
    """The first of the files that is there, and what belongs to it; nothing where none is."""
    book = Book(tmp_path)
    book.write("pyproject.toml", blocks("toml")[0])
    project = Project(tmp_path)
    assert project.data_digests("stars") == {}
    for name in ("stars.csv.gz", "names.txt", "other.txt"):
        book.write(f"data/{name}", name)
    assert set(project.data_digests("stars")) == {"stars.csv.gz", "names.txt"}
    book.write("data/stars.csv", "first")
    assert set(project.data_digests("stars")) == {"stars.csv", "names.txt"}


def test_every_command_is_explained():
    """The page's table names each command of `benchbook --help`."""
    (commands,) = (action for action in _parser()._actions if action.choices and not action.option_strings)
    explained = set(re.findall(r"^\| `benchbook (\w+)", PAGE, re.MULTILINE))
    assert set(commands.choices) <= explained
