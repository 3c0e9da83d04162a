"""Processes of a fork server (benchbook.forkserver): `python -m MODULE WORD…` without its start and common imports.

`python -IS forks.py ADDRESS MODULE WORD…` runs one, as small a program as Python allows, and has its exit status.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

KERNELS = "BENCHBOOK_KERNELS"  # the environment variable with the address of the fork server of kernels


class Fork:
    """A process of a fork server, with what jupyter_client uses of subprocess.Popen."""

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
        answer = self._answers.readline()
        if not answer:
            raise ConnectionResetError(f"the fork server {address} has ended")
        self.pid = int(answer)
        self.returncode: int | None = None

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
    """Runs a fork server of workers or of kernels; yields its address. Its forks end with it."""
    import secrets
    import subprocess
    from pathlib import Path

    address = f"benchbook-{kind}-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")  # no file: it is gone with the server
        listener.listen(1000)
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forkserver.py"), kind],
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


def main(words: list[str]) -> int:
    """Runs one module in a fork; returns its exit status, or the number of the signal that has ended it."""
    status = Fork(words[0], words[1], words[2:], os.environ, os.getcwd()).wait()  # noqa: PTH109
    if status < 0:
        print(f"killed by signal {-status} ({signal.Signals(-status).name})", file=sys.stderr)
    return abs(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
