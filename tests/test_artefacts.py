"""Files that runs keep for others: plain names, one format, verified on reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from benchbook import artefact, needed
from benchbook.artefacts import NEEDS, RUN_FOLDER


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of our own to work in, without an engine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(RUN_FOLDER, raising=False)
    monkeypatch.delenv(NEEDS, raising=False)
    return tmp_path


def keep(folder: Path, content: bytes, ended: float = 1.0, state: str = "ok") -> Path:
    """A run folder with one artefact."""
    folder.mkdir(parents=True)
    (folder / "w.safetensors").write_bytes(content)
    files = {"w.safetensors": hashlib.sha256(content).hexdigest()}
    (folder / "status.json").write_text(json.dumps({"state": state, "files": files, "ended": ended}))
    return folder


@pytest.mark.parametrize(
    "name", ["../w.safetensors", "a/w.safetensors", ".w.safetensors", "/tmp/w.safetensors", "", "w.pkl"]
)
def test_an_artefact_is_a_plain_safetensors_file(name):
    """No path leaves the run's folder, and no format that runs code on reading is kept."""
    with pytest.raises(ValueError, match="plain name ending in"):
        artefact(name)


def test_the_needed_run_alone_is_read(folder, monkeypatch):
    """With the engine, exactly the run that it names; a need that is not declared is refused."""
    one = keep(folder / "runs/train/a", b"one")
    keep(folder / "runs/train/b", b"two", ended=2.0)
    monkeypatch.setenv(NEEDS, json.dumps({"train": str(one)}))
    assert needed("train", "w.safetensors").read_bytes() == b"one"
    with pytest.raises(ValueError, match="does not say that it needs 'other'"):
        needed("other", "w.safetensors")
    with pytest.raises(FileNotFoundError, match="kept no 'x"):
        needed("train", "x.safetensors")


def test_without_the_engine_the_newest_good_run_serves(folder):
    """Plain papermill finds the newest run that ended well, or what an earlier notebook left in the scratch folder."""
    with pytest.raises(FileNotFoundError, match="benchbook run train"):
        needed("train", "w.safetensors")
    artefact("w.safetensors").write_bytes(b"scratch")
    assert needed("train", "w.safetensors").read_bytes() == b"scratch"
    keep(folder / "runs/train/a", b"one")
    keep(folder / "runs/train/b", b"two", ended=2.0)
    keep(folder / "runs/train/c", b"bad", ended=3.0, state="failed")
    assert needed("train", "w.safetensors").read_bytes() == b"two"


def test_a_damaged_artefact_is_noticed_before_use(folder):
    """One flipped byte, a missing tail, or no file at all."""
    made = keep(folder / "runs/train/a", b"weights")
    for content in (b"weighty", b"weight"):
        (made / "w.safetensors").write_bytes(content)
        with pytest.raises(OSError, match="is damaged: run `benchbook run train` again"):
            needed("train", "w.safetensors")
    (made / "w.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="is not there"):
        needed("train", "w.safetensors")
