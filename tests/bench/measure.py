"""Two ways of doing the same work, timed in turns in one process: the ratio is the result."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Pair:
    """The same work done by this project and by a peer, or by this project alone.

    goal: the least ratio peer/ours that is promised; limit: the most seconds that ours may take; prepare: what comes
    before each repetition and is not timed; slow: left out of a quick bench; group: of several rows that share a bar.
    """

    name: str
    ours: Callable[[], Any]
    peer_name: str = ""
    peer: Callable[[], Any] | None = None
    goal: float | None = None
    limit: float | None = None
    prepare: Callable[[], Any] | None = None
    slow: bool = False
    group: str = ""

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
    group: str = ""

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
    return Row(pair.name, pair.peer_name, ours, peer, pair.goal, pair.limit, pair.group)


def _repetition(pair: Pair) -> tuple[float, float | None]:
    if pair.prepare:
        pair.prepare()
    return seconds(pair.ours), seconds(pair.peer) if pair.peer else None


@dataclass(frozen=True)
class Growth:
    """Work of several sizes, done by this project and by a peer: how does the time grow with the size?"""

    name: str
    sizes: tuple[int, ...]
    ours: Callable[[int], Any]
    peer_name: str = ""
    peer: Callable[[int], Any] | None = None
    prepare: Callable[[int], Any] | None = None
    slow: bool = False


@dataclass(frozen=True)
class Slopes:
    """Seconds of each repetition for each size, in the order of the sizes."""

    name: str
    peer_name: str
    sizes: tuple[int, ...]
    ours: tuple[tuple[float, ...], ...]
    peer: tuple[tuple[float, ...], ...]

    def of(self, side: tuple[tuple[float, ...], ...]) -> tuple[float, ...]:
        """The slope of each repetition of a side: 1 is in proportion to the size, 0 is no growth."""
        return tuple(slope(self.sizes, times) for times in side)


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of the least-squares line through points on two logarithmic axes."""
    return statistics.linear_regression([math.log(x) for x in sizes], [math.log(y) for y in times]).slope


def measure_growth(growth: Growth, repeats: int = 5, warm_ups: int = 1) -> Slopes:
    """Times every size on both sides, all of them in turns, after warm-ups that do not count."""
    rounds = [[_repetition(_sized(growth, size)) for size in growth.sizes] for _ in range(warm_ups + repeats)]
    ours = tuple(tuple(ours for ours, _ in times) for times in rounds[warm_ups:])
    peer = tuple(tuple(peer for _, peer in times if peer is not None) for times in rounds[warm_ups:])
    return Slopes(growth.name, growth.peer_name, growth.sizes, ours, peer if growth.peer else ())


def _sized(growth: Growth, size: int) -> Pair:
    ours, peer, prepare = (work and partial(work, size) for work in (growth.ours, growth.peer, growth.prepare))
    return Pair(growth.name, ours, growth.peer_name, peer, prepare=prepare)


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
