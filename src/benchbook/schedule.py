"""Makes the runs that are missing, in parallel and in the order of their needs, through Snakemake; one run without."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbook import executors, forks, gpus, state
from benchbook.display import news, watch
from benchbook.errors import NO_SPACE, BookError, tells_of_full_disk
from benchbook.machine import cores
from benchbook.plan import Run
from benchbook.project import Project
from benchbook.run import execute, job, needs_error

SNAKEFILE = Path(__file__).with_name("Snakefile")
LOG = "snakemake.log"
LEAST = 2**16  # bytes free, below which a disk counts as full
# Of glibc: what an array leaves is used again and not given back to the system, which would have to clear every page of
# the next one. Only arrays of 256 MiB and more are given back at once. Memory comes in pages of 2 MB where the system
# has them: a training step touches thousands of the small ones, more than a processor remembers the places of.
MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**28),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR")  # whose number of threads Snakemake sets
ENDING = re.compile(r"killed by |[\w.]+(Error|Exception)\b")  # the last line of a worker that has failed itself


def prepare_data(project: Project, runs: list[Run]) -> bool:
    """Makes the data sets that runs name and that are not there; returns whether any was made."""
    made = False
    for name in sorted({str(run.parameters.get("dataset", "")) for run in runs}):
        entry = project.data_sets.get(name, {})
        files = entry.get("files", [])
        if "prepare" in entry and files and not any((project.data_root / file).exists() for file in files):
            command = [sys.executable, "-m", *entry["prepare"].split()]
            ended = subprocess.run(
                command, cwd=project.root, env=_environment(project), capture_output=True, text=True, check=False
            )
            if ended.returncode:
                raise BookError(f"data set '{name}': {(ended.stderr.strip() or 'failed').splitlines()[-1]}")
            made = True
    return made


@dataclass(frozen=True)
class Where:
    """Where runs are made: how many at once, by which of Snakemake's executors, on how many slots of each GPU."""

    jobs: int | None = None
    executor: str = executors.LOCAL
    words: tuple[str, ...] = ()  # the user's own for Snakemake
    gpu_slots: int = 1

    @property
    def is_local(self) -> bool:
        return self.executor == executors.LOCAL


def make(project: Project, runs: Sequence[Run], profile: str, where: Where) -> None:
    """Executes the runs, each after those that it needs; afterwards each has a status, ok or failed.

    Raises BookError where one could not even be started, OSError where the disk is full: that is nothing to publish.
    """
    executors.check(where.executor)
    old = {run.folder: status["ended"] for run in runs if (status := state.read_status(run.folder))}
    folder = project.build / "schedule"
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(project, runs)
    try:
        tasks = _run_all(project, runs, profile, where, folder, old)
        _give_up(runs, tasks, folder, old)
    except BookError:
        _stop_where_full(project.build)  # then Snakemake could not even say so
        raise
    finally:
        _sweep(project, runs)
    for run in runs:
        if (status := news(run, old)) and tells_of_full_disk(str(status["error"])):
            raise OSError(errno.ENOSPC, NO_SPACE, str(run.folder))


def _stop_where_full(folder: Path) -> None:
    if shutil.disk_usage(folder).free < LEAST:
        raise OSError(errno.ENOSPC, NO_SPACE, str(folder))


