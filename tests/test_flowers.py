"""Flowers-17 as people have it, whole or damaged; and a split in which no picture is on two sides."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from convnets import archives, flowers

NUMBER = 24


def picture(number: int) -> np.ndarray:
    """A picture [40, 40, 3] unlike all others."""
    rng = np.random.default_rng(number)
    blocks = rng.integers(20, 216, (8, 8, 1)) + rng.integers(0, 40, (8, 8, 3))
    return np.kron(blocks, np.ones((5, 5, 1))).astype(np.uint8)


def trimap(number: int) -> np.ndarray:
    """A disc of flower, a ring that nobody labelled, and background."""
    y, x = np.mgrid[:40, :40] - 20
    distance = np.hypot(x, y)
    return np.where(distance < 6 + number / 4, 1, np.where(distance < 9 + number / 4, 0, 3)).astype(np.uint8)


def write(folder: Path) -> None:
    """The two folders of the data set, with a picture more than there are masks."""
    for name in ("jpg", "trimaps"):
        (folder / name).mkdir(parents=True)
    for number in range(1, NUMBER + 2):
        Image.fromarray(picture(number)).save(folder / "jpg" / f"image_{number:04}.jpg", quality=95, subsampling=0)
        if number <= NUMBER:
            Image.fromarray(trimap(number)).save(folder / "trimaps" / f"image_{number:04}.png")


@pytest.fixture
def root(tmp_path):
    """A data folder with Flowers-17 unpacked."""
    write(tmp_path / "flowers17")
    return tmp_path


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A data folder with Flowers-17 as its two archives, their checksum the one that is expected."""
    source, folder = tmp_path / "source", tmp_path / "data" / "flowers17"
    write(source)
    folder.mkdir(parents=True)
    for name, (archive, _) in flowers.ARCHIVES.items():
        with tarfile.open(folder / archive, "w:gz") as file:
            file.add(source / name, name)
    md5 = hashlib.md5((folder / "17flowers.tgz").read_bytes()).hexdigest()
    expected = {"jpg": ("17flowers.tgz", md5), "trimaps": ("trimaps.tgz", None)}
    monkeypatch.setattr(flowers, "ARCHIVES", expected)
    return tmp_path / "data"


def left(root: Path) -> set[str]:
    return {path.name for path in (root / "flowers17").iterdir()}


def fails(root: Path, *words: str, error: type[Exception] = ValueError) -> None:
    """Loading fails with one line in which all these words stand."""
    with pytest.raises(error) as caught:
        flowers.load(root, 16)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_pictures_masks_and_what_nobody_labelled(root):
    """Value 1 is flower, 3 background, anything else unlabelled; sizes, dtypes and numbers as promised."""
    found = flowers.load(root, 40)
    assert found.images.shape == (NUMBER, 40, 40, 3)
    assert found.images.dtype == found.masks.dtype == torch.uint8
    for k, number in enumerate(found.numbers):
        assert np.array_equal(found.masks[k], trimap(number) == 1)
        assert np.array_equal(found.labelled[k], trimap(number) != 0)
        assert np.abs(found.images[k].numpy().astype(int) - picture(number)).mean() < 8  # JPEG's loss
    assert flowers.load(root, 16).masks.shape == (NUMBER, 16, 16)


def test_the_split_has_every_picture_once_and_is_that_of_the_seed(root):
    """Half, a quarter, a quarter; another seed gives another split, the same one the same."""
    first, again, other = flowers.load(root, 16), flowers.load(root, 16), flowers.load(root, 16, seed=1)
    assert [len(first.parts[name]) for name in flowers.PARTS] == [12, 6, 6]
    assert sorted(torch.cat(list(first.parts.values())).tolist()) == list(range(NUMBER))
    assert all(torch.equal(first.parts[name], again.parts[name]) for name in flowers.PARTS)
    assert not torch.equal(first.parts["test"], other.parts["test"])
    assert first.fingerprint == again.fingerprint


