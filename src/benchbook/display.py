"""What a build shows while runs are made: a live table on a terminal; elsewhere lines, for changes and now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbook import state
from benchbook.plan import Run

PAUSE = 0.1  # seconds between two looks
AGAIN = 600.0  # seconds after which a log says where a run is that has not ended
COLOURS = {"ok": "green", "failed": "bold red", "running": "yellow"}


def watch(is_over: Callable[[], bool], runs: Sequence[Run], old: Mapping[Path, float]) -> None:
    """Shows the runs until all is over."""
    if not sys.stdout.isatty():
        seen: dict[str, tuple[str, float]] = {}
        _repeat(lambda: _print_changes(runs, old, seen), is_over)
        return
    from rich.live import Live

    with Live(_table(runs, old), refresh_per_second=4) as live:
        _repeat(lambda: live.update(_table(runs, old)), is_over)


def _repeat(look: Callable[[], None], is_over: Callable[[], bool]) -> None:
    """Looks again and again, a tenth of the time at most: the cores are for the runs."""
    due = 0.0
    while not is_over():
        now = time.monotonic()
        if now >= due:
            look()
            due = now + 10 * (time.monotonic() - now)
        time.sleep(PAUSE)
    look()


def _print_changes(runs: Sequence[Run], old: Mapping[Path, float], seen: dict[str, tuple[str, float]]) -> None:
    for run in runs:
        name, _, detail, elapsed, remaining = row(run, old)
        before, told = seen.get(run.fingerprint, ("waiting", 0.0))
        again = name == "running" and time.monotonic() - told >= AGAIN
        if name == before and not again:
            continue
        seen[run.fingerprint] = name, time.monotonic()
        left = f", {remaining} left" if remaining else ""
        words = detail if name == "failed" else f"{detail}{left}" if name == before else ""
        print(f"{name:8} {run.label}  {elapsed}  {words}".rstrip(), flush=True)


def _table(runs: Sequence[Run], old: Mapping[Path, float]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("state", "run", "where", "elapsed", "remaining"):
        table.add_column(title, justify="right" if title in ("elapsed", "remaining") else "left", overflow="fold")
    for run in runs:
        cells = row(run, old)
        table.add_row(*cells, style=COLOURS.get(cells[0]))
    return table


def news(run: Run, old: Mapping[Path, float]) -> dict[str, Any] | None:
    """The status of a run that has ended in this build; None before. `old` has when those ended that it replaces.

    The clocks of a cluster differ, so that earlier and later mean nothing here.
    """
    status = state.read_status(run.folder)
    return status if status and status["ended"] != old.get(run.folder) else None


def row(run: Run, old: Mapping[Path, float]) -> tuple[str, str, str, str, str]:
    """One line of the display: state, run, cell and epoch (or error), elapsed, remaining."""
    status = news(run, old)
    if status:
        return status["state"], run.label, str(status["error"]), clock(status["seconds"]), ""
    where, step = state.progress(run)
    if not where:
        return "waiting", run.label, "", "", ""
    elapsed = time.time() - where["began"]
    return "running", run.label, state.where_is(run), clock(elapsed), clock(_remaining(run, elapsed, where, step))


def _remaining(run: Run, elapsed: float, where: Mapping[str, Any], step: Mapping[str, Any]) -> float | None:
    """Seconds to go: from the last run with the same parameters where there is one, else from the share done.

    A share of cells says little where one of them takes most of the time: what is left of its steps is the least.
    """
    share = step["step"] / step["steps"] if step else 0.0
    of_cell = (step["time"] - where["time"]) * (1 / share - 1) if share else 0.0
    before = state.History(run.folder.parent).before(run)
    if before and before[1]["state"] == "ok" and before[1]["ingredients"].get("parameters") == run.parameters:
        return max(float(before[1]["seconds"]) - elapsed, of_cell)
    done = (where["cell"] - 1 + share) / where["cells"]
    return max(elapsed / done - elapsed, of_cell) if done > 0.05 else None


def clock(seconds: float | None) -> str:
    """Minutes and seconds, hours where there are some: 1:05; nothing for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
