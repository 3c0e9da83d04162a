"""A fork server: `python -m MODULE` without Python's start, and without the imports that are always the same.

    python forks.py serve KIND                     forks for each connection to its standard input, a listening socket
    python -IS forks.py run ADDRESS MODULE WORD…   as `python -m MODULE WORD…`, in a fork of the server at that address

Started as a script: benchbook's own modules, which fingerprints follow, are read anew in every fork, as the notebook's
are. A fork is killed with all its processes when its client is gone, and ends with its server, which ends with the
builder; so nothing is left behind, however anything ends. Linux only: sockets in the abstract name space.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
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
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

KERNELS = "BENCHBOOK_KERNELS"  # the environment variable with the address of the fork server of kernels
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


class Fork:
    """A process of a fork server: `python -m module *words`, with what jupyter_client uses of subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(
        self, address: str, module: str, words: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(f"\0{address}")
        socket.send_fds(self._connection, [b"f"], [0, 1, 2])
        request = {"module": module, "words": list(words), "environment": dict(environment), "folder": folder}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._connection.makefile()
        self.returncode: int | None = None
        answer = self._answers.readline()
        if not answer:
            raise ConnectionResetError(f"the fork server {address} has ended")
        self.pid = int(answer)

    def wait(self) -> int:
        """The exit status, negative for a signal; that of a kill where the server itself has ended."""
        if self.returncode is None:
            self.returncode = int(self._answers.readline() or -signal.SIGKILL)
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit status; None while the process runs."""
        ended = self.returncode is not None or select.select([self._connection], [], [], 0)[0]
        return self.wait() if ended else None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def server(kind: str, environment: Mapping[str, str], log: IO[Any]) -> Iterator[str]:
    """Runs a fork server; yields its address. Its forks end with it."""
    import secrets
    import subprocess

    address = f"benchbook-{kind}-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")
        listener.listen(1000)
        process = subprocess.Popen(
            [sys.executable, __file__, "serve", kind],
            stdin=listener.fileno(),
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        yield address
    finally:
        process.terminate()
        process.wait()


def die_with_parent(number: int) -> None:
    """Lets this process get the signal when its parent ends, however that ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


def serve(listener: socket.socket) -> socket.socket:
    """Forks for every connection and reports how each fork ends; returns in the fork, with that connection."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # their numbers arrive in the pipe
    signal.set_wakeup_fd(waker)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(wake, select.POLLIN)
    running: dict[int, socket.socket] = {}
    while True:
        for file, _ in poll.poll():
            if file == wake:
                if signal.SIGTERM in os.read(wake, 4096):
                    for pid in running:
                        _kill_group(pid)
                    os._exit(0)
                for pid, status in _ended():
                    connection = running.pop(pid)
                    with contextlib.suppress(KeyError):
                        poll.unregister(connection)
                    _kill_group(pid)  # what the process itself has left behind
                    _answer(connection, status)
                    connection.close()
            elif file == listener.fileno():
                connection, _ = listener.accept()
                if not _is_own(connection):
                    connection.close()
                    continue
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    for end in (wake, waker):
                        os.close(end)
                    return connection
                running[pid] = connection
                poll.register(connection, select.POLLRDHUP)
                _answer(connection, pid)
            else:  # its client is gone
                poll.unregister(file)
                _kill_group(next(pid for pid, connection in running.items() if connection.fileno() == file))


def become(connection: socket.socket) -> None:
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


leave = Leave()


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


def main(words: list[str]) -> int:
    """Serves, or runs one command in a fork; returns the exit status."""
    if words[0] == "serve":
        builder = os.getppid()
        die_with_parent(signal.SIGTERM)
        if os.getppid() != builder:
            return 1
        atexit.register(leave)
        preload(words[1])
        gc.freeze()  # forks share the memory of what no collection touches
        listener = socket.socket(fileno=0)
        connection = serve(listener)
        listener.detach()  # the fork's own standard input comes to its place
        become(connection)
        return 0
    status = Fork(words[1], words[2], words[3:], os.environ, os.getcwd()).wait()  # noqa: PTH109
    if status < 0:
        print(f"killed by signal {-status} ({signal.Signals(-status).name})", file=sys.stderr)
    return abs(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
