"""Archives that want to write elsewhere, or to fill the disk."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convnets import archives, data, models

KINDS = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with what it holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hostile(chance: random.Random, victim: Path) -> list[tarfile.TarInfo]:
    """Members that try to reach a file outside, by their names, by links, by links to links, or as devices."""
    parts = ["..", ".", "a", "b", "link", str(victim.parent), "//", victim.name, "a/../../..", "\x7f", "é"]
    members = []
    for _ in range(chance.randrange(1, 6)):
        name = "/".join(chance.choices(parts, k=chance.randrange(1, 4)))
        member = tarfile.TarInfo(chance.choice([name, f"/{name}", "link", f"../{victim.name}", str(victim)]))
        member.type = chance.choice(KINDS)
        member.linkname = chance.choice(["..", "../..", str(victim), "link", "a", f"../../{victim.name}", "/"])
        member.mode = chance.choice([0o644, 0o4777, 0])
        member.size = 5 if member.type == tarfile.REGTYPE else 0
        members.append(member)
    return members


def test_no_member_of_an_archive_reaches_outside(tmp_path, fault, tries):
    """Whatever the names, links and devices in it: what lies outside stays as it is, and no device is made."""
    number, wrong = tries(60, 500), 0
    for seed in range(number):
        outside = tmp_path / str(seed)
        into = outside / "deep" / "into"
        into.mkdir(parents=True)
        victim = outside / "victim"
        victim.write_bytes(b"mine")
        path = outside / "archive.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for member in hostile(random.Random(seed), victim):
                archive.addfile(member, io.BytesIO(b"yours") if member.size else None)
        before = contents(outside)
        with contextlib.suppress(ValueError, OSError), archives.unpacked(path, None, into) as folder:
            for name in folder.rglob("*"):
                wrong += not (name.is_dir() or name.is_file() or name.is_symlink())
                wrong += not name.resolve().is_relative_to(folder.resolve())
                wrong += bool(name.lstat().st_mode & 0o6000)
            wrong += {k: v for k, v in contents(outside).items() if not k.startswith("deep/into/")} != before
        wrong += contents(outside) != before
    fault("Archive with '..', absolute names, links, devices", tries=number, wrong=wrong)
    assert wrong == 0


@pytest.mark.parametrize("bomb", ["zeros", "many", "sparse", "nested headers"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, monkeypatch, fault, bomb):
    """A small archive that holds much, very many files, or one file said to be huge: one line, and nothing unpacked."""
    monkeypatch.setattr(archives, "LIMIT", 2**20)
    monkeypatch.setattr(archives, "MEMBERS", 100)
    path = tmp_path / "bomb.tar.gz"
    if bomb == "sparse":
        member = tarfile.TarInfo("huge")
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "huge"}
        member.pax_headers["GNU.sparse.realsize"] = str(2**50)
        content = b"1\n0\n1\n".ljust(512, b"\0") + b"x".ljust(512, b"\0")
        member.size = len(content)
        with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(member, io.BytesIO(content))
    else:
        with tarfile.open(path, "w:gz") as archive:
            for number in range({"many": 500, "nested headers": 3}.get(bomb, 1)):
                member = tarfile.TarInfo(f"{number}")
                member.size = 2**22 if bomb == "zeros" else 0
                member.name += "/n" * 30_000 if bomb == "nested headers" else ""
                archive.addfile(member, io.BytesIO(bytes(member.size)))
    if bomb == "nested headers":  # a header that says it is followed by more than there is
        path.write_bytes(gzip.compress(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT)[:124] + b"\x80" + b"\x7f" * 387))
    with pytest.raises(ValueError, match="cannot be unpacked") as caught, archives.unpacked(path, None, tmp_path):
        pass
    assert "\n" not in str(caught.value)
    wrong = len(list(tmp_path.iterdir())) - 1
    fault("Archive that unpacks to more than the disk shall hold", tries=1, wrong=wrong)
    assert wrong == 0


def test_a_compressed_array_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, fault):
    """In the data folder and among weights: by what the file says that it holds, before any of it is unpacked."""
    monkeypatch.setattr(archives, "LIMIT", 2**20)
    model = models.RegressionCNN(num_filters=1)
    bound = 4 * sum(tensor.nbytes for tensor in model.state_dict().values()) + 2**20
    with zipfile.ZipFile(tmp_path / "cifar10.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", bytes(bound + 1))
    (tmp_path / "weights.npz").write_bytes((tmp_path / "cifar10.npz").read_bytes())
    with pytest.raises(ValueError, match="unpacks to more than"):
        data.load("cifar10", tmp_path)
    with pytest.raises(ValueError, match="is damaged or holds more"):
        models.load_weights(model, tmp_path / "weights.npz")
    assert sorted(contents(tmp_path)) == ["cifar10.npz", "weights.npz"]
    np.savez(tmp_path / "good.npz", **{name: tensor.numpy() for name, tensor in model.state_dict().items()})
    models.load_weights(model, tmp_path / "good.npz")
    fault("Array file that unpacks to more than it may hold", tries=2)