def twin(folder: Path, number: int, of: int, change) -> None:
    image = Image.fromarray(change(picture(of)))
    image.save(folder / "flowers17" / "jpg" / f"image_{number:04}.jpg", quality=80)


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_stored_twice_is_on_one_side(root, seed):
    """Stored with another quality, mirrored, or a little brighter: other bytes, the same picture, the same side."""
    twin(root, 2, 1, lambda image: image)
    twin(root, 14, 5, lambda image: image[:, ::-1])
    twin(root, 9, 8, lambda image: (image * 0.8 + 20).astype(np.uint8))
    found = flowers.load(root, 40, seed)
    hashes = {hashlib.sha256(image.numpy().tobytes()).digest() for image in found.images}
    assert len(hashes) == NUMBER  # a hash of the bytes sees none of them
    for one, other in ((1, 2), (5, 14), (8, 9)):
        sides = [name for name, index in found.parts.items() for k in index if found.numbers[k] in (one, other)]
        assert len(sides) == 2
        assert len(set(sides)) == 1
    assert len(set(found.groups)) == NUMBER - 3


def test_no_group_is_on_two_sides_of_a_split_and_shares_come_out():
    """For groups of any sizes."""
    groups = np.random.default_rng(0).integers(0, 300, 800)
    groups = np.unique(groups, return_inverse=True)[1]
    for seed in range(20):
        parts = flowers.split(groups, seed)
        sides = [set(groups[index.numpy()]) for index in parts.values()]
        assert sum(map(len, sides)) == len(set.union(*sides)) == groups.max() + 1
        np.testing.assert_allclose([len(index) / 800 for index in parts.values()], (0.5, 0.25, 0.25), atol=0.02)


def test_the_official_split_is_used_and_mended(root):
    """With datasplits.mat its first split counts, but a picture stored twice goes to one side."""
    twin(root, 20, 3, lambda image: image)
    numbers = np.arange(1, NUMBER + 2)
    sides = {"trn1": numbers[:12], "val1": numbers[12:18], "tst1": numbers[18:]}
    savemat(root / "flowers17" / "datasplits.mat", sides)
    found = flowers.load(root, 40)
    chosen = {name: set(found.numbers[index.numpy()]) for name, index in found.parts.items()}
    assert chosen == {"train": {*range(1, 13), 20}, "validation": set(range(13, 19)), "test": {19, 21, 22, 23, 24}}
    assert "official" in found.note
    (root / "flowers17" / "datasplits.mat").write_bytes(b"no mat")
    fails(root, "datasplits.mat", "remove it")


def test_archives_are_unpacked_once(packed, monkeypatch):
    """Afterwards the folders are there and the archives are not opened again."""
    first = flowers.load(packed, 16)
    assert left(packed) == {"jpg", "trimaps", "17flowers.tgz", "trimaps.tgz"}
    monkeypatch.setattr(archives, "unpacked", None)
    assert flowers.load(packed, 16).fingerprint == first.fingerprint


@pytest.mark.parametrize("name", ["17flowers.tgz", "trimaps.tgz"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "last bytes", "empty", "text"])
def test_a_damaged_archive_is_one_line_and_leaves_nothing(packed, monkeypatch, name, damage):
    """Truncated, altered, empty, something else: named with the remedy, with a checksum and without one."""
    path = packed / "flowers17" / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "altered": raw, "last bytes": whole[:-4], "empty": b""}.get(
            damage, b"<html>not found</html>"
        )
    )
    before = left(packed)
    fails(packed, str(path), "remove it, so that it is fetched again")
    assert left(packed) - before <= {"jpg"}  # the one that is whole
    if name == "17flowers.tgz":  # without its checksum the archive's own has to do
        monkeypatch.setattr(flowers, "ARCHIVES", {"jpg": (name, None)})
        fails(packed, str(path), "remove it, so that it is fetched again")
        assert left(packed) == before


