"""Two ways of doing the same work, timed in turns in one process: the ratio is the result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
    """The same work done by this project and by a peer; `goal` is the least ratio peer/ours that is promised."""

    name: str
    ours: Callable[[], Any]
    peer_name: str
    peer: Callable[[], Any]
    goal: float | None = None


@dataclass(frozen=True)
class Row:
    """Seconds of each repetition, in the order in which they were measured: ours, peer, ours, peer, …"""

    name: str
    peer_name: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    goal: float | None

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long the peer took, repetition by repetition."""
        return tuple(peer / ours for ours, peer in zip(self.ours, self.peer, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)


def measure(pair: Pair, repeats: int = 5, warm_ups: int = 1) -> Row:
    """Times both sides of a pair in turns, after warm-ups that do not count."""
    for _ in range(warm_ups):
        pair.ours()
        pair.peer()
    times = [(seconds(pair.ours), seconds(pair.peer)) for _ in range(repeats)]
    ours, peer = zip(*times, strict=True)
    return Row(pair.name, pair.peer_name, ours, peer, pair.goal)


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
