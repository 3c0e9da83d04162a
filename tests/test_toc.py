"""The pages of a book are those that Jupyter Book finds, and its files are found without straying."""

from __future__ import annotations

from pathlib import Path

import pytest
from sphinx.util.matching import patfilter

from benchbook import toc
from benchbook.errors import BookError


def write(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


NAMES = ["start.md", "a/one.ipynb", "a/two.md", "a/deep/three.ipynb", "b/one-more.rst", "b/ten.md", "b/picture.png"]


@pytest.mark.parametrize(
    "pattern", ["a/*", "a/**", "**", "*/one*", "?/two", "[ab]/one", "[!a]/*", "a/o.e", "nothing/*", "a"]
)
def test_globs_find_the_pages_that_sphinx_finds(tmp_path, pattern):
    """The same documents, in the same order, as Sphinx's own matching gives to the table of contents."""
    for name in NAMES:
        write(tmp_path, name)
    write(tmp_path, "_toc.yml", f"format: jb-article\nroot: start\nsections:\n  - glob: '{pattern}'\n")
    documents = {name.rpartition(".")[0] for name in NAMES if not name.endswith(".png")}
    expected = sorted(patfilter(documents - {"start"}, pattern))
    assert toc.pages(tmp_path) == ["start", *expected]


@pytest.mark.parametrize(
    "text",
    [
        "format: jb-book\nroot: start.md\nparts:\n- caption: A\n  chapters:\n  - file: a/one\n    sections:\n"
        "    - file: a/two.md\n    - url: https://example.org\n- caption: B\n  chapters:\n  - file: b/one-more\n",
        "format: jb-article\nroot: start\nsections:\n- file: a/one.ipynb\n- file: a/two\n- file: b/one-more.rst\n",
        "root: start\nsubtrees:\n- entries:\n  - file: a/one\n    subtrees:\n    - entries:\n"
        "      - file: a/two\n  - file: b/one-more\n",
    ],
    ids=["jb-book", "jb-article", "sphinx-external-toc"],
)
def test_every_format_names_its_pages_in_order(tmp_path, text):
    """Parts, chapters, sections and subtrees; suffixes do not matter, addresses are no pages."""
    write(tmp_path, "_toc.yml", text)
    assert toc.pages(tmp_path) == ["start", "a/one", "a/two", "b/one-more"]


@pytest.mark.parametrize("text", ["- file: intro\n- file: next\n", "", "root: [a]\n", "format: jb-book\n"])
def test_a_toc_without_a_root_is_named_with_the_remedy(tmp_path, text):
    """What Jupyter Book 0 wrote is a list; its own command migrates it."""
    write(tmp_path, "_toc.yml", text)
    with pytest.raises(BookError, match=r"_toc\.yml names no root page: `jupyter-book toc migrate"):
        toc.pages(tmp_path)


def test_files_that_are_hidden_or_made_are_passed_by(tmp_path):
    """Environments, caches, runs and builds hold no page; data come as one folder."""
    write(tmp_path, "_toc.yml", "root: index\n")
    kept = {"_toc.yml", "index.md", "images/a.png", "runs-of-mine/b.md", "deep/data/c.csv", "deep/runs/d.md"}
    for name in kept - {"_toc.yml"}:
        write(tmp_path, name)
    for name in (".git/x", ".secret", "_build/html/x.md", "runs/a/x.ipynb", "data/big.bin", "web/node_modules/x.md"):
        write(tmp_path, name)
    for name in ("env/pyvenv.cfg", "env/lib/x.md", "conda/conda-meta/history", "conda/x.md", "src/__pycache__/x.pyc"):
        write(tmp_path, name)
    found = {path.relative_to(tmp_path).as_posix() for path in toc.files(tmp_path)}
    assert found == kept | {"data"}


def test_a_data_folder_with_pages_is_a_folder_like_any_other(tmp_path):
    """A book about data may keep its chapters there."""
    write(tmp_path, "_toc.yml", "root: index\nchapters:\n- file: data/loading\n- file: runs/long\n")
    for name in ("index.md", "data/loading.md", "data/table.csv", "runs/long.md"):
        write(tmp_path, name)
    found = {path.relative_to(tmp_path).as_posix() for path in toc.files(tmp_path)}
    assert found == {"_toc.yml", "index.md", "data/loading.md", "data/table.csv", "runs/long.md"}


def test_links_are_followed_once_and_never_upwards(tmp_path):
    """A link to another folder shows its files; one that leads to itself, above the book or nowhere does no harm."""
    root = tmp_path / "book"
    write(root, "_toc.yml", "root: index\n")
    write(root, "a/page.md")
    write(tmp_path, "elsewhere/picture.png")
    for name, target in {
        "shared": tmp_path / "elsewhere",
        "a/again": root / "a",
        "up": tmp_path,
        "top": Path("/"),
        "gone.md": Path("nowhere"),
    }.items():
        (root / name).symlink_to(target)
    found = {path.relative_to(root).as_posix() for path in toc.files(root)}
    assert found == {"_toc.yml", "a/page.md", "a/again/page.md", "shared/picture.png"}
