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
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convnets import scenes as embedded

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES = ("scenes", "cifar10", "horses")

_HORSE = 7
_BYTES = 32 * 32 * 3
_DECODER = 1  # a higher number makes every decoded copy again
_ARRAYS = {  # what cifar10.npz must hold
    "train_images": (50_000, 32, 32, 3),
    "train_labels": (50_000,),
    "test_images": (10_000, 32, 32, 3),
    "test_labels": (10_000,),
}

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """Training and validation images (uint8 [N, H, W, 3]) and labels (uint8 [N], indices into `classes`).

    `masks` (bool [N, H, W]) mark the object where a data set knows it. `fingerprint` is the SHA-256 of the content, `note`
    says in one sentence where it comes from.
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

    `num_train` and `num_validation` take that many images from the front (default: all; scenes: 5,000 and 1,000). `root`
    is the data folder (default: $DATA_ROOT, else `data`), `seed` is that of the scenes. Raises ValueError for an unknown
    name, a count that the data do not have, or a damaged file, and FileNotFoundError where nothing can be read or fetched.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1, cutoff=0)[0]
        raise ValueError(f"no data set is named {name!r}: did you mean {near!r}? There are {', '.join(NAMES)}")
    if name == "scenes":
        return _scenes(5_000 if num_train is None else num_train, 1_000 if num_validation is None else num_validation, seed)
    return _cifar(name, data_root(root), num_train, num_validation)


def data_root(root: str | Path | None = None) -> Path:
    """The data folder: `root`, else $DATA_ROOT, else `data`."""
    return Path(root or os.environ.get("DATA_ROOT") or "data")


def _scenes(num_train: int, num_validation: int, seed: int) -> Dataset:
    train, validation = embedded.scenes(num_train, seed=(seed, 0)), embedded.scenes(num_validation, seed=(seed, 1))
    arrays = [array for part in (train, validation) for array in (part.images, part.labels, part.masks)]
    images, labels, masks, other_images, other_labels, other_masks = map(torch.from_numpy, arrays)
    note = f"Scenes drawn from seed {seed}: {num_train:,} for training, {num_validation:,} for validation."
    fingerprint = _sha256(*arrays)
    return Dataset(
        "scenes", images, labels, other_images, other_labels, embedded.CLASSES, fingerprint, note, masks, other_masks
    )


def _cifar(name: str, root: Path, num_train: int | None, num_validation: int | None) -> Dataset:
    header, labels, images = _decoded(name, root)
    total, border = len(labels), header["num_train"]
    train, validation = _front(num_train, border, name), _front(num_validation, total - border, name)
    fingerprint = header["sha256"]
    if (train, validation) != (border, total - border):
        fingerprint = hashlib.sha256(f"{fingerprint} {train} {validation}".encode()).hexdigest()
    tensors = [torch.from_numpy(array) for array in (images, labels)]
    train_images, train_labels = (tensor[:train] for tensor in tensors)
    other_images, other_labels = (tensor[border : border + validation] for tensor in tensors)
    return Dataset(
        name, train_images, train_labels, other_images, other_labels, CIFAR_CLASSES, fingerprint, header["note"]
    )


def _front(wanted: int | None, there: int, name: str) -> int:
    if wanted is None:
        return there
    if not 1 <= wanted <= there:
        raise ValueError(f"{name} has {there:,} images of this kind: ask for 1 to {there:,}, not {wanted:,}")
    return wanted


# ---- The decoded copy: one line of JSON, then all labels, then all images, training first. ----


def _decoded(name: str, root: Path) -> tuple[dict[str, Any], Bytes, Bytes]:
    """Header, labels [N] and images [N, 32, 32, 3], from the decoded copy if it is whole and its source is unchanged."""
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
    note = note.format(int((~lossless[:border]).sum()), int((~lossless[border:]).sum()))
    header = {"source": stamp, "num_train": border, "sha256": _sha256(labels, images), "note": note}
    for folder in _folders(root):
        if _write_copy(folder / f"{name}.uint8", header, labels, images):
            break
    return header, labels, images


def _folders(root: Path) -> list[Path]:
    """Where decoded copies go: beside the data, or where that cannot be written, with the user's caches."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [root / ".decoded", user / "convnets" / hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]]


