"""Several trainings at once: one-thread processes on a processor's cores, one after another on a graphics card."""

from __future__ import annotations

import os
import pickle
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import Tensor, nn

from convnets import kept
from convnets.training import History, Loss, choose_device, fit, seed_everything

Progress = Callable[..., None]
POLL = 0.2  # seconds between looks at what the processes say
SPARE = "SPARE_CORES"  # environment: "use" lets trainings take cores on which nothing else runs
LOOK = 3.0  # seconds over which a core must have been idle
WORTH = 60.0  # seconds of training for which a process is started where only an idle core may be there for it
LEAST_MEMORY = 4 * 2**20  # KiB that must be free for one more process
_data: dict[str, Any] = {}  # a worker process's share: the tensors, the loss, the queue


@dataclass(frozen=True)
class Task:
    """One training: how its network is made, with which seed, and what `fit` is told beyond what all tasks share."""

    build: Callable[[], nn.Module]
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


Keyed = tuple[Task, str | None]  # a training, and the name under which it is kept


def fit_all(
    tasks: Sequence[Task],
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    *,
    validation: tuple[Tensor, Tensor],
    workers: int | None = None,
    on_epoch: Progress | None = None,
    **shared: Any,
) -> list[tuple[nn.Module, History]]:
    """Train a network for each task; returns the networks, on the CPU in eval mode, and their histories, in order.

    `shared` and a task's own settings go to `fit`. On a CPU each training has one thread, so that its result does not
    depend on how many run at once, and `workers` of them run side by side (default: PyTorch's number of threads); where
    SPARE_CORES is "use", as the engine sets it, one more for each core that is idle meanwhile (on Linux).
    `on_epoch(done, all, training_loss=..., validation_loss=...)` counts the epochs of all tasks. Where TRAININGS is set
    (see `kept`), what is kept is not trained, what is trained is kept, and what was broken off goes on; for an epoch
    that was kept `on_epoch` gets the seconds that it took as `kept=...`. Raises ValueError where a task cannot be sent
    to another process, and what `fit` raises.
    """
    device = shared.get("device") or choose_device()
    workers = 1 if device.type != "cpu" else workers or torch.get_num_threads()
    total = sum({**shared, **task.settings}.get("epochs", 25) for task in tasks)
    done = 0

    def count(**facts: float) -> None:
        nonlocal done
        done += 1
        if on_epoch:
            on_epoch(done, total, **facts)

    data = {"inputs": inputs, "targets": targets, "loss": loss, "validation": validation, **shared}
    keys = kept.keys([(task, data) for task in tasks], device)
    found = [kept.find(key) for key in keys]
    for history in filter(None, found):
        _count_kept(history, count)
    left = [(task, key) for task, key, history in zip(tasks, keys, found, strict=True) if history is None]
    most = _cores() if os.environ.get(SPARE) == "use" and device.type == "cpu" else workers
    trained = iter(_train_all(left, data, workers, most, count))
    histories = [history or next(trained) for history in found]
    models = [task.build() for task in tasks]
    for model, history in zip(models, histories, strict=True):
        model.load_state_dict(history.last_state)
        model.eval()
    return list(zip(models, histories, strict=True))


def _count_kept(history: History, count: Progress) -> None:
    for error, validated, seconds in zip(history.training_loss, history.validation_loss, history.seconds, strict=True):
        count(training_loss=error, validation_loss=validated, kept=seconds)


def _train_all(tasks: Sequence[Keyed], data: dict[str, Any], workers: int, most: int, count: Progress) -> list[History]:
    """In this process where one core is there for it and it would not be worth the others' start, else in several."""
    start, first = time.monotonic(), 1 if workers == 1 and most > 1 else 0
    done = _in_turn(tasks[:first], data, count)
    left = tasks[first:]
    expected = (time.monotonic() - start) * len(left) if first else 0.0
    if len(left) > 1 and (workers > 1 or expected > WORTH):
        return done + _together(left, data, min(workers, len(left)), min(most, len(left)), count)
    return done + _in_turn(left, data, count)


def _in_turn(tasks: Sequence[Keyed], data: dict[str, Any], count: Progress) -> list[History]:
    with _one_thread():
        return [_train(task, key, data, count) for task, key in tasks]


def _together(tasks: Sequence[Keyed], data: dict[str, Any], workers: int, most: int, count: Progress) -> list[History]:
    """`workers` trainings at once, and up to `most` while cores are idle."""
    try:
        pickle.dumps([tasks, data["loss"]])
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            f"a task cannot go to another process ({error}): use functions of modules, or partial"
        ) from None
    # 'spawn', because a fork of a process that has computed with several threads may hang
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()

    def tell() -> None:
        while not queue.empty():
            count(**queue.get())

    spare = _spare_cores()
    with ProcessPoolExecutor(max(workers, most), context, _start_worker, (data, queue)) as pool:
        futures: list[Future[bytes]] = []
        try:
            running: set[Future[bytes]] = set()
            while running or len(futures) < len(tasks):
                room = workers if len(running) < workers else min(most, len(running) + next(spare))
                for task in tasks[len(futures) : len(futures) + room - len(running)]:
                    futures.append(pool.submit(_work, *task))
                    running.add(futures[-1])
                ended, running = wait(running, POLL, FIRST_COMPLETED)
                tell()
                for future in ended:
                    future.result()  # an error ends the others too
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()  # else a training under way would go on to its end, and Python wait for it
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    tell()  # what was still on its way when the last result came
    return [kept.load(future.result()) for future in futures]


def _spare_cores() -> Iterator[int]:
    """Whenever it is asked: 1 where a core was idle for the last seconds, once for those seconds, and otherwise 0."""
    while True:
        since, before = time.monotonic(), _idle_seconds()
        while time.monotonic() - since < LOOK:
            yield 0
        yield int(_idle_seconds() - before > 0.8 * (time.monotonic() - since) and _free_memory() > LEAST_MEMORY)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _idle_seconds() -> float:
    """For how long these cores have been idle, all together, since the machine started; 0 where nobody says so."""
    with suppress(OSError):
        lines = re.findall(r"^cpu(\d+) \d+ \d+ \d+ (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
        mine = os.sched_getaffinity(0)
        return sum(int(ticks) for core, ticks in lines if int(core) in mine) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _free_memory() -> int:
    """Memory that a new process may have, in KiB."""
    with suppress(OSError):
        found = re.search(r"^MemAvailable: +(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _start_worker(data: dict[str, Any], queue: Any) -> None:
    torch.set_num_threads(1)
    _data.update(data, queue=queue)


def _work(task: Task, key: str | None) -> bytes:
    data = dict(_data)
    queue = data.pop("queue")
    # As bytes, because tensors would travel by file descriptors, of which there are few.
    return kept.dump(_train(task, key, data, lambda **losses: queue.put(losses)))


def _train(task: Task, key: str | None, data: dict[str, Any], count: Progress) -> History:
    seed_everything(task.seed)
    settings = {**data, **task.settings}
    inputs, targets, loss = (settings.pop(name) for name in ("inputs", "targets", "loss"))

    def report(epoch: int, epochs: int, **losses: float) -> None:
        count(**losses)

    if interim := kept.find_interim(key):
        _count_kept(interim.history, count)
    settings |= {"interim": interim, "on_interim": partial(kept.keep_interim, key) if key else None}
    history = fit(task.build(), inputs, targets, loss, seed=task.seed, on_epoch=report, **settings)
    kept.keep(key, history)
    return history


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
