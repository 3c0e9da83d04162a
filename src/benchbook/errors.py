"""The one error that a user sees as a line of text."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

NO_SPACE = os.strerror(errno.ENOSPC)
FULL_DISK = "a full disk"
FULL = {errno.ENOSPC, errno.EDQUOT}


class BookError(Exception):
    """Bad input or a broken book: says in one line what it is and what to do, and is shown without a traceback."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a misspelt name: '; did you mean 'epochs'?', or the known names where none is near."""
    import difflib  # here, because most commands meet no misspelt name

    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""


def check_keys(entry: Any, keys: Collection[str], where: str) -> None:
    """Raises BookError, naming the place, for an entry that is no mapping or has a key that means nothing there."""
    if not isinstance(entry, dict):
        raise BookError(f"{where}: a mapping is wanted here, not {type(entry).__name__}")
    for key in entry:
        if key not in keys:
            raise BookError(f"{where}: unknown key {str(key)!r}{nearest(str(key), keys)}")


def tells_of_full_disk(text: str) -> bool:
    """Whether an error's text says that a disk was full."""
    return NO_SPACE in text or FULL_DISK in text


def full_disk(path: Path) -> str:
    """What is said where a disk was full: the file, and how much the disk that it is on has free now."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(there).free / 1e6
    return f"the disk is full: {path} could not be written, {free:.1f} MB are free now; the last book is as it was"
