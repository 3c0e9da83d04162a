"""Whatever a killed writer leaves, or one without room, is old or new, never a mixture; the next build heals it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Book, code, markdown, write_notebook

from benchbook import book, built, cli, plan, run, schedule, state, submission
from benchbook.errors import tells_of_full_disk
from benchbook.plan import Plan
from benchbook.project import Project
from tests.bench import _books
from tests.faults import _moments
from tests.faults._moments import forked, half_made, restore, tree

pytestmark = pytest.mark.slow
BRIEF = {"first": {"title": "First", "items": {"A-1": "Twelve?"}, "handin": {"a.pdf": "answers", "b.zip": {}}}}


@dataclass
class World:
    """A book that has been built from old runs and is to be built from new ones, and its copy as it was."""

    root: Path
    kept: Path
    old: Plan
    new: Plan

    def build(self) -> str:
        """The site from the new runs."""
        project, how = Project(self.root), state.states(self.new.runs)
        return book.build(project, self.new, how, built.digest(project, self.new, how), pdf=False) and ""

    def submit(self) -> None:
        """The hand-in from the new runs."""
        how = state.states(self.new.runs)
        submission.submit(Project(self.root), self.new, how, "first", "Ada Byron", "1", quick=False)


def with_seed(root: Path, seed: int) -> Plan:
    """The profile with another parameter, and runs for it."""
    entries = [{"experiment": f"chapter_{number:02}", "parameters": {"seed": seed}} for number in range(2)]
    (root / "profiles" / "quick.yml").write_text(yaml.safe_dump({"title": "Quick", "runs": entries}))
    _books.pretend_runs(root)
    return plan.load(Project(root), "quick")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """Two chapters with a picture each, a brief with its answer; the site and the hand-in made from the old runs."""
    for heavy in ("jupyter_book.config", "sphinx.application", "myst_nb", "typst", "bs4"):
        __import__(heavy)  # once, not in every fork
    folder = tmp_path_factory.mktemp("killed")
    root = _books.write_book(folder / "book", 2, 1, pictures=1)
    brief = json.loads(json.dumps(BRIEF).replace("{}", '{"README.txt": "readme", "code/": "code"}'))
    (root / "book" / "briefs.yml").write_text(yaml.safe_dump(brief))
    (root / "book" / "answers").mkdir()
    (root / "book" / "answers" / "a.md").write_text("## A-1\n\nIt is {value}`chapter_00:answer`.\n")
    (root / "book" / "brief_first.md").write_text("# First\n\n```{brief} first\n```\n")
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    toc["chapters"].append({"file": "book/brief_first"})
    (root / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))
    made = World(root, folder / "kept", with_seed(root, 1), with_seed(root, 2))
    before = World(root, made.kept, made.old, made.old)
    assert forked(before.build) == 0
    assert forked(before.submit) == 0
    shutil.copytree(root, made.kept, symlinks=True)
    return made


WRITERS = {
    "site": (World.build, "html"),
    "submission": (World.submit, "submission"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_killed_writer_of_pages_leaves_the_old_or_the_new(world, name, tries, fault):
    """Site and submission: whole at every moment, and right after the next build; nothing half made stays."""
    function, folder = WRITERS[name]
    shown, build = world.root / "_build" / folder, world.root / "_build"
    old = tree(world.kept / "_build" / folder)
    restore(world.kept, world.root)
    number = _moments.changes(lambda: function(world), build)
    new = tree(shown)
    shutil.rmtree(build)
    assert forked(lambda: function(world)) == 0
    fresh = tree(shown)
    assert old.keys() >= {"index.html"} or old.keys() >= {"a.pdf"}
    assert not any(old[name] == new[name] for name in ("book/index.html", "a.pdf") if name in old)
    wrong = lost = died = 0
    for attempt in range(tries(many=24)):
        chance = random.Random(attempt)
        restore(world.kept, world.root)
        at, pause = chance.randint(1, number), chance.choice([0, chance.uniform(1e-6, 5e-3)])
        died += _moments.killed(lambda: function(world), build, at, pause)
        wrong += tree(shown) not in (old, new)
        healed = forked(lambda: function(world)) == 0 and tree(shown) in (new, fresh) and not half_made(build)
        lost += not healed
    fault(f"Builder killed while it writes the {name}", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)


def test_a_killed_writer_of_a_pdf_leaves_the_old_or_the_new(tmp_path, tries, fault):
    """At its place there is a whole file, always."""
    from benchbook.pdf import make_pdf

    page = tmp_path / "single" / "index.html"
    page.parent.mkdir()
    page.write_text(f"<article><section id='a'><h1>One</h1>{'<p>Words and words.</p>' * 200}</section></article>")
    target = tmp_path / "made" / "book.pdf"

    def make(title: str) -> Callable[[], Any]:
        return lambda: make_pdf(page.parent, target, {"title": title}) and 0

    assert forked(make("New")) == 0
    new = target.read_bytes()
    assert forked(make("Old")) == 0
    old = target.read_bytes()
    number = _moments.changes(make("Old"), target.parent)
    wrong = lost = died = 0
    for attempt in range(tries(many=28)):
        chance = random.Random(attempt)
        died += _moments.killed(make("New"), target.parent, chance.randint(1, number), chance.choice([0, 1e-4, 1e-3]))
        wrong += target.read_bytes() not in (old, new)
        lost += forked(make("New")) != 0 or tree(target.parent).keys() != {"book.pdf"} or target.read_bytes() != new
        assert forked(make("Old")) == 0
    fault("Builder killed while it writes the PDF", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)


def test_a_full_disk_leaves_the_last_book_and_says_so(world, tmp_path, tries, fault):
    """Site and PDF: one line with the file and the room that is left, nothing half made, and a build once there is."""
    build, said = world.root / "_build", tmp_path / "said"

    def command(*words: str) -> int:
        os.chdir(world.root)
        with said.open("w") as file, contextlib.redirect_stderr(file):
            return cli.main(list(words))

    restore(world.kept, world.root)
    assert forked(lambda: command("build", "--no-run")) == 0
    new, size = tree(build / "html"), sum(path.stat().st_size for path in build.rglob("*") if path.is_file())
    old = tree(world.kept / "_build" / "html")
    shutil.rmtree(build)
    assert forked(lambda: command("build", "--no-run")) == 0
    fresh = tree(build / "html")
    shutil.rmtree(build)
    rows = {"site": [0, 0, 0], "PDF": [0, 0, 0]}
    with _moments.disk(build) as small:
        for attempt in range(tries()):
            share = (
                (0.0, 0.9)[attempt] if attempt < 2 else random.Random(attempt).random() ** 3
            )  # the site needs little
            restore(world.kept / "_build", build)
            small.leave(2**14 + int(share * (size - small.used)))
            status = forked(lambda: command("build", "--no-run"))
            words = said.read_text()
            row = rows["site" if tree(build / "html") == old else "PDF"]
            row[0] += status != 0
            row[1] += tree(build / "html") not in (old, new, fresh) or (build / "book.pdf").exists() != (status == 0)
            told = (
                words.count("\n") == 1 and "disk is full" in words and f"{build}/" in words and " MB are free" in words
            )
            row[2] += status != 0 and not (status == 2 and told and not half_made(build))
            small.leave(2**28)
            row[2] += forked(lambda: command("build", "--no-run")) != 0 or tree(build / "html") not in (new, fresh)
            assert not row[2], words
        size = (build / "book.pdf").stat().st_size
        for attempt in range(tries()):  # the site stands, and only the PDF is missing
            (build / "book.pdf").unlink()
            small.leave(random.Random(attempt).randint(2**12, size // 2))
            status = forked(lambda: command("build", "--no-run"))
            rows["PDF"][0] += status != 0
            rows["PDF"][1] += tree(build / "html") not in (new, fresh) or (build / "book.pdf").exists() != (status == 0)
            rows["PDF"][2] += status != 0 and not (
                status == 2 and said.read_text().count("\n") == 1 and not half_made(build)
            )
            small.leave(2**28)
            rows["PDF"][2] += forked(lambda: command("build", "--no-run")) != 0 or not (build / "book.pdf").exists()
    for name, (number, wrong, lost) in rows.items():
        fault(f"Disk full while the {name} is written", tries=number, wrong=wrong, lost=lost)
        assert (wrong, lost) == (0, 0)
    assert rows["site"][0]
    assert rows["PDF"][0]


def test_a_full_disk_leaves_the_last_hand_in(world, tries, fault):
    """The folder is whole, the old one, and there is no other."""
    build = world.root / "_build"
    restore(world.kept, world.root)
    old = tree(build / "submission")
    shutil.rmtree(build)
    wrong = lost = 0

    def submit() -> int:
        try:
            world.submit()
        except OSError as error:
            return error.errno
        return 0

    with _moments.disk(build) as small:
        for attempt in range(tries(few=1)):
            restore(world.kept / "_build", build)
            small.leave(random.Random(attempt).randint(2**12, 2**17))  # the code alone has 200 kB in its ZIP
            lost += forked(submit) != errno.ENOSPC
            wrong += tree(build / "submission") != old
            small.leave(2**28)
            lost += bool(half_made(build)) or forked(submit) != 0 or tree(build / "submission") == old
    fault("Disk full while the submission is written", tries=tries(few=1), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


@pytest.fixture
def one_run(book, monkeypatch) -> plan.Run:
    """A run of the small book whose notebook needs no kernel, and that keeps an artefact of 20 MB."""
    import numpy as np
    from safetensors.numpy import save_file

    def notebook(task: dict[str, Any], part: Path) -> str:
        sys.audit("artefact", str(part))
        try:
            save_file({"weights": np.full(5_000_000, 1.5, "float32")}, part / "weights.safetensors")
        except Exception as error:  # as it reaches the engine through papermill
            return f"{type(error).__name__}: {error} (cell 1)"
        executed = json.loads(Path(task["notebook"]).read_text())
        audit = {"output_type": "display_data", "data": {run.AUDIT: {"modules": []}}, "metadata": {}}
        executed["cells"].append({**code("", tags=("benchbook-audit",)), "outputs": [audit]})
        (part / state.EXECUTED).write_text(json.dumps(executed))
        return ""

    monkeypatch.setattr(run, "_papermill", notebook)
    return plan.load(Project(book.root), "quick").shown()["alone"]


@pytest.mark.parametrize("name", ["run folder", "artefact"])
def test_a_killed_worker_leaves_a_whole_run_or_none(one_run, name, tries, fault):
    """What stands where a run belongs is whole, by its own checksums: the failed one before, or the new one."""
    task, folder = run.job(one_run, "quick"), one_run.folder
    number = _moments.changes(lambda: run.execute(task) and 0, folder.parent)
    wrong = lost = died = 0
    for attempt in range(tries(many=24)):
        chance = random.Random(attempt)
        shutil.rmtree(folder.parent)
        if attempt % 2:
            run.execute(task, "an older failure")
        at = 2 if name == "artefact" else chance.randint(1, number)  # the folder is made first
        pause = chance.uniform(1e-4, 3e-2) if name == "artefact" else chance.choice([0, 1e-4])
        died += _moments.killed(lambda: run.execute(task) and 0, folder.parent, at, pause)
        status = state.read_status(folder)
        expected = {"failed", "ok"} if attempt % 2 else {None, "ok"}
        wrong += (status and status["state"]) not in expected
        wrong += bool(status) and state.damaged_file(folder, status) is not None
        schedule._sweep(one_run.project, [one_run])
        healed = forked(lambda: run.execute(task) and 0) == 0 and state.state(one_run).name == "ok"
        lost += not healed or [path.name for path in folder.parent.iterdir()] != [folder.name]
    fault(f"Builder killed while it writes a{'n' * (name == 'artefact')} {name}", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)


def test_a_run_on_a_full_disk_is_the_old_one_or_says_that_it_failed(one_run, tmp_path, tries, fault):
    """Run folder and artefact: whole by their checksums, nothing half made; with room again the run succeeds."""
    task, runs, rows = (
        run.job(one_run, "quick"),
        one_run.folder.parents[1],
        {"a run folder": [0, 0, 0], "an artefact": [0, 0, 0]},
    )
    with _moments.disk(runs) as small:
        for attempt in range(tries(few=4)):
            name, room = [("a run folder", 20_000_000 + 2**17), ("an artefact", 20_000_000)][attempt % 2]
            small.leave(2**28)
            run.execute(task, "an older failure")
            least = 20_000_000 + 2**12 if attempt % 2 == 0 else 2**12
            small.leave(random.Random(attempt).randint(least, room))
            forked(lambda: run.execute(task) and 0)
            status = state.read_status(one_run.folder)
            row = rows[name]
            row[0] += 1
            row[1] += status is None or state.damaged_file(one_run.folder, status) is not None
            row[2] += [path.name for path in one_run.folder.parent.iterdir()] != [one_run.folder.name]
            if status["error"] != "an older failure" and status["state"] != "ok":
                row[1] += not tells_of_full_disk(status["error"])
            small.leave(2**28)
            row[2] += run.execute(task)["state"] != "ok"
            shutil.rmtree(one_run.folder)
    for name, (number, wrong, lost) in rows.items():
        fault(f"Disk full while {name} is written", tries=number, wrong=wrong, lost=lost)
        assert (wrong, lost) == (0, 0)


def test_a_command_on_a_full_disk_says_what_is_full_in_one_line(book, tmp_path, tries, fault):
    """Wherever between plan and result the room ends: exit status 2, one line; with room again all is made."""
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Keep much"),
        code(
            "import benchbook, numpy",
            "from safetensors.numpy import save_file",
            "x = benchbook.value('x', 1)",
            "save_file({'x': numpy.ones(2**18, 'float32')}, benchbook.artefact('x.safetensors'))",
        ),
    )
    wrong = lost = 0
    with _moments.disk(tmp_path / "disk") as small:
        shutil.copytree(book.root, small.folder / "book")
        full = Book(small.folder / "book")
        for attempt in range(tries(few=1)):
            small.leave(random.Random(attempt).randint(2**12, 2**20))
            done = full.run("run", "alone")
            told = "the disk is full" in done.stderr and " MB are free" in done.stderr
            lost += done.returncode != 2 or not told or done.stderr.count("\n") != 1
            wrong += "runs/" in done.stdout
            assert not lost, done.stderr
            small.leave(2**28)
            lost += full.run("run", "alone").returncode != 0 or bool(list(full.root.glob("runs/*/.*")))
            shutil.rmtree(full.root / "runs")
    fault("Disk full during a run", tries=tries(few=1), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)
