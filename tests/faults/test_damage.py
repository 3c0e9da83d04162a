"""A bit flipped in what was made, a tail cut off it, or a file gone: noticed before use, and only that made again."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Book, code, markdown, write_notebook

from benchbook import cli
from benchbook.plan import load
from benchbook.project import Project
from benchbook.state import states
from convnets import data

HOW = ("one bit flipped", "tail cut off", "file missing")


def damage(path: Path, how: str, chance: random.Random) -> None:
    """Spoils a file, which keeps its time stamp."""
    raw = bytearray(path.read_bytes())
    stamp = path.stat()
    path.unlink()
    if how != "file missing":
        if how == "tail cut off":
            raw = raw[: chance.randrange(len(raw))]
        else:
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(raw)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A built book of two runs, one of which keeps an artefact that the other reads."""
    book = Book(tmp_path_factory.mktemp("damage") / "book")
    book.write("_config.yml", "title: Toy\nonly_build_toc_files: true\n")
    book.write(
        "_toc.yml",
        "format: jb-book\nroot: book/index\nchapters:\n  - file: experiments/keep\n  - file: experiments/use\n",
    )
    book.write("book/index.md", "# Toy\n\n{value}`use:x`\n\n```{chapters}\n```\n")
    book.write("profiles/quick.yml", "runs: [{experiment: keep}, {experiment: use}]")
    (book.root / "experiments").mkdir()
    write_notebook(
        book.root / "experiments" / "keep.ipynb",
        markdown("# Keep"),
        code(
            "import benchbook, numpy as np",
            "from benchbook.artefacts import artefact",
            "from safetensors.numpy import save_file",
        ),
        code("save_file({'a': np.arange(4.0)}, artefact('kept.safetensors'))", "benchbook.value('x', 1.0)"),
        code("import matplotlib.pyplot as plt", "plt.figure(figsize=(1, 1)); plt.plot([1, 2]); plt.show()"),
    )
    path = book.root / "experiments" / "use.ipynb"
    write_notebook(
        path,
        markdown("# Use"),
        code("import benchbook", "from benchbook.artefacts import needed", "from safetensors.numpy import load_file"),
        code("benchbook.value('x', load_file(needed('keep', 'kept.safetensors'))['a'].sum())"),
    )
    path.write_text(
        path.read_text().replace(
            '"metadata": {"kernelspec"', '"metadata": {"benchbook": {"needs": ["keep"]}, "kernelspec"'
        )
    )
    ended = book.run("build", "--no-pdf", "--jobs", "1")
    assert ended.returncode == 0, ended.stderr
    return book


