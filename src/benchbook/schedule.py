"""Makes the runs that are missing, in parallel through Snakemake, with one live display of all of them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchbook import state
from benchbook.errors import BookError
from benchbook.plan import Project, Run
from benchbook.run import cores, job

SNAKEFILE = Path(__file__).with_name("Snakefile")


@contextlib.contextmanager
def build_lock(project: Project) -> Iterator[None]:
    """Holds the book's build lock; raises BookError, naming the holder, where another build has it.

    The kernel drops the lock when its process ends, however it ends, so none is ever left behind.
    """
    project.build.mkdir(exist_ok=True)
    with (project.build / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise BookError(f"process {file.read().strip() or '?'} is building this book: wait for it to end") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def prepare_data(project: Project, runs: list[Run]) -> bool:
    """Makes the data sets that runs name and that are not there; returns whether any was made."""
    made = False
    for name in sorted({str(run.parameters.get("dataset", "")) for run in runs}):
        entry = project.data_sets.get(name, {})
        files = entry.get("files", [])
        if "prepare" in entry and files and not any((project.data_root / file).exists() for file in files):
            command = [sys.executable, "-m", *entry["prepare"].split()]
            ended = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
            if ended.returncode:
                raise BookError(f"data set '{name}': {(ended.stderr.strip() or 'failed').splitlines()[-1]}")
            made = True
    return made


def make(project: Project, runs: list[Run], profile: str, jobs: int | None = None) -> None:
    """Executes the runs, as many at once as there are cores; afterwards each has a status, ok or failed."""
    workers = min(jobs or cores(), len(runs))
    threads = max(1, cores() // workers)
    folder = project.build / "schedule"
    shutil.rmtree(project.build / "progress", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        (folder / f"{run.fingerprint}.json").write_text(json.dumps(job(run, profile)))
    environment = dict(os.environ)
    # Kernels and workers must import the project that is being built, wherever benchbook itself is installed.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project.sources), os.environ.get("PYTHONPATH", "")]))
    environment["DATA_ROOT"] = str(project.data_root)
    log = folder / "snakemake.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            _command(project, runs, folder, workers, threads),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            _watch(process, runs)
        finally:
            _stop(process)
            shutil.rmtree(project.build / "progress", ignore_errors=True)  # a killed worker leaves what it said
    for run in runs:
        if state.read_status(run.folder) is None:
            raise BookError(
                f"'{run.label}' did not run: see {log} and {folder}/{run.experiment.name}-{run.fingerprint}.log"
            )


def _command(project: Project, runs: list[Run], folder: Path, workers: int, threads: int) -> list[str]:
    targets = [str(run.folder / "status.json") for run in runs]
    own = project.root / SNAKEFILE.name
    snakefile = own if own.is_file() else SNAKEFILE
    settings = [f"jobs={folder}", f"runs={project.runs}", f"python={sys.executable}", f"threads={threads}"]
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)),
        *("--directory", str(folder), "--cores", str(workers * threads), "--keep-going", "--quiet", "all"),
        # Our own lock and our own notion of what is missing: Snakemake is told, it does not decide.
        *("--nolock", "--force", "--keep-incomplete", "--rerun-incomplete", "--latency-wait", "0"),
        *("--config", *settings, "--", *targets),
    ]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the scheduler with all its workers and their kernels, politely first."""
    for number in (2, 15, 9):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)


def _watch(process: subprocess.Popen[bytes], runs: list[Run]) -> None:
    """Shows the runs until the scheduler ends: a live table on a terminal, a line for each change elsewhere."""
    began = time.time()
    if not sys.stdout.isatty():
        seen: dict[str, str] = {}
        while process.poll() is None:
            _print_changes(runs, began, seen)
            time.sleep(0.2)
        _print_changes(runs, began, seen)
        return
    from rich.live import Live

    with Live(_table(runs, began), refresh_per_second=4) as live:
        while process.poll() is None:
            live.update(_table(runs, began))
            time.sleep(0.2)
        live.update(_table(runs, began))


def _print_changes(runs: list[Run], began: float, seen: dict[str, str]) -> None:
    for run in runs:
        name, _, detail, elapsed, _ = row(run, began)
        if seen.get(run.fingerprint) != name:
            seen[run.fingerprint] = name
            if name != "waiting":
                print(f"{name:8} {run.label}  {elapsed}  {detail if name == 'failed' else ''}".rstrip(), flush=True)


def _table(runs: list[Run], began: float) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("state", "run", "where", "elapsed", "remaining"):
        table.add_column(title, justify="right" if title in ("elapsed", "remaining") else "left", overflow="fold")
    colours = {"ok": "green", "failed": "bold red", "running": "yellow"}
    for run in runs:
        cells = row(run, began)
        table.add_row(*cells, style=colours.get(cells[0]))
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
