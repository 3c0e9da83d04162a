"""Books made up for the bench: chapters of a real one's size, and run folders as a worker leaves them."""

from __future__ import annotations

import atexit
import base64
import inspect
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchbook import fingerprint, plan
from benchbook.plan import Run
from benchbook.project import Project
from benchbook.record import VALUE, Value
from benchbook.run import EXECUTED, collect, job
from benchbook.state import sealed

ROOT = Path(__file__).parents[2]
PICTURES = 8  # of 48 kB each: an executed chapter of this project has 0.9 MB
PROSE = "Every step names the rule that it uses, and so the *sum* $\\sum_i x_i^2$ is what the next cell computes. " * 6
SETUP = """import base64, random, struct, zlib
import benchbook
from IPython.display import Image

def science():  # what the chapter's fingerprint reaches; importing it would time torch, not a book
    import numpy, matplotlib, torch
    from convnets import colour, data, figures, layers, metrics, models, scenes, training
"""


@cache
def scratch() -> Path:
    """A folder that is gone when the bench ends."""
    folder = Path(tempfile.mkdtemp(prefix="benchbook-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def noise(seed: int, size: int = 128) -> bytes:
    """A PNG of random pixels, which no compression makes small."""
    pixels = random.Random(seed).randbytes(3 * size * size)
    rows = b"".join(b"\0" + pixels[3 * size * row : 3 * size * (row + 1)] for row in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def write_book(root: Path, chapters: int, runs: int, pictures: int = PICTURES) -> Path:
    """A book that `benchbook build` takes, with this project's own sources; `runs` is of each chapter, by seed."""
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    names = _write_chapters(root, "experiments", chapters, pictures)
    (root / "profiles").mkdir()
    entries = [{"experiment": name, "seeds": runs} for name in names]
    (root / "profiles" / "quick.yml").write_text(yaml.safe_dump({"title": "Quick", "runs": entries}))
    numbers = " ".join(f"{{value}}`{name}:answer`" for name in names)
    config = {"sphinx": {"extra_extensions": ["benchbook.site"]}}
    return _write_pages(
        root, [f"experiments/{name}" for name in names], f"\n{numbers}\n\n```{{chapters}}\n```\n", config
    )


def write_peer(root: Path, chapters: int, execute: str = "cache") -> Path:
    """The same chapters as a book that `jupyter-book build` takes, with its cache, or to be executed in no case."""
    names = _write_chapters(root, "experiments", chapters, PICTURES)
    return _write_pages(
        root, [f"experiments/{name}" for name in names], "", {"execute": {"execute_notebooks": execute}}
    )


def pretend_runs(root: Path, profile: str = "quick") -> None:
    """Leaves every run of the profile as a worker would, without executing anything."""
    for run in plan.load(Project(root), profile).runs:
        notebook = _executed(run)
        task = job(run, profile)
        run.folder.mkdir(parents=True)
        (run.folder / EXECUTED).write_text(json.dumps(notebook, indent=1))
        facts = {"machine": "none", "packages": task["ingredients"]["packages"]}
        told = {key: task[key] for key in ("experiment", "fingerprint", "profile", "parameters", "changed_parameters")}
        results = {**told, **collect(notebook)[0], "environment": facts, "seconds": 1.0}
        (run.folder / "results.json").write_text(json.dumps(results))
        files = {name: fingerprint.hash_file(run.folder / name) for name in (EXECUTED, "results.json")}
        status = {"state": "ok", "error": "", "ended": 1.0, "seconds": 1.0, "used": {}, "files": files}
        (run.folder / "status.json").write_text(json.dumps(sealed({**status, "ingredients": task["ingredients"]})))


def change_prose(chapter: Path, word: str) -> None:
    """Ends the first text of a chapter in another word."""
    notebook = json.loads(chapter.read_text())
    notebook["cells"][0]["source"] = f"# Chapter\n\n{PROSE} {word}"
    chapter.write_text(json.dumps(notebook))


def command(name: str, *words: str | Path, cwd: Path) -> str:
    """What a program of this environment prints, as a process of its own; raises RuntimeError where it fails."""
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    program = [Path(sys.executable).parent / name, *words]
    done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} {' '.join(map(str, words))}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def _write_chapters(root: Path, folder: str, chapters: int, pictures: int) -> list[str]:
    (root / folder).mkdir(parents=True)
    names = [f"chapter_{number:02}" for number in range(chapters)]
    for name in names:
        cells = [
            _markdown(f"# Chapter\n\n{PROSE}"),
            _code("seed: int = 1  # of every random number\nepochs: int = 25  # passes over the data", "parameters"),
            _code(SETUP),
            _code(inspect.getsource(noise)),
            _code(f"answer = benchbook.value('answer', {len(name)} * seed)"),
        ]
        for number in range(pictures):
            steps = "\n".join(f"    total += {name!r}.count(str(step)) * {i} + step % {i + 2}" for i in range(10))
            cells += [_markdown(PROSE), _code(f"total = 0\nfor step in range({number}):\n{steps}")]
            cells += [_code(f"Image(noise(seed + {10 * names.index(name) + number}))")]
            cells[-1]["metadata"]["mystnb"] = {"image": {"alt": "A picture of random pixels"}}
        content = {"cells": cells, "nbformat": 4, "nbformat_minor": 4}
        content["metadata"] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        (root / folder / f"{name}.ipynb").write_text(json.dumps(content))
    return names


def _write_pages(root: Path, chapters: list[str], below: str, config: dict[str, Any]) -> Path:
    (root / "book").mkdir()
    (root / "book" / "index.md").write_text(f"# A book\n\n{PROSE}\n{below}")
    pages = {"format": "jb-book", "root": "book/index", "chapters": [{"file": name} for name in chapters]}
    (root / "_toc.yml").write_text(yaml.safe_dump(pages, sort_keys=False))
    (root / "_config.yml").write_text(yaml.safe_dump({"title": "A book", "only_build_toc_files": True, **config}))
    return root


def _executed(run: Run) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(run.experiment.path.read_text())
    shown = [cell for cell in notebook["cells"] if cell["source"].startswith("Image")]
    first = run.parameters["seed"] + 10 * int(run.experiment.name.rpartition("_")[2])
    for number, cell in enumerate(shown):
        picture = base64.b64encode(noise(first + number)).decode()
        output = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
        cell["outputs"] = [output | {"data": {"image/png": picture, "text/plain": "<Image>"}}]
    answer = next(cell for cell in notebook["cells"] if "benchbook.value" in cell["source"])
    record = {"name": "answer", **Value([12 * run.parameters["seed"]]).record()}
    output = {"output_type": "display_data", "metadata": {}, "data": {VALUE: record, "text/plain": "answer"}}
    answer["outputs"] = [output]
    return notebook


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": text, "metadata": {}}


def _code(text: str, *tags: str) -> dict[str, Any]:
    cell = {"cell_type": "code", "source": text, "metadata": {"tags": list(tags)}}
    return {**cell, "outputs": [], "execution_count": None}
