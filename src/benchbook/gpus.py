"""The GPUs of this machine and slots on them: a slot is a locked file, free again when its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path


def devices(folder: Path = Path("/dev")) -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name here: NVIDIA's GPUs by number, or those of them that it names already."""
    number = len(list(folder.glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(device) for device in range(number)]
    return list(takewhile(lambda name: name not in ("", "-1"), map(str.strip, visible.split(","))))[:number]


def slots(folder: Path, names: Sequence[str], number: int) -> list[tuple[str, str]]:
    """Each GPU's slots, as the GPU's name and a file: the first of every GPU before the second of any."""
    return [(name, str(folder / f"{i}.{slot}")) for slot in range(number) for i, name in enumerate(names)]


@contextlib.contextmanager
def held(offered: Sequence[tuple[str, str]], wanted: int) -> Iterator[list[str]]:
    """Waits for slots on as many GPUs as are wanted (at most all), holds them, and yields the GPUs' names."""
    wanted = min(wanted, len({name for name, _ in offered}))
    while len(taken := _take(offered, wanted)) < wanted:
        _leave(taken)
        time.sleep(0.1)
    try:
        yield list(taken)
    finally:
        _leave(taken)


def _take(offered: Sequence[tuple[str, str]], wanted: int) -> dict[str, int]:
    taken: dict[str, int] = {}
    for name, path in offered:
        if name not in taken and len(taken) < wanted:
            file = os.open(path, os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken[name] = file
            except OSError:
                os.close(file)
    return taken


def _leave(taken: dict[str, int]) -> None:
    for file in taken.values():
        os.close(file)
