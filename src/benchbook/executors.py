"""Where Snakemake starts the runs: on this machine, or by one of its executor plugins on a cluster.

`python -m benchbook.executors NAME WORD…` is Snakemake itself, which ends with the builder and loads that plugin only:
SLURM's imports pandas, a third of the start that every local build would pay for.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import shutil
import signal
import subprocess
import sys

from benchbook.errors import BookError, nearest
from benchbook.forkserver import die_with_parent

LOCAL = "local"
PREFIX = "snakemake_executor_plugin_"
JOBS = 50  # at once on a cluster, where the user does not say


def check(name: str) -> None:
    """Raises BookError, with the remedy, where this executor cannot be used here."""
    if name == LOCAL:
        return
    if importlib.util.find_spec(_module(name)) is None:
        package = _module(name).replace("_", "-")
        raise BookError(
            f"there is no executor '{name}' here{nearest(name, [LOCAL, *installed()])}; another one of Snakemake's is "
            f"added by `{sys.executable} -m pip install {package}`"
        )
    if name == "slurm" and shutil.which("sbatch") is None:
        raise BookError("sbatch is not found: build on a machine from which jobs can be submitted to SLURM")


def installed() -> list[str]:
    """The executor plugins that are installed, as Snakemake calls them."""
    names = [module.name.removeprefix(PREFIX) for module in pkgutil.iter_modules() if module.name.startswith(PREFIX)]
    return sorted(name.replace("_", "-") for name in names if not name.endswith("jobstep"))


def options(name: str, jobs: int | None) -> list[str]:
    """Snakemake's options for an executor that is not this machine; those that a user gives come after them."""
    words = ["--executor", name, "--jobs", str(jobs or JOBS)]
    words += ["--latency-wait", "60"]  # files of other machines may appear late
    if name == "slurm" and not _has_accounting():
        words += ["--slurm-status-command", "squeue"]
    return words


def _module(name: str) -> str:
    return PREFIX + name.replace("-", "_")


def _has_accounting() -> bool:
    """Whether SLURM remembers jobs that have ended, so that sacct can be asked for them."""
    try:
        return subprocess.run(["sacct", "-n"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def main(name: str, words: list[str]) -> None:
    """Runs Snakemake; never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the builder runs in the background
    die_with_parent(signal.SIGINT)  # upon which it cancels the jobs that it has submitted
    modules = pkgutil.iter_modules

    def wanted(*where: object, **how: object) -> object:
        for module in modules(*where, **how):  # type: ignore[arg-type]
            if not module.name.startswith(PREFIX) or module.name.startswith(_module(name)):
                yield module

    pkgutil.iter_modules = wanted  # type: ignore[assignment]
    from snakemake.cli import main as snakemake

    snakemake(words)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