def _read_copy(path: Path, stamp: list[Any]) -> tuple[dict[str, Any], Bytes, Bytes] | None:
    """The copy at `path`; None where there is none, it is damaged, or it was made from another source."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(100_000))
            start = file.tell()
        if header["source"] != stamp:
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False)
    except OSError:
        return False
    try:
        with part:
            part.write(json.dumps(header).encode() + b"\n")
            for array in arrays:
                part.write(np.ascontiguousarray(array).data)
            part.flush()
            os.fsync(part.fileno())
        os.replace(part.name, path)
    except OSError:  # a full disk costs time at the next load, not this run
        Path(part.name).unlink(missing_ok=True)
        return False
    return True


def _sha256(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


# ---- The layouts in which people have CIFAR-10. A reader gives images, labels, lossless, num_train and a note. ----

Decoded = tuple[Bytes, Bytes, NDArray[np.bool_], int, str]


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
    from torchvision.datasets.utils import download_url

    try:
        root.mkdir(parents=True, exist_ok=True)
        download_url(CIFAR10.url, str(root), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"CIFAR-10 is not in {root} and could not be downloaded ({error}): put {CIFAR10.filename}, from {CIFAR10.url}, "
            f"into that folder, or name another one with DATA_ROOT"
        ) from None


def _read_npz(path: Path) -> Decoded:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {key: file[key] for key in file.files}
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({error}): replace it, or remove it so that CIFAR-10 is fetched") from None
    for key, shape in _ARRAYS.items():
        if key not in held or held[key].shape != shape or held[key].dtype != np.uint8:
            raise ValueError(f"{path} needs {key} as uint8 {list(shape)}: replace it, or remove it")
    images, labels = (np.concatenate([held[f"train_{kind}"], held[f"test_{kind}"]]) for kind in ("images", "labels"))
    lossless = np.ones(len(labels), bool)
    note = "CIFAR-10 as read from cifar10.npz."
    if {"train_lossless", "test_lossless"} <= held.keys():
        lossless = np.concatenate([held["train_lossless"], held["test_lossless"]]).astype(bool)
        note = "A reconstruction of CIFAR-10: {} training and {} validation images come from JPEG copies."
    return images, labels, lossless, 50_000, note


def _read_batches(folder: Path) -> Decoded:
    from torchvision.datasets import CIFAR10

    parts = [_read_batch(folder / name, md5) for name, md5 in CIFAR10.train_list + CIFAR10.test_list]
    rows = np.concatenate([np.asarray(part[b"data"], np.uint8) for part in parts])
    labels = np.concatenate([np.asarray(part[b"labels"], np.uint8) for part in parts])
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    border = len(labels) - len(parts[-1][b"labels"])
    return images, labels, np.ones(len(labels), bool), border, "CIFAR-10 as published, its checksums verified."


def _read_batch(path: Path, md5: str) -> dict[bytes, Any]:
    """The content of one pickled batch: unpickled only after the very bytes have the published checksum."""
    raw = path.read_bytes() if path.exists() else b""
    if hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{path} is missing or not the published file: remove {path.parent} so that it is made anew")
    batch: dict[bytes, Any] = pickle.loads(raw, encoding="bytes")  # noqa: S301
    return batch


def _read_archive(path: Path) -> Decoded:
    from torchvision.datasets import CIFAR10

    with path.open("rb") as file:
        if hashlib.file_digest(file, "md5").hexdigest() != CIFAR10.tgz_md5:
            raise ValueError(f"{path} is not the published archive: remove it, so that it is fetched again")
        file.seek(0)
        with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=file) as archive:
            archive.extractall(folder, filter="data")  # refuses members that lead out of the folder
            return _read_batches(Path(folder) / CIFAR10.base_folder)


def main(arguments: list[str]) -> int:
    """Prepare the data sets named; print one line for each. Status 1, and one line on stderr, where one cannot be had."""
    for name in arguments or ["horses"]:
        try:
            data = load(name)
        except (OSError, ValueError, tarfile.TarError) as error:
            print(f"convnets.data: {error}", file=sys.stderr)
            return 1
        counts = f"{len(data.train_labels):,} training and {len(data.validation_labels):,} validation images"
        where = "drawn from a seed" if name == "scenes" else f"from {data_root()}"
        print(f"{name}: {counts}, sha256 {data.fingerprint}, {where}. {data.note}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