def _run_all(
    project: Project, runs: Sequence[Run], profile: str, where: Where, folder: Path, old: Mapping[Path, float]
) -> dict[Path, dict[str, Any]]:
    """Writes the jobs and has them done, showing how far they are; returns the jobs by their runs' folders."""
    with (folder / LOG).open("w") as log, contextlib.ExitStack() as servers:
        environment = _environment(project)
        command = [sys.executable, "-m"]
        if where.is_local and sys.platform == "linux":
            environment["SPARE_CORES"] = "use"  # a chapter's trainings may have the cores that no run takes
            environment[forks.KERNELS] = servers.enter_context(forks.server("kernel", environment, log))
            address = servers.enter_context(forks.server("worker", environment, log))
            command = [sys.executable, "-IS", forks.__file__, address]
        worker = [*command, "benchbook.run"]
        tasks = _jobs(project, runs, profile, worker, where)
        for run in runs:
            _log(folder, run).unlink(missing_ok=True)
            (folder / f"{run.fingerprint}.json").write_text(json.dumps(tasks[run.folder]))
        process = subprocess.Popen(
            _alone(worker, runs[0], folder)
            if _needs_no_schedule(project, runs, where)
            else _snakemake(project, runs, folder, where),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        try:
            watch(lambda: process.poll() is not None, runs, old)
        finally:
            _stop(process, where)
    return tasks


def _environment(project: Project) -> dict[str, str]:
    """What workers and kernels find: the project that is being built, wherever benchbook itself is installed."""
    paths = [str(project.sources), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "DATA_ROOT": str(project.data_root)}
    return {**MEMORY, **os.environ, **own}


def _jobs(
    project: Project, runs: Sequence[Run], profile: str, command: list[str], where: Where
) -> dict[Path, dict[str, Any]]:
    """The jobs of all runs by their folders: what a worker must know, and what Snakemake must."""
    folders = {run.folder for run in runs}
    slots: list[tuple[str, str]] = []
    if where.is_local:
        locks = project.build / "gpu"
        locks.mkdir(exist_ok=True)
        slots = gpus.slots(locks, gpus.devices(), where.gpu_slots)
    tasks = {}
    for run in runs:
        after = [str(needed.folder / "status.json") for needed in run.needs.values() if needed.folder in folders]
        tasks[run.folder] = {**job(run, profile), "gpu_slots": slots, "after": after, "command": command}
    return tasks


def _needs_no_schedule(project: Project, runs: Sequence[Run], where: Where) -> bool:
    """Whether there is nothing to weigh: a run on this machine, which asks for nothing, in the book's usual schedule.

    Snakemake needs seconds to start, which is longer than most of a writer's runs after a changed cell.
    """
    is_usual = where.is_local and not where.words and not (project.root / SNAKEFILE.name).is_file()
    return is_usual and len(runs) == 1 and not runs[0].experiment.resources


def _alone(worker: list[str], run: Run, folder: Path) -> list[str]:
    """What Snakemake would do with a single run: all cores, and a second try for a worker that has died."""
    threads = [f"{name}_NUM_THREADS={cores()}" for name in THREADS]
    words = [*worker, str(folder / f"{run.fingerprint}.json")]
    return ["sh", "-c", 'exec > "$0" 2>&1; "$@" || "$@"', str(_log(folder, run)), "env", *threads, *words]


def _snakemake(project: Project, runs: Sequence[Run], folder: Path, where: Where) -> list[str]:
    own = project.root / SNAKEFILE.name
    if where.is_local:
        workers = min(where.jobs or cores(), len(runs))
        threads = max(1, cores() // workers)
        slots = len(gpus.devices()) * where.gpu_slots
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        options = ["--cores", str(workers * threads), "--resources", f"gpu={slots}", f"mem_mb={memory}"]
        options += ["--latency-wait", "0"]
    else:
        threads = 1
        options = executors.options(where.executor, where.jobs)
    return [
        *(sys.executable, "-m", "benchbook.executors", where.executor),
        *("--snakefile", str(own if own.is_file() else SNAKEFILE), "--directory", str(folder)),
        # Our own lock and our own notion of what is missing: Snakemake is told, it does not decide.
        *("--nolock", "--force", "--keep-going", "--keep-incomplete", "--rerun-incomplete", "--scheduler", "greedy"),
        *options,
        *where.words,
        *("--config", f"jobs={folder}", f"runs={project.runs}", f"threads={threads}"),
        *("--", *(str(run.folder / "status.json") for run in runs)),
    ]


def _stop(process: subprocess.Popen[bytes], where: Where) -> None:
    """Ends Snakemake and what it has started, on a cluster politely first, so that it cancels its jobs."""
    signals = [signal.SIGKILL] if where.is_local else [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    for number in signals:
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)


def _sweep(project: Project, runs: Sequence[Run]) -> None:
    """Removes what killed workers have left: what they said, and folders half made."""
    shutil.rmtree(state.progress_folder(project), ignore_errors=True)
    for run in runs:
        for left in run.folder.parent.glob(f".{run.fingerprint}.*"):
            shutil.rmtree(left, ignore_errors=True)


def _give_up(
    runs: Sequence[Run], tasks: Mapping[Path, Mapping[str, Any]], folder: Path, old: Mapping[Path, float]
) -> None:
    """Marks the runs failed that no worker could mark: it was killed, or what they need has failed.

    Raises BookError for runs that no worker has begun though nothing was in their way.
    """
    unstarted: list[Run] = []
    for run in sorted(runs, key=_depth):
        if news(run, old):
            continue
        said, place = _read(_log(folder, run)), state.where_is(run)
        if any(needed in unstarted for needed in run.needs.values()):
            unstarted.append(run)
        elif said or place:  # a worker has begun
            words = [line for line in said if ENDING.match(line)][-1:] + ([f"in {place}"] if place else [])
            how = " ".join(words) or "killed"
            execute(tasks[run.folder], f"its worker has ended without a result, also when tried once more: {how}")
        elif error := needs_error(tasks[run.folder]["needs"]):
            execute(tasks[run.folder], error)
        else:
            unstarted.append(run)
    if unstarted:
        raise BookError(
            f"'{unstarted[0].label}' could not be started: {_complaint(_read(folder / LOG))}: see {folder / LOG}"
        )


def _depth(run: Run) -> int:
    return 1 + max(map(_depth, run.needs.values()), default=0)


def _log(folder: Path, run: Run) -> Path:
    return folder / f"{run.experiment.name}-{run.fingerprint}.log"


def _read(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _complaint(lines: list[str]) -> str:
    """What Snakemake's log says went wrong."""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if "error" in line.lower():
            return f"{line} {following}" if line.endswith(":") else line
    return "Snakemake has ended early"
