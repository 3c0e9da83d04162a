"""Several trainings at once give what each gives alone."""

from __future__ import annotations

import multiprocessing
import os
import time
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from convnets import parallel
from convnets.models import UNet
from convnets.parallel import Task, fit_all

BUILD = partial(UNet, num_filters=4, num_colours=5)


def noted(folder, **settings):
    """A network, and a file by the name of the process that has built it."""
    (folder / str(os.getpid())).touch()
    return BUILD(**settings)


def pictures(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.rand(number, 1, 8, 8, generator=generator), torch.randint(5, (number, 8, 8), generator=generator)


def train(tasks: list[Task], **settings):
    inputs, labels = pictures(12)
    return fit_all(tasks, inputs, labels, F.cross_entropy, validation=pictures(6), epochs=2, batch_size=5, **settings)


def test_side_by_side_and_in_turn_are_the_same_bit_for_bit():
    """The number of workers decides nothing but the time; seeds and settings reach their own task, in order."""
    tasks = [Task(BUILD, seed) for seed in (0, 1)] + [Task(BUILD, 0, {"learning_rate": 0.1})]
    seen = []
    together = train(tasks, workers=2, on_epoch=lambda done, total, **losses: seen.append((done, total)))
    for (model, history), (other, expected) in zip(together, train(tasks, workers=1), strict=True):
        assert history.training_loss == expected.training_loss
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[key]), key
    assert seen == [(done, 6) for done in range(1, 7)]
    losses = [history.training_loss[-1] for _, history in together]
    assert len(set(losses)) == 3


@pytest.mark.parametrize(("idle", "processes"), [(2.0, 2), (0.0, 1)])
def test_trainings_take_cores_that_are_idle(tmp_path, monkeypatch, idle, processes):
    """One core is the run's own; another process trains too where a core stays idle; the results are the same."""
    clock = iter(range(10**6))
    monkeypatch.setenv("SPARE_CORES", "use")
    monkeypatch.setattr(parallel, "WORTH", 0.0)
    monkeypatch.setattr(parallel, "LOOK", 0.0)
    monkeypatch.setattr(parallel, "_cores", lambda: 2)
    monkeypatch.setattr(parallel, "_idle_seconds", lambda: idle * next(clock))
    tasks = [Task(partial(noted, tmp_path), seed) for seed in range(6)]
    found = train(tasks, workers=1)
    own = {str(os.getpid())}
    assert len({path.name for path in tmp_path.iterdir()} - own) == processes
    monkeypatch.delenv("SPARE_CORES")
    for (_, history), (_, expected) in zip(found, train(tasks, workers=1), strict=True):
        assert history.training_loss == expected.training_loss


def test_a_short_series_starts_no_process(tmp_path, monkeypatch):
    """A second process takes longer to start than six small trainings take."""
    monkeypatch.setenv("SPARE_CORES", "use")
    monkeypatch.setattr(parallel, "_cores", lambda: 2)
    train([Task(partial(noted, tmp_path), seed) for seed in range(6)], workers=1)
    assert {path.name for path in tmp_path.iterdir()} == {str(os.getpid())}


def test_a_core_counts_as_idle_only_while_it_is():
    """The kernel's own count of idle seconds: a core that computes is not counted, and never one of another process."""
    before = parallel._idle_seconds()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    assert 0 <= parallel._idle_seconds() - before <= 0.6 * (parallel._cores() - 1) + 0.1


def test_what_one_training_raises_ends_all():
    """A training that diverges says so in the calling process, and the other one does not go on by itself."""
    endless = {"epochs": 10**9}
    with pytest.raises(FloatingPointError, match="lower it"):
        train([Task(BUILD, 0, endless), Task(BUILD, 1, {"learning_rate": 1e30})], workers=2)
    for process in multiprocessing.active_children():
        process.join(60)
        assert process.exitcode is not None


def test_a_task_that_cannot_travel_is_refused():
    """A function of a notebook's own cannot be sent to another process, and the message says what can."""
    with pytest.raises(ValueError, match="partial"):
        train([Task(lambda: BUILD()), Task(BUILD)], workers=2)
