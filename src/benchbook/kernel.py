"""One notebook through papermill in a kernel of its own, and what the kernel died of, if it did."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook

from benchbook.errors import FULL_DISK
from benchbook.experiments import code_cells
from benchbook.forks import KERNELS, Fork

DIED = "the kernel died"  # how the error of a run begins that is worth another try


def execute(
    given: Path, executed: Path, parameters: Mapping[str, Any], working_folder: str, note: Callable[[int], None]
) -> str:
    """Executes a notebook, telling `note` the number of each code cell that begins; returns its error, '' for none.

    Cells are counted as everywhere: those with code, from 1, without the one that papermill adds.
    """
    papermill_engines.register("benchbook", Engine)
    reached = 0

    def begin(cell: int) -> None:
        nonlocal reached
        reached = cell
        note(cell)

    try:
        execute_notebook(
            given,
            executed,
            parameters=parameters,
            engine_name="benchbook",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=working_folder,
            kernel_manager_class=Manager,
            begin=begin,
        )
    except PapermillExecutionError as error:
        return " ".join(f"{error.ename}: {error.evalue} (cell {Engine.numbers[error.cell_index]})".split())
    except Exception as error:  # no kernel, no space, …: whatever stops papermill itself is the run's failure too
        if isinstance(error, DeadKernelError) or "Kernel died" in str(error):
            return _death(reached)
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


class Engine(NBClientEngine):
    """Papermill's own engine, which also says which cell it is in."""

    numbers: ClassVar[list[int]]  # of every cell that of the newest code cell; a worker has one notebook

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, begin: Callable[[int], None], **rest: Any) -> Any:
        """Executes the notebook, telling `begin` every code cell."""
        start, cells = nb_man.cell_start, nb_man.nb.cells
        cls.numbers = [len(code_cells({"cells": cells[: place + 1]})) for place in range(len(cells))]

        def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
            if cell.cell_type == "code":
                begin(cls.numbers[cell_index or 0])
            start(cell, cell_index, **more)

        nb_man.cell_start = cell_start
        return super().execute_managed_notebook(nb_man, kernel_name, **rest)


class Manager(AsyncKernelManager):
    """Jupyter's own manager, with a process of ours."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.provisioner = Kernel(kernel_id="", kernel_spec=self.kernel_spec, parent=self)


class Kernel(LocalProvisioner):
    """A kernel's process, a fork where there is a fork server; remembers how it ended."""

    newest: ClassVar[Kernel]  # a worker has one
    process: Any = None
    exit_status: int | None = None
    out_of_memory = False
    _kills = 0

    async def launch_kernel(self, cmd: list[str], **settings: Any) -> Any:
        """Starts the process; returns how it is reached."""
        Kernel.newest = self
        self._kills = oom_kills()
        address = os.environ.get(KERNELS)
        if not address or cmd[0] != sys.executable or "-m" not in cmd:
            return await super().launch_kernel(cmd, **settings)
        module, *words = cmd[cmd.index("-m") + 1 :]
        parent = str(os.getpid())
        words.append(f"--IPKernelApp.parent_handle={parent}")  # ipykernel has read the environment before the fork
        environment = {**settings["env"], "JPY_PARENT_PID": parent}
        del environment[KERNELS]  # not a notebook's business
        self.process = Fork(address, module, words, environment, settings.get("cwd") or str(Path.cwd()))
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def poll(self) -> int | None:
        """The exit status; None while the process runs. It is asked every second."""
        status = await super().poll()
        if status is None:
            self._kills = oom_kills()
        elif self.exit_status is None:
            self.exit_status = status
            self.out_of_memory = status == -signal.SIGKILL and oom_kills() > self._kills
        return status


def oom_kills() -> int:
    """How many processes this machine's out-of-memory killer has killed so far; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _death(cell: int) -> str:
    """What is to be said of a kernel that ended while it had work to do."""
    kernel = Kernel.newest
    if kernel.out_of_memory:
        return f"the kernel was killed for want of memory (out-of-memory killer) in cell {cell}; it is not tried again"
    status = kernel.exit_status or 0
    if status == -signal.SIGKILL:
        return f"{DIED} in cell {cell}: killed by signal 9 (SIGKILL; the out-of-memory killer does that)"
    if status == -signal.SIGBUS:
        folder = tempfile.gettempdir()
        free = f"{folder} has {shutil.disk_usage(folder).free / 1e6:.1f} MB free now"
        return f"{DIED} in cell {cell}: killed by signal 7 (SIGBUS; {FULL_DISK} under a mapped file does that: {free})"
    if status < 0:
        return f"{DIED} in cell {cell}: killed by signal {-status} ({signal.Signals(-status).name})"
    return f"{DIED} in cell {cell}: it left with exit status {status}"
