"""Work in a fork that is killed at a moment of its own writing, or that finds the disk full."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import mmap
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree", "artefact"}
WRITING = os.O_WRONLY | os.O_RDWR


def forked(work: Callable[[], Any]) -> int:
    """The exit status of the work in a fork, negative for a signal; 1 for an exception, which is printed."""
    pid = os.fork()
    if not pid:
        status = 1
        faulthandler.disable()  # a fork that is killed on purpose needs no report
        try:
            status = int(work() or 0)
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(work: Callable[[], Any], below: Path, at: int, pause: float) -> bool:
    """Whether the work died `pause` seconds after its at-th change below the folder began; else it came to its end."""
    status = forked(lambda: _watched(work, below, lambda seen: seen == at and _die(pause)))
    assert status in (0, -signal.SIGKILL, -signal.SIGALRM)
    return status < 0


def changes(work: Callable[[], Any], below: Path) -> int:
    """How many changes below the folder the work makes."""
    counter = mmap.mmap(-1, 8)  # shared with the fork

    def note(seen: int) -> None:
        counter[:8] = seen.to_bytes(8, "big")

    assert forked(lambda: _watched(work, below, note)) == 0
    return int.from_bytes(counter[:8], "big")


def _watched(work: Callable[[], Any], below: Path, note: Callable[[int], Any]) -> Any:
    """Does the work, telling the number of each change below the folder just before it happens."""
    seen = 0

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            _, mode, flags = given
            if not set(mode or "") & set("wax+") and not flags & WRITING:
                return
        elif event not in CHANGES:
            return
        paths = [os.fsdecode(path) for path in given[:2] if isinstance(path, str | bytes | os.PathLike)]
        if any(path.startswith(str(below)) for path in paths):
            seen += 1
            note(seen)

    sys.addaudithook(hook)
    return work()


def _die(pause: float) -> None:
    if pause:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process as abruptly as SIGKILL
        signal.setitimer(signal.ITIMER_REAL, pause)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def tree(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def restore(kept: Path, folder: Path) -> None:
    """Makes a folder what its copy is, time stamps too."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)


def half_made(folder: Path) -> list[str]:
    """What a writer has left behind."""
    return [str(path) for path in folder.rglob("*") if path.name.endswith((".part", ".old", ".typst"))]


class Disk:
    """A file system of its own, whose size can be set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def used(self) -> int:
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def leave(self, free: int) -> None:
        """Leaves so many bytes free."""
        size = self.used + free
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """A small disk, mounted on a folder; the test is skipped where that is not allowed."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", folder]
    if sys.platform != "linux" or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: that is for root on Linux")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