@pytest.mark.parametrize("member", ["../escaped.txt", "/tmp/escaped-flowers.txt", "link"])
def test_an_archive_writes_nothing_outside_its_folder(packed, member):
    """A member that leads out of the folder, by its name or by a link, is refused, and nothing stays."""
    path = packed / "flowers17" / "trimaps.tgz"
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo(member)
        if member == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "../../.."
            file.addfile(info)
        else:
            info.size = 5
            file.addfile(info, io.BytesIO(b"hello"))
    fails(packed, str(path))
    assert left(packed) == {"jpg", "17flowers.tgz", "trimaps.tgz"}
    assert not list(packed.parent.rglob("escaped*"))
    assert not Path("/tmp/escaped-flowers.txt").exists()


def test_a_missing_archive_is_fetched_and_verified(packed, tmp_path, monkeypatch):
    """By its address and checksum; what arrives half stays nowhere, and the error names address and folder."""
    monkeypatch.setattr(flowers, "URL", (packed / "flowers17").as_uri() + "/")
    flowers.load(tmp_path / "new", 16)
    assert left(tmp_path / "new") == left(packed) | {"jpg", "trimaps"}
    first = packed / "flowers17" / "17flowers.tgz"
    first.write_bytes(first.read_bytes()[:100])
    fails(tmp_path / "none", flowers.URL, "into that folder", "DATA_ROOT", error=FileNotFoundError)
    assert left(tmp_path / "none") == set()


def test_a_mask_without_its_picture_is_named(root):
    """How many, and the first."""
    for number in (3, 7):
        (root / "flowers17" / "jpg" / f"image_{number:04}.jpg").unlink()
    fails(root, f"2 of {NUMBER} masks", "image_0003.png", "remove")


@pytest.mark.parametrize("name", ["jpg/image_0004.jpg", "trimaps/image_0004.png"])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_file_that_does_not_decode_is_named(root, name, damage):
    """Half a file, none at all, another kind."""
    path = root / "flowers17" / name
    path.write_bytes({"truncated": path.read_bytes()[:-60], "text": b"hello", "empty": b""}[damage])
    fails(root, str(path), "replace it")


def test_wrong_masks_are_named(root):
    """One in colour, one of another size than its picture, none at all."""
    folder = root / "flowers17" / "trimaps"
    Image.fromarray(picture(1)).save(folder / "image_0001.png")
    fails(root, "image_0001.png", "mode RGB")
    Image.fromarray(trimap(1)[:30]).save(folder / "image_0001.png")
    fails(root, "image_0001.png", "(40, 30)")
    for path in folder.iterdir():
        path.unlink()
    fails(root, "trimaps holds no image")


def test_the_command_says_what_is_there(root, monkeypatch, capsys):
    """One line, on stderr with status 1 where something is wrong."""
    monkeypatch.setenv("DATA_ROOT", str(root))
    assert flowers.main() == 0
    assert f"{NUMBER} pictures" in capsys.readouterr().out
    (root / "flowers17" / "jpg" / "image_0001.jpg").unlink()
    assert flowers.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "image_0001.png" in line


@pytest.mark.data
def test_the_real_flowers(data_root):
    """846 pictures; the trivial predictions score what others measured; many pictures are there twice."""
    found = flowers.load(data_root, 64)
    assert len(found.images) == 846
    masks = found.masks.bool()
    assert masks.double().mean().item() == pytest.approx(0.274, abs=0.001)  # IoU of 'all is flower'
    mean = masks.double().mean(0) > 0.3
    overlap = (masks & mean).sum((1, 2)) / (masks | mean).sum((1, 2))
    assert overlap.mean().item() == pytest.approx(0.516, abs=0.003)
    assert len(set(found.groups)) < 820
    sides = [set(found.groups[index.numpy()]) for index in found.parts.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))
