"""What a build shows while runs are made: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchbook import state
from benchbook.plan import Run

PAUSE = 0.1  # seconds between two looks, and nine times as long as a look has taken: the cores are for the runs
COLOURS = {"ok": "green", "failed": "bold red", "running": "yellow"}


def watch(is_over: Callable[[], bool], runs: Sequence[Run], began: float) -> None:
    """Shows the runs until all is over."""
    if not sys.stdout.isatty():
        seen: dict[str, str] = {}
        _repeat(lambda: _print_changes(runs, began, seen), is_over)
        return
    from rich.live import Live

    with Live(_table(runs, began), refresh_per_second=4) as live:
        _repeat(lambda: live.update(_table(runs, began)), is_over)


def _repeat(look: Callable[[], None], is_over: Callable[[], bool]) -> None:
    while not is_over():
        looked = time.monotonic()
        look()
        time.sleep(max(PAUSE, 9 * (time.monotonic() - looked)))
    look()


def _print_changes(runs: Sequence[Run], began: float, seen: dict[str, str]) -> None:
    for run in runs:
        name, _, detail, elapsed, _ = row(run, began)
        if seen.get(run.fingerprint) != name:
            seen[run.fingerprint] = name
            if name != "waiting":
                print(f"{name:8} {run.label}  {elapsed}  {detail if name == 'failed' else ''}".rstrip(), flush=True)


def _table(runs: Sequence[Run], began: float) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("state", "run", "where", "elapsed", "remaining"):
        table.add_column(title, justify="right" if title in ("elapsed", "remaining") else "left", overflow="fold")
    for run in runs:
        cells = row(run, began)
        table.add_row(*cells, style=COLOURS.get(cells[0]))
    return table


def row(run: Run, began: float) -> tuple[str, str, str, str, str]:
    """One line of the display: state, run, cell and epoch (or error), elapsed, remaining."""
    status = state.read_status(run.folder)
    if status and status["ended"] >= began:  # an older status is the one that this build replaces
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
