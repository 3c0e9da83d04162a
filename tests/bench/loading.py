"""CIFAR-10's files to tensors, and an epoch of batches, beside torchvision's data set and PyTorch's DataLoader.

The files are made here, of random pixels in the published layout, their checksums put where torchvision has the
published ones: both sides verify them.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import struct
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10
from torchvision.transforms import ToTensor

from convnets import data, training
from tests.bench._books import scratch
from tests.bench.measure import Pair

WHOLE, SMALL = 10_000, 2_000  # pictures in each of the six files; small in a quick bench
BATCH = 100


def pairs(quick: bool) -> list[Pair]:
    """Decoding for the first time, loading again, and all training pictures as float batches."""
    size = SMALL if quick else WHOLE

    def first() -> None:
        shutil.rmtree(files(size) / ".decoded", ignore_errors=True)

    name = f"{6 * size:,} pictures of CIFAR-10"
    peer = "torchvision.datasets.CIFAR10"
    return [
        Pair(f"{name}, the first time", lambda: load(size), peer, lambda: load_peer(size), prepare=first),
        Pair(f"{name}, again", lambda: load(size), peer, lambda: load_peer(size)),
        Pair(
            f"an epoch of {5 * size:,} as float batches of {BATCH}",
            lambda: batches(size),
            "CIFAR10 with ToTensor, DataLoader",
            lambda: batches_peer(size),
        ),
    ]


class Python2(pickle._Pickler):
    """Writes bytes as the strings of Python 2, in which the published files are."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, text: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch[bytes] = save_bytes


def pickled(content: Any) -> bytes:
    """As Python 2 would have written it."""
    target = io.BytesIO()
    Python2(target, protocol=2).dump(content)
    return target.getvalue()


@cache
def files(size: int) -> Path:
    """A data folder with the six pickled batches."""
    root = scratch() / f"cifar-{size}"
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sums = []
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        rows = rng.integers(256, size=(size, 3072), dtype=np.uint8)
        raw = pickled({b"data": rows, b"labels": rng.integers(10, size=size).tolist()})
        (folder / name).write_bytes(raw)
        sums.append([name, hashlib.md5(raw, usedforsecurity=False).hexdigest()])
    raw = pickled({b"label_names": [name.encode() for name in data.CIFAR_CLASSES]})
    (folder / CIFAR10.meta["filename"]).write_bytes(raw)
    CIFAR10.train_list, CIFAR10.test_list = sums[:5], sums[5:]
    CIFAR10.meta = {**CIFAR10.meta, "md5": hashlib.md5(raw, usedforsecurity=False).hexdigest()}
    return root


def load(size: int) -> data.Dataset:
    """Training and test pictures as uint8 tensors."""
    return data.load("cifar10", files(size))


def load_peer(size: int) -> tuple[torch.Tensor, ...]:
    """The same by torchvision."""
    parts = (CIFAR10(files(size), train=train) for train in (True, False))
    return tuple(tensor for part in parts for tensor in (torch.from_numpy(part.data), torch.tensor(part.targets)))


@cache
def loaded(size: int) -> data.Dataset:
    """Ours, in memory."""
    return load(size)


@cache
def loaded_peer(size: int) -> CIFAR10:
    """Torchvision's, in memory."""
    return CIFAR10(files(size), train=True, transform=ToTensor())


def batches(size: int) -> None:
    """As `training.fit` takes them."""
    images = loaded(size).train_images
    for index in torch.randperm(len(images)).split(BATCH):
        training.as_network(images[index])


def batches_peer(size: int) -> None:
    """As a course's notebook takes them."""
    for _ in DataLoader(loaded_peer(size), BATCH, shuffle=True):
        pass
