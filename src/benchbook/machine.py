"""What this machine is, and how fast: two seconds of work, by which times of another one can be scaled."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchbook.errors import BookError

SIZE = 768  # three matrices of 2.4 MB: larger than the innermost cache, as a network's are
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PRODUCTS = f"""
import sys, time, numpy
matrix = numpy.random.default_rng(0).random(({SIZE}, {SIZE}), dtype=numpy.float32)
began, least = time.perf_counter(), float("inf")
while (now := time.perf_counter()) - began < float(sys.argv[1]):
    matrix @ matrix
    least = min(least, time.perf_counter() - now)
print(2 * {SIZE} ** 3 / least)
"""
# Whole steps: instructions for 16 bits make products far faster, and trainings less so, as half of their time goes into
# layers that hardly multiply.
STEPS = """
import sys, time, torch
from torch import nn
layers = nn.Sequential(nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
layers.to(memory_format=torch.channels_last)
batch = torch.rand(64, 32, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
least = float("inf")
for precision in (torch.float32, torch.bfloat16):
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < float(sys.argv[1]) / 2:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            layers(batch).sum().backward()
        least = min(least, time.perf_counter() - now)
print(1 / least)
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
    return _rate(PRODUCTS, seconds)


def training_rate(seconds: float = 2.0) -> float | None:
    """The best rate of a small convolution's training steps on one thread, a second, in the faster of two precisions.

    These are float32 and bfloat16. None where torch is not installed.
    """
    return _rate(STEPS, seconds) if importlib.util.find_spec("torch") else None


def _rate(program: str, seconds: float) -> float:
    # A process of its own: a library reads how many threads it may have when it is loaded.
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    command = [sys.executable, "-c", program, str(seconds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BookError(f"this machine's speed cannot be measured: {(done.stderr.splitlines() or ['no output'])[-1]}")
    return float(done.stdout)
