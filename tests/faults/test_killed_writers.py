"""Whatever a killed writer leaves is the old or the new, never a mixture, and the next build heals it by itself."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchbook import book, plan, run, schedule, state, submission
from benchbook.plan import Plan, Project
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
        return book.build(Project(self.root), self.new, state.states(self.new.runs), pdf=False) and ""

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
    for attempt in range(tries()):
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
    for attempt in range(tries()):
        chance = random.Random(attempt)
        died += _moments.killed(make("New"), target.parent, chance.randint(1, number), chance.choice([0, 1e-4, 1e-3]))
        wrong += target.read_bytes() not in (old, new)
        lost += forked(make("New")) != 0 or tree(target.parent).keys() != {"book.pdf"} or target.read_bytes() != new
        assert forked(make("Old")) == 0
    fault("Builder killed while it writes the PDF", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)


@pytest.fixture
def one_run(book, monkeypatch) -> plan.Run:
    """A run of the small book whose notebook needs no kernel, and that keeps an artefact of 20 MB."""
    import numpy as np
    from safetensors.numpy import save_file

    def notebook(task: dict[str, Any], part: Path) -> str:
        os.sys.audit("artefact", str(part))
        save_file({"weights": np.full(5_000_000, 1.5, "float32")}, part / "weights.safetensors")
        shutil.copy(task["notebook"], part / state.EXECUTED)
        return ""

    monkeypatch.setattr(run, "_papermill", notebook)
    return plan.load(Project(book.root), "quick").shown()["alone"]


@pytest.mark.parametrize("name", ["run folder", "artefact"])
def test_a_killed_worker_leaves_a_whole_run_or_none(one_run, name, tries, fault):
    """What stands where a run belongs is whole, by its own checksums: the failed one before, or the new one."""
    task, folder = run.job(one_run, "quick"), one_run.folder
    number = _moments.changes(lambda: run.execute(task) and 0, folder.parent)
    wrong = lost = died = 0
    for attempt in range(tries()):
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
