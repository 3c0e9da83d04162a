"""Nothing made yet: ten notebooks that each import torch, on two workers, everything from the first start counted."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.measure import Pair

NUMBER, FEW, WORKERS = 10, 4, 2  # notebooks, those of a quick bench
CELLS = (
    "x: int = 0  # which",
    "import benchbook\nimport torch",
    "benchbook.value('y', float(torch.ones(3).sum()) * x)",
)
POOL = f"""
import multiprocessing, sys, papermill

def execute(x):
    papermill.execute_notebook(sys.argv[1], f"{{sys.argv[2]}}/{{x}}.ipynb", {{"x": x}}, progress_bar=False)

if __name__ == "__main__":
    with multiprocessing.Pool({WORKERS}) as pool:
        pool.map(execute, range(int(sys.argv[3])), chunksize=1)
"""


def pairs(quick: bool) -> list[Pair]:
    """Against papermill in a pool of two processes, and against its command, one notebook after another."""
    number = FEW if quick else NUMBER
    root = Path(tempfile.mkdtemp(prefix="cold-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    notebook, out = root / "experiments" / "sum.ipynb", root / "out"
    write_book(root, notebook)

    def ours() -> None:
        for made in ("runs", "_build"):
            shutil.rmtree(root / made, ignore_errors=True)
        numbers = ",".join(map(str, range(number)))
        call(root, "-m", "benchbook.cli", "run", "sum", "-p", f"x={numbers}", "--jobs", str(WORKERS))
        assert len(list(root.glob("runs/sum/*/status.json"))) == number

    def pool() -> None:
        call(root, str(root / "pool.py"), str(notebook), str(out), str(number))

    def command() -> None:
        for x in range(number):
            call(
                root, "-m", "papermill", str(notebook), str(out / f"{x}.ipynb"), "-p", "x", str(x), "--no-progress-bar"
            )

    name = f"{number} notebooks that import torch, {WORKERS} workers, cold"
    return [
        Pair(name, ours, f"papermill in-process, {WORKERS} workers", pool, goal=1.0),
        Pair(name, ours, "papermill's command, one after another", command, slow=True),
    ]


def write_book(root: Path, notebook: Path) -> None:
    """A book of one notebook, and the peer's program."""
    for folder in (notebook.parent, root / "out", root / "profiles"):
        folder.mkdir()
    (root / "_toc.yml").write_text("format: jb-book\nroot: experiments/sum\n")
    (root / "pool.py").write_text(POOL)
    tags = [["parameters"], [], []]
    cells = [
        {"cell_type": "code", "source": text, "metadata": {"tags": t}, "outputs": [], "execution_count": None}
        for text, t in zip(CELLS, tags, strict=True)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    notebook.write_text(json.dumps(content))


def call(root: Path, *words: str) -> None:
    """Runs Python as a user would, with one thread for each kernel, as is sensible for two workers on two cores."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, *words], cwd=root, env=environment, capture_output=True, check=True)