def stands(book: Book) -> dict[str, str]:
    """The state of each run, read anew."""
    project = Project(book.root)
    found = states(load(project, "quick").runs)
    return {folder.parent.name: how.name for folder, how in found.items()}


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_run_is_not_there_and_nothing_else_is(made, fault, tries, how):
    """Any bit of any file of a run folder, the status and the artefact among them: that run alone is to be made."""
    chance, number, wrong, lost = random.Random(how), tries(60, 500), 0, 0
    files = sorted(path for path in (made.root / "runs").rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".json", ".ipynb", ".safetensors"}
    for turn in range(number):
        path = files[turn % len(files)]
        content = path.read_bytes()
        damage(path, how, chance)
        found = stands(made)
        hit = path.parent.parent.name
        wrong += found.pop(hit) == "ok"
        # What reads a damaged artefact of `keep` learns whether it has changed when `keep` has been made again.
        lost += set(found.values()) != {"ok"} and path.name != "status.json"
        path.write_bytes(content)
        lost += set(stands(made).values()) != {"ok"}
    fault(f"Run folder: {how}", tries=number, wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


def test_a_damaged_run_is_made_again_alone_and_with_the_same_values(made, fault, tries):
    """Through the command: afterwards the folder is whole again, and the other run has not been touched."""
    chance, number, lost = random.Random(1), tries(1, 20), 0
    for _ in range(number):
        (keep,), (use,) = made.folders("keep"), made.folders("use")
        before = {path.name: path.read_bytes() for path in use.iterdir()}
        damage(keep / "kept.safetensors", "one bit flipped", chance)
        ended = made.run("build", "--no-pdf", "--jobs", "1")
        lost += ended.returncode != 0 or set(stands(made).values()) != {"ok"}
        lost += {path.name: path.read_bytes() for path in use.iterdir()} != before
    fault("Artefact: one bit flipped, then built", tries=number, lost=lost)
    assert lost == 0


def built(book: Book) -> dict[str, bytes]:
    html = book.root / "_build" / "html"
    return {str(path.relative_to(html)): path.read_bytes() for path in html.rglob("*") if path.is_file()}


def differing(before: dict[str, bytes], after: dict[str, bytes], *but: str) -> list[str]:
    """The files of the site that are not the same, but for Sphinx's note to itself."""
    names = (before.keys() | after.keys()) - {".buildinfo", *but}
    return sorted(name for name in names if before.get(name) != after.get(name))


def rebuild(book: Book) -> str:
    """What `benchbook build` says, in this process: Python and Sphinx start once."""
    said = io.StringIO()
    with inside(book.root), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = cli.main(["build", "--no-pdf", "--no-run"])
    assert status == 0, said.getvalue()
    return said.getvalue()


def test_a_damaged_page_is_made_again(made, fault, tries):
    """A page, a picture, the search index, a style sheet, a download: the next build mends it."""
    shutil.rmtree(made.root / "_build" / "html")  # pages that are all of one build
    rebuild(made)
    before, runs = built(made), {p: p.stat().st_mtime_ns for p in (made.root / "runs").rglob("*")}
    assert "nothing has changed" in rebuild(made)
    html = made.root / "_build" / "html"
    chance, number, wrong, lost = random.Random(0), tries(2, 20), 0, 0
    chosen = ["experiments/use.html", "searchindex.js", "_static/benchbook.css", "_static/downloads/use.json"]
    chosen += [name for name in before if name.startswith("_images/")][:1]
    for turn in range(number):
        damage(html / chosen[turn % len(chosen)], HOW[turn % 3], chance)
        wrong += "nothing has changed" in rebuild(made)
        lost += bool(differing(before, built(made)))
        assert differing(before, built(made)) == [], chosen[turn % len(chosen)]
    assert {p: p.stat().st_mtime_ns for p in (made.root / "runs").rglob("*")} == runs
    fault("Built site: bit flipped, tail cut off, file missing", tries=number, wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


def test_a_damaged_cache_of_pages_is_not_used(made, fault, tries):
    """What Sphinx keeps between builds, when prose has changed: the site is that of a build from nothing."""
    rebuild(made)
    build, index = made.root / "_build", made.root / "book" / "index.md"
    prose = index.read_text()
    chance, number, wrong = random.Random(0), tries(1, 20), 0
    for turn in range(number):
        kept = sorted(
            p for p in build.rglob("*") if {"doctrees", "jupyter_execute", "shown"} & set(p.parts) and p.is_file()
        )
        use = [path for path in kept if path.name == "use.doctree"]
        index.write_text(prose + f"\nTurn {turn}.\n")
        rebuild(made)
        before = built(made)
        index.write_text(prose + f"\nTurn {turn}, again.\n")
        rebuild(made)
        damage(use[0] if turn == 0 else chance.choice(kept), HOW[turn % 3], chance)
        index.write_text(prose + f"\nTurn {turn}.\n")
        rebuild(made)
        # the search index numbers pages in the order in which builds have read them
        wrong += bool(differing(before, built(made), "searchindex.js"))
        assert differing(before, built(made), "searchindex.js") == []
    index.write_text(prose)
    fault("Cache of pages and pictures: bit flipped, tail cut off, file missing", tries=number, wrong=wrong)
    assert wrong == 0


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_decoded_copy_is_not_read(tmp_path, monkeypatch, fault, tries, how):
    """The decoded data set, wherever the damage is: the source is read again, and the copy is whole afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shapes = ((40, 32, 32, 3), (40,), (10, 32, 32, 3), (10,))
    monkeypatch.setattr(data, "_SHAPES", shapes)
    drawn = np.random.default_rng(0)
    arrays = {key: drawn.integers(0, 10, shape).astype(np.uint8) for key, shape in zip(data._KEYS, shapes, strict=True)}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    first = data.load("cifar10", tmp_path)
    copy = tmp_path / ".decoded" / "cifar10.uint8"
    whole, chance, number, wrong, lost = copy.read_bytes(), random.Random(how), tries(60, 500), 0, 0
    for _ in range(number):
        damage(copy, how, chance)
        found = data.load("cifar10", tmp_path)
        wrong += found.fingerprint != first.fingerprint or not bool((found.train_images == first.train_images).all())
        wrong += found.note != first.note
        lost += copy.read_bytes() != whole
    fault(f"Decoded data: {how}", tries=number, wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


def test_a_damaged_run_of_older_code_is_not_compared(made):
    """The page of runs side by side reads runs that no profile names: one that is damaged is left out."""
    from benchbook.compare import compare

    project = Project(made.root)
    (folder,) = made.folders("use")
    content = (folder / "results.json").read_bytes()
    assert len(compare(project, "use", load(project, "quick")).rows) == 1
    (folder / "results.json").write_bytes(content.replace(b'"mean": 6.0', b'"mean": 7.0'))
    assert (folder / "results.json").read_bytes() != content
    assert len(compare(project, "use", load(project, "quick")).rows) == 0
    (folder / "results.json").write_bytes(content)
