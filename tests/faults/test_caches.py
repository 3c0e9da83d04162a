"""Caches of the science, killed or without room: never believed where they are not whole, and made again."""

from __future__ import annotations

import random
import signal
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convnets import classifiers, data, kept, parallel, segmentation, training
from tests.faults import _moments
from tests.faults._moments import forked

pytestmark = pytest.mark.slow


@pytest.fixture
def content(monkeypatch):
    """A CIFAR-10 of 2,000 images, as the npz holds it."""
    rng = np.random.default_rng(0)
    shapes = ((1500, 32, 32, 3), (1500,), (500, 32, 32, 3), (500,))
    monkeypatch.setattr(data, "_SHAPES", shapes)
    made = [rng.integers(0, 256 if len(shape) == 4 else 10, shape, dtype=np.uint8) for shape in shapes]
    return dict(zip(("train_images", "train_labels", "test_images", "test_labels"), made, strict=True))


def load_right(root, content) -> bool:
    """Whether the data set that is loaded is the one that was put there."""
    found = data.load("cifar10", root)
    images, labels = content["train_images"], content["train_labels"]
    return np.array_equal(found.train_images, images) and np.array_equal(found.train_labels, labels)


def test_a_killed_decoder_leaves_the_old_copy_or_the_new(tmp_path, content, tries, fault):
    """The next load has the right pixels, and the one after it finds a whole copy."""
    np.savez(tmp_path / "cifar10.npz", **content)
    copy = tmp_path / ".decoded" / "cifar10.uint8"
    number = _moments.changes(lambda: data.load("cifar10", tmp_path) and 0, tmp_path)
    whole = copy.read_bytes()
    wrong = lost = died = 0
    for attempt in range(tries(many=32)):
        chance = random.Random(attempt)
        copy.unlink()
        at, pause = chance.randint(1, number), chance.choice([0, chance.uniform(1e-5, 1e-2)])
        died += _moments.killed(lambda: data.load("cifar10", tmp_path) and 0, tmp_path, at, pause)
        wrong += copy.exists() and copy.read_bytes() != whole
        lost += not load_right(tmp_path, content) or copy.read_bytes() != whole
    fault("Builder killed while it writes decoded data", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)


