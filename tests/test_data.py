"""Loading: every layout that a user may have, the decoded copy, and what happens when files are not what they seem."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.datasets import CIFAR10

from convnets import data
from convnets.scenes import CLASSES, scenes

TRAIN, TEST = 100, 30


@pytest.fixture
def content(monkeypatch):
    """A CIFAR-10 of 100 + 30 images, in the arrays that cifar10.npz holds."""
    rng = np.random.default_rng(0)
    shapes = ((TRAIN, 32, 32, 3), (TRAIN,), (TEST, 32, 32, 3), (TEST,))
    monkeypatch.setattr(data, "_SHAPES", shapes)
    made = [rng.integers(0, 256 if len(shape) == 4 else 10, shape, dtype=np.uint8) for shape in shapes]
    return dict(zip(("train_images", "train_labels", "test_images", "test_labels"), made, strict=True))


@pytest.fixture
def npz(tmp_path, content):
    np.savez(tmp_path / "cifar10.npz", **content)
    return tmp_path


def write_batches(folder, content, monkeypatch):
    """The content as the official pickles, their checksums put where torchvision has the published ones."""
    folder.mkdir(parents=True)
    parts = [(f"data_batch_{i + 1}", "train", slice(20 * i, 20 * i + 20)) for i in range(5)] + [
        ("test_batch", "test", slice(None))
    ]
    sums = []
    for name, part, rows in parts:
        planes = content[f"{part}_images"][rows].transpose(0, 3, 1, 2).reshape(-1, 3072)
        raw = pickle.dumps({b"data": planes, b"labels": content[f"{part}_labels"][rows].tolist()}, protocol=2)
        (folder / name).write_bytes(raw)
        sums.append([name, hashlib.md5(raw).hexdigest()])
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])


def write_archive(path, content, monkeypatch):
    write_batches(path.parent / "made" / "cifar-10-batches-py", content, monkeypatch)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(path.parent / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())


def holds(found, content):
    """Does the loaded data set hold exactly this content?"""
    pairs = (
        (found.train_images, content["train_images"]),
        (found.train_labels, content["train_labels"]),
        (found.validation_images, content["test_images"]),
        (found.validation_labels, content["test_labels"]),
    )
    return all(tensor.dtype == torch.uint8 and np.array_equal(tensor.numpy(), array) for tensor, array in pairs)


def forbid(monkeypatch):
    """From here on, reading the source is an error."""

    def refuse(*_):
        raise AssertionError("the source was read again")

    for reader in ("_read_npz", "_read_batches", "_read_archive", "_fetch"):
        monkeypatch.setattr(data, reader, refuse)


def test_scenes_need_no_files(tmp_path):
    """Scenes come from the seed alone: masks, class names, and a fingerprint that follows the content."""
    first, again = (data.load("scenes", tmp_path / "none", 40, 20, seed=1) for _ in range(2))
    other = data.load("scenes", tmp_path / "none", 40, 20, seed=2)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.train_images.shape == (40, 32, 32, 3)
    assert first.validation_masks.dtype == torch.bool
    assert first.classes == CLASSES
    assert np.array_equal(first.train_masks.numpy(), scenes(40, seed=(1, 0)).masks)
    assert not (tmp_path / "none").exists()


def test_validation_scenes_are_other_scenes():
    """Training and validation share no picture, and the validation set does not depend on the training set's size."""
    small, large = data.load("scenes", None, 10, 30), data.load("scenes", None, 50, 30)
    assert torch.equal(small.validation_images, large.validation_images)
    train = {image.numpy().tobytes() for image in large.train_images}
    assert not any(image.numpy().tobytes() in train for image in large.validation_images)


def test_the_npz_layout(npz, content):
    """cifar10.npz is read as it is, DATA_ROOT names its folder, and the note says nothing of copies."""
    found = data.load("cifar10", npz)
    assert holds(found, content)
    assert found.train_masks is None
    assert found.classes[7] == "horse"
    assert "JPEG" not in found.note


