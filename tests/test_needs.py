"""A run starts when what it needs is there, reads exactly that, and is made again when that has changed."""

from __future__ import annotations

import json

import pytest
from conftest import code, markdown, write_notebook

pytestmark = pytest.mark.slow

TRAIN = (
    "import benchbook, numpy, os",
    "from safetensors.numpy import save_file",
    "assert scale > 0, 'no scale'",
    "noise = float(os.environ.get('NOISE', 0))  # what a fingerprint cannot see: luck",
    "save_file({'weights': numpy.full(3, scale + noise)}, benchbook.artefact('weights.safetensors'))",
)
USE = (
    "import benchbook",
    "from safetensors.numpy import load_file",
    "weights = load_file(benchbook.needed('train', 'weights.safetensors'))['weights']",
    "total = benchbook.value('total', float(weights.sum()))",
)


@pytest.fixture
def needing(book):
    """A book whose profile names `use` before the `train` that it needs."""
    write_notebook(
        book.root / "experiments" / "train.ipynb",
        markdown("# Train"),
        code("scale: float = 1.0  # of the weights", tags=("parameters",)),
        code(*TRAIN),
    )
    path = book.root / "experiments" / "use.ipynb"
    write_notebook(path, markdown("# Use"), code(*USE))
    notebook = json.loads(path.read_text())
    notebook["metadata"]["benchbook"] = {"needs": ["train"]}
    path.write_text(json.dumps(notebook))
    scale(book, 2.0)
    return book


def scale(book, number: float) -> None:
    book.write(
        "profiles/quick.yml",
        f"runs:\n  - experiment: use\n  - experiment: train\n    parameters: {{scale: {number}}}\n",
    )


def total(book) -> float:
    """The value of the newest run of `use`."""
    newest = max(book.folders("use"), key=lambda folder: (folder / "status.json").stat().st_mtime)
    return json.loads((newest / "results.json").read_text())["values"]["total"]["value"]


def made(book, **environment: str) -> list[str]:
    """The experiments that have been executed for `use`, in their order, as often as they have."""
    said = book.run("run", "use", "--jobs", "2", **environment).stdout
    return [line.split()[1] for line in said.splitlines() if line.startswith(("ok ", "failed "))]


def test_a_run_reads_what_it_needs_and_follows_it(needing):
    """A parameter of the needed run makes both again; a damaged artefact is made again before anything reads it."""
    assert made(needing) == ["train", "use"]
    assert total(needing) == 6.0
    scale(needing, 3.0)
    assert made(needing) == ["train", "use"]
    assert total(needing) == 9.0

    weights = max(needing.folders("train"), key=lambda folder: folder.stat().st_mtime) / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert "weights.safetensors" in needing.status()["train"]
    assert made(needing) == ["train"]  # it came out as before: `use` stands
    assert total(needing) == 9.0

    weights.write_bytes(bytes(content))
    assert made(needing, NOISE="1") == ["train", "use"]  # it came out differently: so does `use`
    assert total(needing) == 12.0


def test_what_needs_a_failed_run_fails_with_it_without_a_kernel(needing):
    """The reason names the need and its error; nothing of the notebook has been executed."""
    scale(needing, -1.0)
    done = needing.run("run", "use", "--jobs", "2")
    assert done.returncode == 1
    error = "it needs 'train', which failed: AssertionError: no scale (cell 2)"
    (folder,) = needing.folders("use")
    assert f"{folder.name}: failed: {error}" in done.stdout
    assert json.loads((folder / "status.json").read_text())["error"] == error
    executed = json.loads((folder / "executed.ipynb").read_text())
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in executed["cells"])
