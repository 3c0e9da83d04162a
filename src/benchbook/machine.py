"""What this machine is, and how fast: two seconds of matrix products, by which times of another one can be scaled."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchbook.errors import BookError

SIZE = 768  # three matrices of 2.4 MB: larger than the innermost cache, as a network's are
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PROGRAM = f"""
import sys, time, numpy
matrix = numpy.random.default_rng(0).random(({SIZE}, {SIZE}), dtype=numpy.float32)
began, least = time.perf_counter(), float("inf")
while (now := time.perf_counter()) - began < float(sys.argv[1]):
    matrix @ matrix
    least = min(least, time.perf_counter() - now)
print(2 * {SIZE} ** 3 / least)
"""


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def description() -> str:
    """The machine in a few words."""
    return f"{processor()}, {cores()} core{'s' * (cores() != 1)}"


def matrix_rate(seconds: float = 2.0) -> float:
    """The best rate of float32 matrix products on one thread, in floating-point operations a second.

    The best, because what else the machine does at the time is no property of it. Raises BookError where numpy fails.
    """
    # A process of its own: a library reads how many threads it may have when it is loaded.
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    command = [sys.executable, "-c", PROGRAM, str(seconds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BookError(f"this machine's speed cannot be measured: {(done.stderr.splitlines() or ['no output'])[-1]}")
    return float(done.stdout)