def test_horses_are_label_7(npz, content, monkeypatch):
    """Horses are the images with label 7, in their order; DATA_ROOT names the folder."""
    monkeypatch.setenv("DATA_ROOT", str(npz))
    found = data.load("horses")
    assert np.array_equal(found.train_images.numpy(), content["train_images"][content["train_labels"] == 7])
    assert np.array_equal(found.validation_images.numpy(), content["test_images"][content["test_labels"] == 7])
    assert set(found.train_labels.tolist()) == {7}


def test_a_reconstruction_says_so(npz, content):
    """Where some images come from JPEG copies, the note counts them, for the whole set and for the horses."""
    lossless = content["train_labels"] != 7
    flags = {"train_lossless": lossless, "test_lossless": np.ones(TEST, bool)}
    np.savez(npz / "cifar10.npz", **content, **flags)
    number = int((~lossless).sum())
    assert f"{number} of 100 training and 0 of 30 validation images come from JPEG" in data.load("cifar10", npz).note
    assert f"{number} of {number} training" in data.load("horses", npz).note


def test_fewer_images_have_a_fingerprint_of_their_own(npz):
    """A part is the front of the whole, with another fingerprint; more than there is, or none, is refused."""
    whole, part = data.load("cifar10", npz), data.load("cifar10", npz, 30, 10)
    assert torch.equal(part.train_images, whole.train_images[:30])
    assert torch.equal(part.validation_labels, whole.validation_labels[:10])
    assert len({whole.fingerprint, part.fingerprint, data.load("cifar10", npz, 30, 11).fingerprint}) == 3
    for counts in ((101, 1), (0, 1), (5, -1)):
        with pytest.raises(ValueError, match="100 training and 30 validation"):
            data.load("cifar10", npz, *counts)


def test_the_official_layouts_agree(tmp_path, content, monkeypatch):
    """The npz, the official pickles and the official archive give the same data and the same fingerprint."""
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    np.savez(tmp_path / "a" / "cifar10.npz", **content)
    write_archive(tmp_path / "b" / "cifar-10-python.tar.gz", content, monkeypatch)
    (tmp_path / "b" / "made" / "cifar-10-batches-py").rename(tmp_path / "c" / "cifar-10-batches-py")
    found = [data.load("cifar10", tmp_path / folder) for folder in ("a", "b", "c")]
    assert all(holds(one, content) for one in found)
    assert len({one.fingerprint for one in found}) == 1


def test_a_tampered_batch_is_not_unpickled(tmp_path, content, monkeypatch):
    """A pickle whose bytes do not have the published checksum is refused before anything in it could run."""
    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder, content, monkeypatch)
    (folder / "data_batch_3").write_bytes(b"cos\nmkdir\n(S'" + str(tmp_path / "made").encode() + b"'\ntR.")
    with pytest.raises(ValueError, match="data_batch_3 is missing or not the published file"):
        data.load("horses", tmp_path)
    assert not (tmp_path / "made").exists()
    (folder / "data_batch_3").unlink()
    with pytest.raises(ValueError, match="data_batch_3 is missing"):
        data.load("horses", tmp_path)


