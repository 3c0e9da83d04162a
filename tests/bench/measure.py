"""Two ways of doing the same work, timed in turns in one process: the ratio is the result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
    """The same work done by this project and by a peer, or by this project alone.

    goal: the least ratio peer/ours that is promised; limit: the most seconds that ours may take; prepare: what comes
    before each repetition and is not timed; slow: left out of a quick bench.
    """

    name: str
    ours: Callable[[], Any]
    peer_name: str = ""
    peer: Callable[[], Any] | None = None
    goal: float | None = None
    limit: float | None = None
    prepare: Callable[[], Any] | None = None
    slow: bool = False

    def __post_init__(self) -> None:
        if self.goal is not None and self.peer is None:
            raise ValueError(f"'{self.name}' has a goal, which is a ratio, and no peer: give it a limit in seconds")


@dataclass(frozen=True)
class Row:
    """Seconds of each repetition, in the order in which they were measured: ours, peer, ours, peer, …"""

    name: str
    peer_name: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    goal: float | None = None
    limit: float | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long the peer took, repetition by repetition; none without a peer."""
        return tuple(peer / ours for ours, peer in zip(self.ours, self.peer, strict=bool(self.peer)))

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Whether the medians keep what was promised; None where nothing was."""
        kept = []
        if self.goal is not None and self.ratio is not None:
            kept.append(self.ratio >= self.goal)
        if self.limit is not None:
            kept.append(statistics.median(self.ours) <= self.limit)
        return all(kept) if kept else None


def measure(pair: Pair, repeats: int = 5, warm_ups: int = 1) -> Row:
    """Times both sides of a pair in turns, after warm-ups that do not count."""
    times = [_repetition(pair) for _ in range(warm_ups + repeats)][warm_ups:]
    ours = tuple(ours for ours, _ in times)
    peer = tuple(peer for _, peer in times if peer is not None)
    return Row(pair.name, pair.peer_name, ours, peer, pair.goal, pair.limit)


def _repetition(pair: Pair) -> tuple[float, float | None]:
    if pair.prepare:
        pair.prepare()
    return seconds(pair.ours), seconds(pair.peer) if pair.peer else None


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
