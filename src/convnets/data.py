"""CIFAR-10, its horses and the embedded scenes as uint8 tensors: verified, decoded once, known by a fingerprint.

`python -m convnets.data horses` fetches what is missing and decodes it, so that runs find it there.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convnets import archives
from convnets import scenes as embedded

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES = ("scenes", "cifar10", "horses")

_HORSE = 7
_BYTES = 32 * 32 * 3
_DECODER = 1  # a higher number makes every decoded copy again
_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_SHAPES = ((50_000, 32, 32, 3), (50_000,), (10_000, 32, 32, 3), (10_000,))

Bytes = NDArray[np.uint8]
Decoded = tuple[Bytes, Bytes, NDArray[np.bool_], int, str]  # images, labels, lossless, number for training, note


@dataclass(frozen=True)
class Dataset:
    """Training and validation images (uint8 [N, H, W, 3]) and labels (uint8 [N], indices into `classes`).

    Masks (bool [N, H, W]) mark the object, where known; `fingerprint` is the content's SHA-256, `note` its provenance.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    classes: tuple[str, ...]
    fingerprint: str
    note: str
    train_masks: Tensor | None = None
    validation_masks: Tensor | None = None


def load(
    name: str,
    root: str | Path | None = None,
    num_train: int | None = None,
    num_validation: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The data set `name`: "scenes", "cifar10", or "horses" (CIFAR-10's label 7).

    `num_train` and `num_validation` take that many from the front (default: all; scenes: 5,000 and 1,000); `root` is
    the data folder (default: $DATA_ROOT, else `data`); `seed` is that of the scenes. Raises ValueError for an unknown
    name, a count that is not there, or a damaged file, FileNotFoundError where nothing can be read or fetched.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1, cutoff=0)[0]
        raise ValueError(f"no data set is named {name!r}: did you mean {near!r}? There are {', '.join(NAMES)}")
    if name == "scenes":
        return _scenes(_count(num_train, 5_000), _count(num_validation, 1_000), seed)
    return _cifar(name, data_root(root), num_train, num_validation)


def check_learnt_from(weights: Path, dataset: str) -> Path:
    """The file of weights; ValueError where its network learnt from another data set than `dataset`.

    A `.safetensors` file says it in its metadata, under "dataset"; of one that says nothing, nothing is known.
    """
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        learnt_from = (file.metadata() or {}).get("dataset", dataset)
    if learnt_from != dataset:
        raise ValueError(
            f"dataset is {dataset!r}, but {weights.name} learnt from {learnt_from!r}: give both chapters the same"
        )
    return weights


def data_root(root: str | Path | None = None) -> Path:
    """The data folder: `root`, else $DATA_ROOT, else `data`."""
    return Path(root or os.environ.get("DATA_ROOT") or "data")


def _count(wanted: int | None, default: int) -> int:
    return default if wanted is None else wanted


def _scenes(num_train: int, num_validation: int, seed: int) -> Dataset:
    parts = embedded.scenes(num_train, seed=(seed, 0)), embedded.scenes(num_validation, seed=(seed, 1))
    arrays = [array for part in parts for array in (part.images, part.labels, part.masks)]
    images, labels, masks, other_images, other_labels, other_masks = map(torch.from_numpy, arrays)
    note = f"Scenes drawn from seed {seed}: {num_train:,} for training, {num_validation:,} for validation."
    what = embedded.CLASSES, _sha256(*arrays), note, masks, other_masks
    return Dataset("scenes", images, labels, other_images, other_labels, *what)


def _cifar(name: str, root: Path, num_train: int | None, num_validation: int | None) -> Dataset:
    header, labels, images = _decoded(name, root)
    fingerprint, border = header["sha256"], header["num_train"]
    rest = len(labels) - border
    train, validation = _count(num_train, border), _count(num_validation, rest)
    if not (0 < train <= border and 0 < validation <= rest):
        raise ValueError(f"{name} has {border:,} training and {rest:,} validation images: ask for 1 up to these")
    if train + validation < len(labels):
        fingerprint = hashlib.sha256(f"{fingerprint} {train} {validation}".encode()).hexdigest()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    end = border + validation
    what = CIFAR_CLASSES, fingerprint, header["note"]
    return Dataset(name, x[:train], y[:train], x[border:end], y[border:end], *what)


# ---- The decoded copy: a line with the header's SHA-256, the header in JSON, all labels, all images. ----


def _decoded(name: str, root: Path) -> tuple[dict[str, Any], Bytes, Bytes]:
    """Header, labels [N] and images [N, 32, 32, 3], from the decoded copy if it is whole and its source unchanged."""
    source, read = _source(root)
    stamp = [_DECODER, [[str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns] for file in source]]
    for folder in _folders(root):
        found = _read_copy(folder / f"{name}.uint8", stamp)
        if found:
            return found
    images, labels, lossless, border, note = read()
    if name == "horses":
        chosen = labels == _HORSE
        border = int(chosen[:border].sum())
        images, labels, lossless = images[chosen], labels[chosen], lossless[chosen]
    if not lossless.all():
        lossy = [f"{(~part).sum()} of {len(part):,}" for part in (lossless[:border], lossless[border:])]
        note += f" A reconstruction: {lossy[0]} training and {lossy[1]} validation images come from JPEG copies."
    header = {"source": stamp, "num_train": border, "sha256": _sha256(labels, images), "note": note}
    any(_write_copy(folder / f"{name}.uint8", header, labels, images) for folder in _folders(root))  # the first will do
    return header, labels, images


def _folders(root: Path) -> list[Path]:
    """Where decoded copies go: beside the data, or where that cannot be written, with the user's caches."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [root / ".decoded", user / "convnets" / hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]]


def _read_copy(path: Path, stamp: list[Any]) -> tuple[dict[str, Any], Bytes, Bytes] | None:
    """The copy at `path`; None where there is none, it is damaged, or it was made from another source."""
    try:
        with path.open("rb") as file:
            digest, line = file.readline(100).decode().strip(), file.readline(100_000)
            start = file.tell()
        header = json.loads(line)
        if hashlib.sha256(line).hexdigest() != digest or header["source"] != stamp:
            return None
        content = np.memmap(path, np.uint8, mode="c", offset=start)  # copy on write: nobody's change reaches the file
        if len(content) % (_BYTES + 1) or _sha256(content) != header["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    number = len(content) // (_BYTES + 1)
    return header, content[:number], content[number:].reshape(number, 32, 32, 3)


def _write_copy(path: Path, header: dict[str, Any], *arrays: Bytes) -> bool:
    """Whether a copy could be written. It appears whole or not at all, so several writers do no harm."""
    line = json.dumps(header).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            with (part := Path(folder, path.name)).open("wb") as file:
                file.writelines(
                    [hashlib.sha256(line).hexdigest().encode(), b"\n", line, *(array.tobytes() for array in arrays)]
                )
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError:  # a full disk costs time at the next load, not this run
        return False
    return True


def _sha256(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


# ---- The layouts in which people have CIFAR-10. ----


def _source(root: Path) -> tuple[list[Path], Callable[[], Decoded]]:
    """The files to read CIFAR-10 from, and what reads them; fetched by torchvision where there are none."""
    npz, folder, archive = root / "cifar10.npz", root / "cifar-10-batches-py", root / "cifar-10-python.tar.gz"
    if npz.exists():
        return [npz], lambda: _read_npz(npz)
    if folder.is_dir():
        return sorted(file for file in folder.iterdir() if "_batch" in file.name), lambda: _read_batches(folder)
    if not archive.exists():
        _fetch(root)
    return [archive], lambda: _read_archive(archive)


def _fetch(root: Path) -> None:
    from torchvision.datasets import CIFAR10

    archives.fetch(CIFAR10.url, root / CIFAR10.filename, CIFAR10.tgz_md5, "CIFAR-10")


def _read_npz(path: Path) -> Decoded:
    try:
        with path.open("rb") as opened:
            archives.check_zip(opened, archives.LIMIT)
            with np.load(opened, allow_pickle=False) as file:
                held = {key: file[key] for key in file.files}
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({error}): replace it, or remove it") from None
    for key, shape in zip(_KEYS, _SHAPES, strict=True):
        if key not in held or held[key].shape != shape or held[key].dtype != np.uint8:
            raise ValueError(f"{path} needs {key} as uint8 {list(shape)}: replace it, or remove it")
    images, labels = (np.concatenate([held[f"train_{kind}"], held[f"test_{kind}"]]) for kind in ("images", "labels"))
    flags = [held.get(f"{part}_lossless", np.ones(len(held[f"{part}_labels"]), bool)) for part in ("train", "test")]
    return images, labels, np.concatenate(flags).astype(bool), len(held["train_labels"]), "CIFAR-10 from cifar10.npz."


def _read_batches(folder: Path) -> Decoded:
    from torchvision.datasets import CIFAR10

    parts = [_read_batch(folder / name, md5) for name, md5 in CIFAR10.train_list + CIFAR10.test_list]
    rows = np.concatenate([np.asarray(part[b"data"], np.uint8) for part in parts])
    labels = np.concatenate([np.asarray(part[b"labels"], np.uint8) for part in parts])
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    border = len(labels) - len(parts[-1][b"labels"])
    return images, labels, np.ones(len(labels), bool), border, "CIFAR-10 as published, its checksums verified."


def _read_batch(path: Path, md5: str) -> dict[bytes, Any]:
    """One pickled batch, unpickled only where the very bytes have the published checksum."""
    raw = path.read_bytes() if path.exists() else b""
    if hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{path} is missing or not the published file: remove {path.parent} so that it is made anew")
    batch: dict[bytes, Any] = pickle.loads(raw, encoding="bytes")  # noqa: S301
    return batch


def _read_archive(path: Path) -> Decoded:
    from torchvision.datasets import CIFAR10

    with archives.unpacked(path, CIFAR10.tgz_md5) as folder:
        return _read_batches(folder / CIFAR10.base_folder)


def main(arguments: list[str]) -> int:
    """Prepare the data sets named, a line for each; status 1, and one line on stderr, where one cannot be had."""
    for name in arguments or ["horses"]:
        try:
            data = load(name)
        except (OSError, ValueError) as error:
            print(f"convnets.data: {error}", file=sys.stderr)
            return 1
        counts = f"{len(data.train_labels):,} training and {len(data.validation_labels):,} validation images"
        where = "drawn from a seed" if name == "scenes" else f"from {data_root()}"
        print(f"{name}: {counts}, sha256 {data.fingerprint}, {where}. {data.note}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