def test_a_tampered_archive_is_refused(tmp_path, content, monkeypatch):
    """An archive with one changed byte is not opened."""
    path = tmp_path / "cifar-10-python.tar.gz"
    write_archive(path, content, monkeypatch)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="not the published archive"):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["../escaped", "/escaped_from_convnets_test", "cifar-10-batches-py/../../escaped"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path, monkeypatch, name):
    """A member that leads out of the folder stops the extraction, even where the checksum is right."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    with pytest.raises((tarfile.FilterError, ValueError)):
        data.load("cifar10", tmp_path)
    assert not list(tmp_path.rglob("escaped*"))
    assert not Path("/escaped_from_convnets_test").exists()


def test_a_link_in_an_archive_cannot_lead_outside(tmp_path, monkeypatch):
    """A symbolic link to another folder stops the extraction."""
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-py")
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(member)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match="cannot be unpacked"):
        data.load("cifar10", tmp_path)


def test_what_is_missing_is_fetched(tmp_path, content, monkeypatch):
    """Without any file it is fetched from the published address and verified; a second load asks nobody."""
    source = tmp_path / "elsewhere" / "cifar-10-python.tar.gz"
    source.parent.mkdir()
    write_archive(source, content, monkeypatch)
    monkeypatch.setattr(CIFAR10, "url", source.as_uri())
    assert holds(data.load("cifar10", tmp_path / "data"), content)
    source.unlink()
    assert holds(data.load("cifar10", tmp_path / "data"), content)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    """Without a network the error names the file, the folder and DATA_ROOT in one line; nothing half done stays."""
    source = tmp_path / "elsewhere" / "cifar-10-python.tar.gz"
    monkeypatch.setattr(CIFAR10, "url", source.as_uri())
    source.parent.mkdir()
    for content in (None, b"half of it"):
        if content:
            source.write_bytes(content)
        with pytest.raises(FileNotFoundError, match=r"cifar-10-python\.tar\.gz into that folder.*DATA_ROOT") as caught:
            data.load("horses", tmp_path / "data")
        assert "\n" not in str(caught.value)
        assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("change", ["missing", "shape", "type", "pickle", "truncated"])
def test_a_wrong_npz_is_an_error_of_one_line(npz, content, change):
    """A missing array, a wrong shape or type, a pickle inside, half a file: the error names the file."""
    if change == "missing":
        del content["test_labels"]
    elif change == "shape":
        content["train_images"] = content["train_images"][:-1]
    elif change == "type":
        content["train_labels"] = content["train_labels"].astype(np.int64)
    elif change == "pickle":
        content["test_labels"] = np.array([{}] * TEST, object)
    np.savez(npz / "cifar10.npz", **content)
    if change == "truncated":
        (npz / "cifar10.npz").write_bytes((npz / "cifar10.npz").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cifar10\.npz") as caught:
        data.load("cifar10", npz)
    assert "\n" not in str(caught.value)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_hostile_npz_runs_nothing(npz, content):
    """A pickle inside the npz is refused before anything in it could run."""
    content["test_labels"] = np.array([Hostile(npz / "made")] * TEST, object)
    np.savez(npz / "cifar10.npz", **content)
    with pytest.raises(ValueError, match=r"cifar10\.npz cannot be read"):
        data.load("cifar10", npz)
    assert not (npz / "made").exists()


@pytest.mark.parametrize("name", ["cifar10", "horses"])
def test_the_second_load_uses_the_decoded_copy(npz, monkeypatch, name):
    """What was decoded once is not decoded again, and is the same."""
    first = data.load(name, npz)
    forbid(monkeypatch)
    again = data.load(name, npz)
    assert torch.equal(first.train_images, again.train_images)
    assert (first.fingerprint, first.note) == (again.fingerprint, again.note)
    assert [path.name for path in (npz / ".decoded").iterdir()] == [f"{name}.uint8"]


@pytest.mark.parametrize(
    "damage", ["checksum", "header", "label", "last pixel", "truncated", "longer", "empty", "text"]
)
def test_a_damaged_copy_is_made_again(npz, content, monkeypatch, damage):
    """One flipped bit anywhere, a missing end, another file: the copy is noticed to be bad and is replaced."""
    data.load("cifar10", npz)
    path = npz / ".decoded" / "cifar10.uint8"
    whole = path.read_bytes()
    start = len(whole) - (TRAIN + TEST) * 3073
    places = {
        "checksum": 3,
        "header": whole.index(b'"num_train": 1') + 13,
        "label": start + 5,
        "last pixel": len(whole) - 1,
    }
    raw = bytearray(whole)
    if damage in places:
        raw[places[damage]] ^= 1
    path.write_bytes(
        {"truncated": raw[:-3073], "longer": raw + raw[-3073:], "empty": b"", "text": b"hello\n"}.get(damage, raw)
    )
    assert holds(data.load("cifar10", npz), content)
    assert path.read_bytes() == whole
    forbid(monkeypatch)
    assert holds(data.load("cifar10", npz), content)


def test_a_changed_source_is_decoded_again(npz, content):
    """Other content under the same name is noticed; so is a file that only got a new date."""
    first = data.load("cifar10", npz)
    content["train_images"][0, 0, 0, 0] ^= 1
    np.savez(npz / "cifar10.npz", **content)
    second = data.load("cifar10", npz)
    assert holds(second, content)
    assert first.fingerprint != second.fingerprint
    os.utime(npz / "cifar10.npz", ns=(1, 1))
    assert data.load("cifar10", npz).fingerprint == second.fingerprint


def test_a_data_set_in_use_is_not_disturbed(npz, content):
    """A copy that is made again replaces the file and does not write into it: what is loaded keeps its content."""
    data.load("cifar10", npz)
    old = data.load("cifar10", npz)
    other = {name: array ^ 1 for name, array in content.items()}
    np.savez(npz / "cifar10.npz", **other)
    assert holds(data.load("cifar10", npz), other)
    assert holds(old, content)


def test_a_change_in_memory_does_not_reach_the_copy(npz, content, monkeypatch):
    """Tensors may be written to; the next load has the original."""
    data.load("cifar10", npz)
    data.load("cifar10", npz).train_images.zero_()
    forbid(monkeypatch)
    assert holds(data.load("cifar10", npz), content)


def test_where_the_data_folder_cannot_be_written(npz, content, tmp_path, monkeypatch):
    """The copy goes to the user's cache; where that cannot be written either, loading still works."""
    (npz / ".decoded").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert holds(data.load("cifar10", npz), content)
    assert [path.name for path in (tmp_path / "cache").rglob("*.uint8")] == ["cifar10.uint8"]
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert holds(data.load("cifar10", npz), content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forbid(monkeypatch)
    assert holds(data.load("cifar10", npz), content)


def test_several_writers_do_no_harm(npz, content, monkeypatch):
    """Eight loads at once from nothing all succeed and leave one whole copy, nothing else."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: data.load("cifar10", npz), range(8)))
    assert all(holds(one, content) for one in found)
    assert [path.name for path in (npz / ".decoded").iterdir()] == ["cifar10.uint8"]
    forbid(monkeypatch)
    assert holds(data.load("cifar10", npz), content)


def test_an_unknown_name_offers_the_nearest():
    """A slip of the keyboard is answered with the name that was meant."""
    with pytest.raises(ValueError, match=r"'hoarses'.*did you mean 'horses'"):
        data.load("hoarses")


def test_the_command_prints_one_line(npz, monkeypatch, capsys):
    """Preparing says what is there: name, counts, fingerprint, place."""
    monkeypatch.setenv("DATA_ROOT", str(npz))
    assert data.main(["horses"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = data.load("horses")
    for part in ("horses", f"{len(found.train_labels)} training", found.fingerprint, str(npz)):
        assert part in line


def test_the_command_fails_in_one_line(tmp_path):
    """An error is one line on stderr with status 1, no traceback."""
    (tmp_path / "cifar10.npz").write_bytes(b"no archive")
    environment = {**os.environ, "DATA_ROOT": str(tmp_path)}
    command = [sys.executable, "-m", "convnets.data", "horses"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "cifar10.npz cannot be read" in line


@pytest.mark.data
def test_the_real_horses(data_root):
    """5,000 training and 1,000 validation horses, with the note about those from JPEG copies."""
    found = data.load("horses", data_root)
    assert (len(found.train_images), len(found.validation_images)) == (5000, 1000)
    assert set(found.train_labels.tolist()) == {7}
    with np.load(data_root / "cifar10.npz") as file:
        assert ("JPEG" in found.note) == ("train_lossless" in file and not file["train_lossless"].all())


def test_weights_from_other_pictures_are_refused(tmp_path):
    """What a network learnt from is asked of its file; a file that does not say is taken as it is."""
    path = tmp_path / "cnn.safetensors"
    save_file({"weight": torch.zeros(1)}, path, {"dataset": "scenes"})
    assert data.check_learnt_from(path, "scenes") == path
    with pytest.raises(ValueError, match=r"'horses', but cnn\.safetensors learnt from 'scenes'"):
        data.check_learnt_from(path, "horses")
    save_file({"weight": torch.zeros(1)}, path)
    assert data.check_learnt_from(path, "horses") == path
