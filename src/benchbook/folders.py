"""A folder that holds certain files and no others, written only where something changed."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from pathlib import Path


def fill(target: Path, files: Mapping[Path, bytes | Path]) -> None:
    """Makes `target` hold just these files, by their paths below it: contents, or what they are links to."""
    _remove_others(target, files)
    for relative, content in files.items():
        _put(target / relative, content)


def _remove_others(target: Path, files: Container[Path]) -> None:
    """Removes everything below the target but the files and the folders that hold some."""
    for name, folders, names in os.walk(target, topdown=False):
        for path in (Path(name, inner) for inner in [*names, *folders]):
            if path.is_symlink() or not path.is_dir():
                if path.relative_to(target) not in files:
                    path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()


def _put(path: Path, content: bytes | Path) -> None:
    """Writes a file, or makes it a link, unless it is as it should be; never writes through a link."""
    if isinstance(content, Path):
        if not path.is_symlink() or path.readlink() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(content)
    elif path.is_symlink() or not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
