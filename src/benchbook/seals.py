"""Digests of what a build has made, so that what is damaged since is noticed before it is shown or used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchbook.fingerprint import hash_file


def seal(root: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of every one of these files, and of every file in these folders, by its path from the root."""
    return {path.relative_to(root).as_posix(): hash_file(path) for name in names for path in _files(root / name)}


def damaged(root: Path, sealed: Mapping[str, str]) -> list[str]:
    """The files that are missing or hold something else than when they were sealed."""
    return [name for name, digest in sealed.items() if not _holds(root / name, digest)]


def _holds(path: Path, digest: str) -> bool:
    try:
        return hash_file(path) == digest
    except OSError:
        return False


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for name, _, files in os.walk(path):
        yield from (Path(name, file) for file in sorted(files))
