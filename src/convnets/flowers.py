"""Flowers-17 (Nilsback & Zisserman 2006): pictures of flowers with masks, split so that no picture is on two sides.

Read from `flowers17/` below the data folder: `jpg/` and `trimaps/`, or the archives `17flowers.tgz` and `trimaps.tgz`,
which are fetched where they are missing and unpacked there; with `datasplits.mat` the official split is used.
`python -m convnets.flowers` does this ahead of a run.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convnets import archives
from convnets.data import data_root

# The archives by the folder in each, the folder that says that all is there last. Oxford publishes no checksums; the
# first is the MD5 that DeepMind's NEVIS'22 and others have recorded. For the masks the archive's own CRC has to do.
ARCHIVES = {
    "jpg": ("17flowers.tgz", "b59a65d8d1a99cd66944d474e1289eab"),
    "trimaps": ("trimaps.tgz", None),
}
URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/17/"
FLOWER, BACKGROUND = 1, 3  # values in a mask; all others are unlabelled or on a boundary
PARTS = ("train", "validation", "test")
ALIKE = 0.95  # the correlation of thumbnails from which two pictures are taken for one


@dataclass(frozen=True)
class Flowers:
    """Images uint8 [N, S, S, 3], masks uint8 [N, S, S], 1 on flowers, and `labelled` bool, False where nobody said.

    `numbers` [N] are those in the files' names, `groups` [N] equal for pictures that are the same to the eye, `parts`
    maps "train", "validation" and "test" to indices; `fingerprint` is the content's SHA-256, `note` its provenance.
    """

    images: Tensor
    masks: Tensor
    labelled: Tensor
    numbers: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: dict[str, Tensor]
    fingerprint: str
    note: str

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """The images and masks of one part."""
        return self.images[self.parts[name]], self.masks[self.parts[name]]


def load(root: str | Path | None = None, size: int = 128, seed: int = 0) -> Flowers:
    """All pictures that have a mask, resized to `size` pixels a side, and split.

    `root` is the data folder, `seed` that of the split (half, a quarter, a quarter), which `datasplits.mat` replaces.
    Raises ValueError for a damaged archive or file and for a mask without its picture, FileNotFoundError where nothing
    can be read or fetched.
    """
    folder = prepare(data_root(root))
    paths = sorted((folder / "trimaps").glob("image_*.png"))
    if not paths:
        raise ValueError(f"{folder / 'trimaps'} holds no image_*.png: remove it, so that it is made anew")
    _check_pictures(folder, paths)
    found = [_read(folder / "jpg" / f"{path.stem}.jpg", path, size) for path in paths]
    images, trimaps = (np.stack(arrays) for arrays in zip(*found, strict=True))
    numbers = np.array([int(path.stem.rpartition("_")[2]) for path in paths])
    groups = same_pictures(images)
    official = folder / "datasplits.mat"
    parts, how = (
        (_official(official, numbers, groups), "the first of the official splits")
        if official.exists()
        else (split(groups, seed), f"split by seed {seed}")
    )
    masks = (trimaps == FLOWER).astype(np.uint8)
    labelled = (trimaps == FLOWER) | (trimaps == BACKGROUND)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in (images, masks, labelled))).hexdigest()
    counts = ", ".join(f"{len(index)} for {name}" for name, index in parts.items())
    note = f"Flowers-17: {len(images)} pictures with masks at {size}×{size} pixels, {how}: {counts}."
    x, y, known = (torch.from_numpy(array) for array in (images, masks, labelled))
    return Flowers(x, y, known, numbers, groups, parts, digest, note)


def prepare(root: Path) -> Path:
    """The folder with `jpg` and `trimaps`, fetched and unpacked where they are missing: each appears whole or not."""
    folder = root / "flowers17"
    for name, (archive, md5) in ARCHIVES.items():
        if (folder / name).is_dir():
            continue
        path = folder / archive
        if not path.exists():
            archives.fetch(URL + archive, path, md5, "Flowers-17")
        with archives.unpacked(path, md5, folder) as part:
            if not (part / name).is_dir():
                raise ValueError(f"{path} holds no folder {name}: remove it, so that it is fetched again")
            (part / name).rename(folder / name)
    return folder


def _check_pictures(folder: Path, masks: list[Path]) -> None:
    alone = [path.name for path in masks if not (folder / "jpg" / f"{path.stem}.jpg").exists()]
    if alone:
        raise ValueError(
            f"{len(alone)} of {len(masks)} masks in {folder / 'trimaps'} have no picture in jpg, {alone[0]} the first: "
            f"remove {folder / 'jpg'}, so that it is made anew"
        )


def _read(picture: Path, mask: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The picture [size, size, 3] and its trimap [size, size]."""
    image, trimap = _decoded(picture, "RGB"), _decoded(mask, "P")
    if image.size != trimap.size:
        raise ValueError(f"{mask} has {trimap.size} pixels and its picture {image.size}: replace the one that is wrong")
    return (
        np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)),
        np.asarray(trimap.resize((size, size), Image.Resampling.NEAREST)),
    )


