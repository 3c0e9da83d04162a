"""Trainings, kept: the same task on the same data by the same code is not trained a second time.

A training is found again by the SHA-256 of everything that decides its result, so that a change of anything trains
anew. While it runs, its interim state is kept beside it, so that what is broken off goes on. The folder is named by the
environment variable TRAININGS; without it nothing is kept and nothing is looked for.
"""

from __future__ import annotations

import ast
import hashlib
import io
import os
import pickle
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convnets.training import History, Interim, choose_precision

FOLDER = "TRAININGS"
LIMIT = 2**31  # bytes; what was not asked for longest goes first
_INTERIM = ".interim"  # at the end of the name of what a training leaves while it runs
_DIGEST = 32  # bytes at a file's beginning: the SHA-256 of the others
_PACKAGE = __name__.partition(".")[0]


def keys(trainings: Iterable[Any], device: torch.device) -> list[str | None]:
    """For each training, as anything that can be pickled, the name under which it is kept.

    It covers the values, every tensor's content, the source of all modules of this package that functions and classes
    among them reach by imports, the versions of Python, NumPy and PyTorch, and the device. None where nothing shall be
    kept, or where code from elsewhere takes part, whose source could change unseen.
    """
    if not os.environ.get(FOLDER):
        return [None for _ in trainings]
    digest = cache(_tensor_digest)  # by identity: many trainings read the same tensors
    return [_key(training, device, digest) for training in trainings]


def find(key: str | None) -> History | None:
    """The training that was kept under this name; None where there is none, or what there is is damaged."""
    history: History | None = _find(key)
    return history


def find_interim(key: str | None) -> Interim | None:
    """Where this training stood when it was broken off; None where nobody knows."""
    interim: Interim | None = _find(key and key + _INTERIM)
    return interim


def _find(name: str | None) -> Any:
    if name is None:
        return None
    path = Path(os.environ[FOLDER], name)
    try:
        content = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        return None
    return load(content[_DIGEST:])


def keep(key: str | None, history: History) -> None:
    """Keep a training under its name: whole, or not at all, as where the disk is full or the source has changed."""
    if key is None or not _keep(key, history):
        return
    with suppress(OSError):
        Path(os.environ[FOLDER], key + _INTERIM).unlink()


def keep_interim(key: str, interim: Interim) -> None:
    """Keep where a training stands, for `find_interim`, until it is kept itself."""
    _keep(key + _INTERIM, interim)


def _keep(name: str, thing: History | Interim) -> bool:
    if any(_read(path) != source for path, source in _sources().values()):
        return False
    folder, content = Path(os.environ[FOLDER]), dump(thing)
    part = folder / f".{name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder, len(content))
        part.write_bytes(hashlib.sha256(content).digest() + content)
        part.replace(folder / name)
    except OSError:  # it costs time at the next training, not this one
        with suppress(OSError):
            part.unlink()
        return False
    return True


def _make_room(folder: Path, size: int) -> None:
    files = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(folder))
    excess = sum(length for _, length, _ in files) + size - LIMIT
    for _, length, path in files:
        if excess > 0:
            Path(path).unlink(missing_ok=True)
            excess -= length


# ---- A training as bytes. ----


def dump(training: History | Interim) -> bytes:
    """A training's history or interim state with all tensors, for a file or another process."""
    file = io.BytesIO()
    torch.save(training, file)
    return file.getvalue()


def load(content: bytes) -> Any:
    """What `dump` has written, its tensors on the CPU; nothing else is read, and no code is run."""
    with torch.serialization.safe_globals([History, Interim]):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


# ---- What decides a training. ----


class _Pickler(pickle.Pickler):
    """Pickles with digests in the place of tensors, and notes which modules functions and classes are from."""

    def __init__(self, file: io.BytesIO, digest: Any) -> None:
        super().__init__(file, protocol=5)
        self.digest, self.modules = digest, set[str]()

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, Tensor):
            return str(thing.dtype), tuple(thing.shape), thing.stride(), self.digest(thing)
        if isinstance(thing, FunctionType | BuiltinFunctionType | type):
            self.modules.add(str(thing.__module__))
        return None


def _tensor_digest(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).hexdigest()


def _key(training: Any, device: torch.device, digest: Any) -> str | None:
    file = io.BytesIO()
    pickler = _Pickler(file, digest)
    try:
        pickler.dump(training)
    except (AttributeError, TypeError, pickle.PicklingError):
        return None
    outside = {name.partition(".")[0] for name in pickler.modules} - {_PACKAGE, "torch", "numpy"}
    if outside - sys.stdlib_module_names:
        return None
    sources = _sources()
    reached = _reached({name for name in pickler.modules if name in sources} | {f"{_PACKAGE}.parallel"})
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    versions = [platform.python_version(), np.__version__, torch.__version__, chip, choose_precision(device)]
    parts = [file.getvalue(), repr(versions).encode(), *(sources[name][1] for name in sorted(reached))]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


@cache
def _sources() -> dict[str, tuple[Path, bytes]]:
    """The source of every module of this package, as it was at the first look, which is when this one is imported."""
    spec = find_spec(_PACKAGE)
    folder = Path((spec.submodule_search_locations or [""])[0] if spec else "")
    return {f"{_PACKAGE}.{path.stem}": (path, _read(path)) for path in sorted(folder.glob("*.py"))}


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _reached(names: set[str]) -> set[str]:
    """These modules and all those of this package that they import, directly or not."""
    reached: set[str] = set()
    waiting = names
    while waiting:
        reached |= waiting
        waiting = {found for name in waiting for found in _imports(name)} - reached
    return reached


@cache
def _imports(name: str) -> frozenset[str]:
    """The modules of this package that a module imports, at its top or inside a function."""
    found = set[str]()
    for node in ast.walk(ast.parse(_sources()[name][1])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found & _sources().keys())


_sources()