def test_decoded_data_on_a_full_disk_cost_time_and_nothing_else(tmp_path, content, monkeypatch, tries, fault):
    """The load succeeds without its copy and leaves nothing half made; with room again there is a copy."""
    wrong = lost = 0
    with _moments.disk(tmp_path / "disk") as small:
        monkeypatch.setenv("XDG_CACHE_HOME", str(small.folder / "cache"))
        np.savez(small.folder / "cifar10.npz", **content)
        for attempt in range(tries()):
            small.leave(random.Random(attempt).randint(2**14, 5 * 2**20))  # the copy has 6 MB
            wrong += not load_right(small.folder, content)
            left = [path.name for path in small.folder.rglob("*") if path.is_file()]
            small.leave(2**28)
            copy = small.folder / ".decoded" / "cifar10.uint8"
            lost += left != ["cifar10.npz"] or not load_right(small.folder, content) or not copy.is_file()
            copy.unlink()
    fault("Disk full while decoded data are written", tries=tries(), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


@pytest.fixture
def features(tmp_path, monkeypatch):
    """What computes features into a file below the test's own folder, and whether they are right."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "disk"))
    torch.manual_seed(0)
    trunk, images = nn.Conv2d(3, 64, 3), torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8)

    def compute(on_disk: int = 0) -> torch.Tensor:
        torch.set_num_threads(1)
        where = {"device": torch.device("cpu"), "precision": torch.float32}
        return segmentation.cache(trunk, images, 8, on_disk=on_disk, **where)

    return compute


def test_cached_features_of_a_killed_run_are_never_met_again(tmp_path, features, tries, fault):
    """They are computed anew, the same."""
    folder = tmp_path / "disk"
    folder.mkdir()
    expected = features(2**40)
    number = _moments.changes(lambda: features() is None, folder)
    wrong = lost = died = 0
    for attempt in range(tries(many=32)):
        chance = random.Random(attempt)
        died += _moments.killed(lambda: features() is None, folder, chance.randint(1, number), chance.uniform(0, 2e-2))
        wrong += any(path.is_file() and path.stat().st_blocks for path in folder.rglob("*"))  # half a cache for others
        lost += forked(lambda: not torch.equal(features(), expected))
    fault("Builder killed while it writes cached features", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)


def test_cached_features_on_a_full_disk_end_their_process(tmp_path, features, tries, fault):
    """The system ends it (SIGBUS), which the engine tells of a full disk; nothing stays, and with room it works."""
    wrong = lost = 0
    with _moments.disk(tmp_path / "disk") as small:
        for attempt in range(tries()):
            small.leave(random.Random(attempt).randint(2**14, 2**22))  # the features have 7 MB
            wrong += forked(lambda: features() is None) != -signal.SIGBUS
            left = list(small.folder.rglob("*"))
            small.leave(2**28)
            lost += bool(left) or forked(lambda: features() is None) != 0
    fault("Disk full while cached features are written", tries=tries(), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


KEY = "a" * 64
HISTORY = training.History([0.5], [0.4], last_state={"weight": torch.arange(300_000.0)})


def keep() -> bool:
    return kept.keep(KEY, HISTORY) is not None


def found_wrong() -> bool:
    """Whether a training is found that is not the one that was kept."""
    found = kept.find(KEY)
    return found is not None and not same(found)


def same(found: training.History | None) -> bool:
    return found is not None and repr(found) == repr(HISTORY) and torch.equal(found.last_state["weight"], WEIGHT)


WEIGHT = HISTORY.last_state["weight"]


def test_a_kept_training_is_whole_or_not_there(tmp_path, monkeypatch, tries, fault):
    """Whoever is killed while it is written: the next one keeps it anew."""
    monkeypatch.setenv(kept.FOLDER, str(tmp_path))
    number = _moments.changes(keep, tmp_path)
    wrong = lost = died = 0
    for attempt in range(tries(many=40)):
        chance = random.Random(attempt)
        (tmp_path / KEY).unlink()
        died += _moments.killed(keep, tmp_path, chance.randint(1, number), chance.choice([0, chance.uniform(0, 2e-3)]))
        wrong += found_wrong()
        lost += keep() or not same(kept.find(KEY))
    fault("Builder killed while it keeps a training", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)


def test_a_training_is_kept_only_where_there_is_room(tmp_path, monkeypatch, tries, fault):
    """Nothing half made stays, and with room it is kept."""
    wrong = lost = 0
    with _moments.disk(tmp_path / "disk") as small:
        monkeypatch.setenv(kept.FOLDER, str(small.folder / "kept"))
        for attempt in range(tries()):
            small.leave(random.Random(attempt).randint(2**12, 2**20))  # it has 1.2 MB
            keep()
            wrong += found_wrong()
            left = [path for path in (small.folder / "kept").glob("*") if path.is_file()]
            small.leave(2**28)
            lost += bool(left) or keep() or not same(kept.find(KEY))
            (small.folder / "kept" / KEY).unlink()
    fault("Disk full while a training is kept", tries=tries(), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


def test_a_damaged_training_is_not_believed(tmp_path, monkeypatch, tries, fault):
    """One bit flipped, a tail cut off, the file gone: it is made and kept again."""
    monkeypatch.setenv(kept.FOLDER, str(tmp_path))
    keep()
    whole = (tmp_path / KEY).read_bytes()
    wrong = lost = 0
    for attempt in range(tries()):
        chance = random.Random(attempt)
        at = chance.randrange(len(whole))
        damage = [whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :], whole[:at], None][
            attempt % 3
        ]
        (tmp_path / KEY).unlink() if damage is None else (tmp_path / KEY).write_bytes(damage)
        wrong += kept.find(KEY) is not None
        lost += keep() or not same(kept.find(KEY))
    fault("Kept training flipped, cut or missing", tries=tries(), wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


def train() -> training.History:
    """Five epochs with everything that a training must remember: drawn batches, dropout, moments, averages."""
    torch.set_num_threads(1)
    task = parallel.Task(partial(classifiers.TwoBlockCNN, 4, dropout=0.4, batch_norm=True), 1, {"averaging": 0.5})
    images = torch.arange(12 * 32 * 32 * 3).to(torch.uint8).view(12, 32, 32, 3)
    labels = torch.arange(12) % 10
    shared = {"validation": (images[:6], labels[:6]), "epochs": 5, "batch_size": 5, "workers": 1}
    ((_, history),) = parallel.fit_all([task], images, labels, F.cross_entropy, **shared)
    return history


def test_a_training_that_is_killed_goes_on_to_the_same_weights(tmp_path, monkeypatch, tries, fault):
    """From where it was last kept; and it is kept itself."""
    expected = train()
    monkeypatch.setenv(kept.FOLDER, str(tmp_path))
    monkeypatch.setattr(training, "INTERVAL", 0.0)

    def other() -> bool:
        found = train()
        equal = all(torch.equal(found.last_state[name], tensor) for name, tensor in expected.last_state.items())
        return not equal or found.training_loss != expected.training_loss

    number = _moments.changes(lambda: train() and 0, tmp_path)
    (whole,) = (path.name for path in tmp_path.iterdir())
    wrong = lost = died = 0
    for attempt in range(tries(many=40)):
        chance = random.Random(attempt)
        for path in tmp_path.iterdir():
            path.unlink()
        at, pause = chance.randint(1, number), chance.choice([0, chance.uniform(0, 2e-2)])
        died += _moments.killed(lambda: train() and 0, tmp_path, at, pause)
        wrong += forked(other)
        lost += kept.find(whole) is None
    fault("Training killed, and gone on with", tries=died, wrong=wrong, lost=lost)
    assert died
    assert (wrong, lost) == (0, 0)