def _decoded(path: Path, mode: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            if mode == "P" and image.mode not in ("P", "L"):
                raise ValueError(f"it has mode {image.mode}, not one number a pixel")
            return image.copy() if mode == "P" else image.convert(mode)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's word for a damaged PNG is SyntaxError
        words = " ".join(str(error).split())
        raise ValueError(f"{path} does not decode ({words}): replace it, or remove {path.parent}") from None


def same_pictures(images: NDArray[np.uint8], alike: float = ALIKE) -> NDArray[np.int64]:
    """A number for each image [N, S, S, 3], equal for those that are one picture, stored anew or mirrored.

    They are when their thumbnails (16×16 means of blocks, less their mean) correlate by `alike` or more.
    """
    from scipy.sparse.csgraph import connected_components

    thumbnails = [np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BOX), float) for image in images]
    plain, mirrored = (_unit(np.stack(array)) for array in (thumbnails, [image[:, ::-1] for image in thumbnails]))
    near = (plain @ plain.T >= alike) | (plain @ mirrored.T >= alike)
    _, groups = connected_components(near, directed=False)
    return np.asarray(groups, np.int64)


def _unit(thumbnails: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = thumbnails.reshape(len(thumbnails), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-9))


def split(groups: NDArray[np.int64], seed: int = 0) -> dict[str, Tensor]:
    """Indices of the pictures for training (half), validation and test (a quarter each); no group is on two sides."""
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    sizes = np.bincount(groups)[order]
    place = (np.cumsum(sizes) - sizes / 2) / len(groups)  # of a group's middle, in [0, 1]
    part = np.empty(len(order), int)
    part[order] = np.digitize(place, (0.5, 0.75))
    return {name: torch.from_numpy(np.flatnonzero(part[groups] == k)) for k, name in enumerate(PARTS)}


def _official(path: Path, numbers: NDArray[np.int64], groups: NDArray[np.int64]) -> dict[str, Tensor]:
    """The first split of `datasplits.mat`; a group that is on two sides goes where its first picture is."""
    from scipy.io import loadmat

    try:
        listed = {k: loadmat(path)[key].ravel() for k, key in enumerate(("trn1", "val1", "tst1"))}
    except Exception as error:  # many kinds, for what is damaged and for what is missing
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())}): replace it, or remove it") from None
    side = {int(number): k for k, listing in listed.items() for number in listing}
    if missing := [number for number in numbers if number not in side]:
        raise ValueError(f"{path} has no part for image_{missing[0]:04}: replace it, or remove it")
    first = {group: side[number] for group, number in zip(groups[::-1], numbers[::-1], strict=True)}
    part = np.array([first[group] for group in groups])
    return {name: torch.from_numpy(np.flatnonzero(part == k)) for k, name in enumerate(PARTS)}


def main() -> int:
    """Prepare the data set and say so in one line; status 1, and one line on stderr, where that cannot be done."""
    try:
        print(load().note)
    except (OSError, ValueError) as error:
        print(f"convnets.flowers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
