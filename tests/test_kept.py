"""A training that is kept is the one that would be made, and anything that decides it makes it anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from convnets import augmentations, classifiers, kept, optimisers, parallel, training
from convnets.classifiers import smoothed_cross_entropy
from convnets.models import UNet
from convnets.parallel import Task, fit_all
from convnets.training import History

BUILD = partial(UNet, num_filters=4, num_colours=5)
LOADED = "import sys, convnets.parallel, convnets.models; print(*(n for n in sys.modules if n.startswith('convnets.')))"


def pictures(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.rand(number, 1, 8, 8, generator=generator), torch.randint(5, (number, 8, 8), generator=generator)


def train(*tasks: Task, inputs: torch.Tensor | None = None, loss=F.cross_entropy, **settings):
    images, labels = pictures(12)
    settings = {"validation": pictures(6), "epochs": 2, "batch_size": 5, "workers": 1} | settings
    return fit_all(tasks, images if inputs is None else inputs, labels, loss, **settings)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(kept.FOLDER, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """The seeds of the trainings that are really made, in this process."""
    seeds: list[int] = []

    def fit(*arguments, seed, **settings):
        seeds.append(seed)
        return original(*arguments, seed=seed, **settings)

    original = parallel.fit
    monkeypatch.setattr(parallel, "fit", fit)
    return seeds


def weights(history: History) -> list[dict[str, torch.Tensor]]:
    own = [history.last_state, *history.snapshots.values()]
    return own + (weights(history.unaveraged) if history.unaveraged else [])


def test_a_kept_training_is_the_same_bit_for_bit(folder, trained):
    """Only what is new is trained; networks, histories and the count of epochs are as if all were."""
    train(Task(BUILD, 1))
    counted: list[tuple[int, int]] = []
    spent: list[float] = []

    def hear(done: int, total: int, kept: float | None = None, **losses: float) -> None:
        counted.append((done, total))
        spent.extend([] if kept is None else [kept])

    averaged = {"epochs": 3, "averaging": 0.5, "unaveraged": True, "snapshots": (1, 2)}
    tasks = [Task(BUILD, 0), Task(BUILD, 1), Task(BUILD, 2, averaged)]
    found = train(*tasks, on_epoch=hear)
    again = train(*tasks)
    assert trained == [1, 0, 2]
    assert counted == [(done, 7) for done in range(1, 8)]
    assert spent == found[1][1].seconds  # what the one that was there already cost
    for (model, history), (other, expected) in zip(again, found, strict=True):
        assert repr(history) == repr(expected)
        for state, truth in zip(weights(history), weights(expected), strict=True):
            assert state.keys() == truth.keys()
            assert all(torch.equal(tensor, truth[key]) for key, tensor in state.items())
        assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_what_worker_processes_train_is_kept(folder, trained):
    """And comes back from them with all its weights."""
    settings = {"averaging": 0.5, "unaveraged": True, "snapshots": (1,)}
    found = train(Task(BUILD, 0, settings), Task(BUILD, 1), workers=2)
    again = train(Task(BUILD, 1), Task(BUILD, 0, settings))
    assert not trained
    assert [len(weights(history)) for _, history in found] == [4, 1]
    for state, truth in zip(weights(again[1][1]), weights(found[0][1]), strict=True):
        assert all(torch.equal(tensor, truth[key]) for key, tensor in state.items())


def one_pixel_more() -> torch.Tensor:
    images, _ = pictures(12)
    images[3, 0, 5, 5] = images[3, 0, 5, 5].nextafter(torch.tensor(1.0))
    return images


WHITENING = torch.eye(12).view(12, 3, 2, 2), torch.zeros(12)
DECAYING = partial(optimisers.adam, weight_decay=0.1)
AUGMENT = partial(augmentations.per_batch, padding=2, brightness=0.1)
JUDGED = {"averaging": 0.5, "unaveraged": True, "snapshots": (1, 3), "renew": 6}


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (partial(classifiers.TwoBlockCNN, 4, dropout=0.4, batch_norm=True), JUDGED),
        (partial(classifiers.TwoBlockCNN, 4), {"optimiser": DECAYING, "schedule": "one_cycle", "augment": AUGMENT}),
        (partial(classifiers.FastCNN, WHITENING, [4, 6, 8]), {"optimiser": optimisers.muon, "schedule": "cosine"}),
    ],
    ids=["dropout, judged in every way", "decay and augmentation", "muon"],
)
def test_a_training_that_is_broken_off_goes_on_bit_for_bit(folder, monkeypatch, build, settings):
    """Twice broken off, it takes the steps that are left, and the result is that of one without a break."""
    monkeypatch.setattr(training, "INTERVAL", 0.0)
    images = torch.randint(256, (12, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 10

    def whole(on_epoch=None) -> History:
        shared = {"validation": (images[:6], labels[:6]), "epochs": 5, "batch_size": 5, "workers": 1}
        ((_, history),) = fit_all(
            [Task(build, 3, settings)], images, labels, F.cross_entropy, **shared, on_epoch=on_epoch
        )
        return history

    heard: list[tuple[int, bool]] = []

    def hear(done: int, total: int, kept: float | None = None, **losses: float) -> None:
        heard.append((done, kept is not None))
        if heard in broken:
            raise KeyboardInterrupt

    own = [(1, False), (2, False), (3, False)]
    broken = [own, [(1, True), (2, True), *own[2:], (4, False)]]
    for _ in broken:
        heard.clear()
        with pytest.raises(KeyboardInterrupt):
            whole(hear)
        (left,) = folder.iterdir()
    heard.clear()
    history = whole(hear)
    assert heard == [(1, True), (2, True), (3, True), (4, False), (5, False)]
    assert [path.name for path in folder.iterdir()] == [left.name.removesuffix(".interim")]
    monkeypatch.delenv(kept.FOLDER)
    assert_same(history, whole())


def assert_same(history: History, expected: History) -> None:
    for part in ("training_loss", "validation_loss", "validation_accuracy", "learning_rate"):
        assert getattr(history, part) == getattr(expected, part)
    assert len(history.seconds) == len(expected.seconds)
    for state, truth in zip(weights(history), weights(expected), strict=True):
        assert all(torch.equal(state[name], tensor) for name, tensor in truth.items())
    if expected.unaveraged:
        assert_same(history.unaveraged, expected.unaveraged)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (Task(BUILD, 1), {}),
        (Task(partial(UNet, num_filters=4, num_colours=5, kernel_size=5)), {}),
        (Task(BUILD, 0, {"learning_rate": 0.002}), {}),
        (Task(BUILD, 0, {"inputs": one_pixel_more()}), {}),
        (Task(BUILD), {"inputs": one_pixel_more()}),
        (Task(BUILD), {"validation": pictures(7)}),
        (Task(BUILD), {"loss": smoothed_cross_entropy}),
        (Task(BUILD), {"augment": augmentations.mirror}),
        (Task(BUILD), {"precision": torch.float16}),
    ],
    ids=["seed", "network", "setting", "pixel of its own", "pixel", "validation", "loss", "augmentation", "precision"],
)
def test_whatever_decides_a_training_makes_it_anew(folder, trained, task, settings):
    train(Task(BUILD))
    before = len(trained)
    train(task, **settings)
    assert len(trained) == before + 1


def test_exactly_the_modules_that_are_imported_decide(folder, monkeypatch):
    """Held against what a fresh interpreter has loaded once the network's module and `parallel` are imported."""
    process = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = set(process.stdout.split())
    true = dict(kept._sources())
    device = torch.device("cpu")

    def key() -> str | None:
        kept._imports.cache_clear()
        return kept.keys([Task(BUILD)], device)[0]

    before = key()
    assert before
    for name, (path, source) in true.items():
        edited = {**true, name: (path, source + b"\n# edited\n")}
        monkeypatch.setattr(kept, "_sources", lambda edited=edited: edited)
        assert (key() != before) == (name in loaded), name
    kept._imports.cache_clear()


