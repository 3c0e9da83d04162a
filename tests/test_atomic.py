"""A folder takes another's place whole, or the other stays."""

from __future__ import annotations

import pytest

from benchbook import atomic


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed"])
def folders(request, tmp_path, monkeypatch):
    """An old folder and its successor, on a file system that can exchange the two and on one that cannot."""
    if not request.param:
        monkeypatch.setattr(atomic, "_exchanged", lambda one, other: False)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    return tmp_path / "new", tmp_path / "old"


def test_the_new_takes_the_place_of_the_old(folders):
    new, old = folders
    atomic.replace(new, old)
    assert [path.name for path in old.iterdir()] == ["new"]
    assert list(old.parent.iterdir()) == [old]


def test_where_the_new_is_missing_the_old_stays(folders):
    new, old = folders
    (new / "new").unlink()
    new.rmdir()
    with pytest.raises(FileNotFoundError):
        atomic.replace(new, old)
    assert [path.name for path in old.iterdir()] == ["old"]
