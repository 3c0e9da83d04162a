"""Files and folders that appear all at once: whoever looks, and whatever is killed, finds the old or the new."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# The system call that lets two folders change places, and what it calls the working folder.
EXCHANGE = {"linux": ("renameat2", -100), "darwin": ("renameatx_np", -2)}
SWAP = 2  # RENAME_EXCHANGE there, RENAME_SWAP here


@contextlib.contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Names the folder in an error of writing that names no file, as that of a full disk may."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise


def write(path: Path, content: bytes) -> None:
    """Puts a file in the place of an older one; where that cannot be, raises OSError and leaves nothing behind."""
    part = path.with_name(f".{path.name}.part")  # one name, so that what a killed writer left is written over
    try:
        with naming(path):
            part.write_bytes(content)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def replace(part: Path, folder: Path) -> None:
    """Puts a finished folder in the place of an older one, which is removed."""
    if not folder.exists():
        part.rename(folder)
        return
    if not _exchanged(part, folder):  # a file system without this: for an instant there is neither
        old = part.with_name(f"{part.name}.old")
        folder.rename(old)
        try:
            part.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        part = old
    shutil.rmtree(part, ignore_errors=True)


def publish(made: Path, shown: Path) -> None:
    """Puts a copy of a folder in the place of an older one; files that are the same are linked to it, not copied."""
    part = shown.with_name(f".{shown.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a build that was killed
    try:
        for name, _, files in os.walk(made):
            folder = Path(name).relative_to(made)
            (part / folder).mkdir()
            for file in files:
                _copy(made / folder / file, part / folder / file, shown / folder / file)
        replace(part, shown)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(source: Path, target: Path, old: Path) -> None:
    if old.is_file() and filecmp.cmp(source, old, shallow=False):
        with contextlib.suppress(OSError):  # a file system without links
            target.hardlink_to(old)
            return
    shutil.copyfile(source, target)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the two could change places, in one step."""
    import ctypes

    name, here = EXCHANGE.get(sys.platform, ("", 0))
    function = getattr(ctypes.CDLL(None), name, None) if name else None
    return function is not None and function(here, os.fsencode(one), here, os.fsencode(other), SWAP) == 0