def test_a_training_during_which_the_source_changed_is_not_kept(folder, trained, monkeypatch, tmp_path):
    """What ran may be neither the old source nor the new one."""
    sources = {**kept._sources(), "convnets.edited": (tmp_path / "edited.py", b"as it was at the start")}
    (tmp_path / "edited.py").write_text("as it is at the end")
    monkeypatch.setattr(kept, "_sources", lambda: sources)
    train(Task(BUILD))
    train(Task(BUILD))
    assert trained == [0, 0]


def flipped(content: bytes) -> bytes:
    return content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:-1], lambda content: b""])
def test_a_damaged_file_is_not_used(folder, trained, damage):
    ((_, truth),) = train(Task(BUILD))
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    ((_, history),) = train(Task(BUILD))
    assert trained == [0, 0]
    assert history.training_loss == truth.training_loss
    train(Task(BUILD))
    assert trained == [0, 0]  # and what was damaged is whole again


def test_code_from_elsewhere_is_not_kept(folder, trained):
    """Its source could change without being seen; nor is anything that cannot be named."""

    def loss(outputs, targets):
        return F.cross_entropy(outputs, targets)

    train(Task(elsewhere))
    train(Task(BUILD), loss=loss)
    assert len(trained) == 2
    assert not folder.exists()


def elsewhere() -> UNet:
    return UNet(num_filters=4, num_colours=5)


def test_nothing_is_kept_unless_a_folder_is_named(monkeypatch, tmp_path, trained):
    monkeypatch.delenv(kept.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    train(Task(BUILD))
    train(Task(BUILD))
    assert trained == [0, 0]
    assert not list(tmp_path.iterdir())


def test_what_was_not_asked_for_longest_makes_room(folder, trained, monkeypatch):
    train(*(Task(BUILD, seed) for seed in (0, 1, 2)))
    sizes = [path.stat().st_size for path in folder.iterdir()]
    monkeypatch.setattr(kept, "LIMIT", sum(sizes) - min(sizes) / 2)  # room for any two of them
    shutil.rmtree(folder)
    trained.clear()
    train(Task(BUILD, 0), Task(BUILD, 1))
    for path in folder.iterdir():
        os.utime(path, (1, 1))  # long ago: a file system's clock may tick once in 10 ms only
    train(Task(BUILD, 0))
    train(Task(BUILD, 2))
    assert trained == [0, 1, 2]
    train(Task(BUILD, 0))
    assert trained == [0, 1, 2]
    train(Task(BUILD, 1))
    assert trained == [0, 1, 2, 1]


def test_what_cannot_be_kept_in_the_end_leaves_where_it_stood(folder, monkeypatch):
    """So that the next attempt has only the last epochs to make."""
    key, history = "a" * 64, History([0.5], [0.4])
    kept.keep_interim(key, training.Interim(history, {}, []))

    def full(*_):
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(kept, "_make_room", full)
        kept.keep(key, history)
    assert kept.find(key) is None
    assert kept.find_interim(key).history == history
    kept.keep(key, history)
    assert kept.find(key) == history
    assert kept.find_interim(key) is None


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(folder, trained):
    folder.write_text("a file lies where the folder should be")
    train(Task(BUILD))
    train(Task(BUILD))
    assert trained == [0, 0]
