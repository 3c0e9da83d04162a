"""`python forkserver.py KIND`: forks for each connection to its standard input, which is a listening socket.

A fork becomes what `python -m MODULE WORD…` would be, without Python's start and the imports that are always the same;
benchbook.forks has the client. Started as a script: benchbook's own modules, which fingerprints follow, are read anew
in every fork, as the notebook's are. A fork is killed with all its processes when its client is gone, and ends with its
server, which ends with the builder; so nothing is left behind, however anything ends. Linux only.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder, which has a `site` of its own

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Iterator

# What every kernel has imported before its first cell, and nothing else: forks must be kernels like any other.
KERNEL = (
    *("ipykernel.kernelapp", "ipykernel.zmqshell", "ipykernel.debugger", "IPython.extensions.storemagic"),
    *("tornado.platform.asyncio", "psutil"),
)
WORKER = ("papermill.execute", "IPython", "psutil", "yaml")


def preload(kind: str) -> None:
    """Imports what all kernels, or all workers, import; compiles the schemas that workers check notebooks against."""
    for name in {"kernel": KERNEL, "worker": WORKER}[kind]:
        with contextlib.suppress(ImportError):  # a module less is a little time more
            importlib.import_module(name)
    if kind == "worker":
        import nbformat.validator
        from jupyter_client.provisioning.factory import KernelProvisionerFactory

        KernelProvisionerFactory.instance()
        for minor in range(nbformat.current_nbformat_minor + 1):
            nbformat.validator.get_validator(nbformat.current_nbformat, minor)
    gc.freeze()  # forks share the memory of what no collection touches


class Server:
    """Forks for every connection, and tells each client its fork's number and, in the end, its exit status."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.running: dict[int, socket.socket] = {}
        self.wake, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # their numbers arrive in the pipe
        signal.set_wakeup_fd(self.waker)
        self.poll = select.poll()
        self.poll.register(listener, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)

    def serve(self) -> socket.socket:
        """Serves until it is told to end; returns in a fork only, with its connection."""
        while True:
            file, _ = self.poll.poll()[0]  # one at a time: what is done about one may be the end of another
            if file == self.wake:
                self._hear()
            elif file == self.listener.fileno():
                connection, _ = self.listener.accept()
                if _is_own(connection) and self._fork(connection):
                    return connection
            else:  # its client is gone
                self.poll.unregister(file)
                os.kill(next(pid for pid, client in self.running.items() if client.fileno() == file), signal.SIGKILL)

    def _fork(self, connection: socket.socket) -> bool:
        """Whether this is the fork."""
        pid = os.fork()
        if pid:
            self.running[pid] = connection
            self.poll.register(connection, select.POLLRDHUP)
            _answer(connection, pid)
            return False
        signal.set_wakeup_fd(-1)
        for end in (self.wake, self.waker):
            os.close(end)
        self.running.clear()
        self.listener.detach()  # the fork's own standard input comes to its place
        return True

    def _hear(self) -> None:
        if signal.SIGTERM in os.read(self.wake, 4096):
            for pid in self.running:
                os.kill(pid, signal.SIGKILL)
                _kill_group(pid)
            os._exit(0)
        for pid, status in _ended():
            connection = self.running.pop(pid)
            with contextlib.suppress(KeyError):
                self.poll.unregister(connection)
            _kill_group(pid)  # what the fork itself has left behind
            _answer(connection, status)
            connection.close()


class Leave:
    """Registered before anything else, this is the last thing that Python does at its exit: the process just ends.

    Taking torch apart would cost half a second, a quarter of a kernel that imports it.
    """

    status = 1

    def __call__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(self.status)


def become(connection: socket.socket, leave: Leave) -> None:
    """Turns a fork into `python -m MODULE WORD…`, with the client's files, environment and working folder."""
    import runpy

    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_parent(signal.SIGKILL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile().readline())
    connection.close()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["-m", *request["words"]]
    sys.path.insert(0, request["folder"])
    importlib.invalidate_caches()
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        leave.status = 0
    except SystemExit as end:
        leave.status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def die_with_parent(number: int) -> None:
    """Lets this process get the signal when its parent ends, however that ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


def _is_own(connection: socket.socket) -> bool:
    """Whether this user is at the other end: names in the abstract name space are open to everybody."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.getuid())


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _answer(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # nobody there to hear it
        connection.sendall(f"{number}\n".encode())


def main(kind: str) -> None:
    """Serves until the builder ends it, or ends; in a fork, does what the client wants done."""
    builder = os.getppid()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != builder:
        return
    leave = Leave()
    atexit.register(leave)
    preload(kind)
    become(Server(socket.socket(fileno=0)).serve(), leave)


if __name__ == "__main__":
    main(sys.argv[1])
