"""What a build shows while runs are made: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbook import state
from benchbook.plan import Run

PAUSE = 0.1  # seconds between two looks
COLOURS = {"ok": "green", "failed": "bold red", "running": "yellow"}


def watch(is_over: Callable[[], bool], runs: Sequence[Run], old: Mapping[Path, float]) -> None:
    """Shows the runs until all is over."""
    if not sys.stdout.isatty():
        seen: dict[str, str] = {}
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


def _print_changes(runs: Sequence[Run], old: Mapping[Path, float], seen: dict[str, str]) -> None:
    for run in runs:
        name, _, detail, elapsed, _ = row(run, old)
        if seen.get(run.fingerprint) != name:
            seen[run.fingerprint] = name
            if name != "waiting":
                print(f"{name:8} {run.label}  {elapsed}  {detail if name == 'failed' else ''}".rstrip(), flush=True)


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
        return status["state"], run.label, str(status["error"]), _clock(status["seconds"]), ""
    where, step = state.progress(run)
    if not where:
        return "waiting", run.label, "", "", ""
    elapsed = time.time() - where["began"]
    share = step["step"] / step["steps"] if step else 0.0
    done = (where["cell"] - 1 + share) / where["cells"]
    return "running", run.label, state.where_is(run), _clock(elapsed), _clock(_remaining(run, elapsed, done))


def _remaining(run: Run, elapsed: float, done: float) -> float | None:
    """Seconds to go: from the last run of the same experiment where there is one, else from the share done."""
    before = state.History(run.folder.parent).before(run)
    if before and before[1]["state"] == "ok":
        return max(0.0, float(before[1]["seconds"]) - elapsed)
    return elapsed / done - elapsed if done > 0.05 else None


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
