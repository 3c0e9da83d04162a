"""`make audit`: what it finds, and what it says where nobody can be asked."""

from __future__ import annotations

import json
import subprocess
import types

import pytest

from tests import audit

# Put together here, so that no secret stands in this file.
PLANTED = {
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a key of a cloud": "AKIA" + "A1" * 8,
    "a token of a forge": "gh" + "p_" + "a1" * 18,
    "a token of a registry": "pypi-" + "AgEI" + "a1" * 20,
    "a token of a service": "xox" + "b-" + "1234567890-abc",
    "a signed token": ".".join(("ey" + "J" + "a" * 20, "ey" + "J" + "b" * 20, "c" * 20)),
    "a password": "pass" + "word = 'correct-horse'",
    "an address with a password": "https:" + "//user:" + "horse@host/",
}


def test_a_secret_in_a_tracked_file_is_found_and_not_shown(tmp_path):
    """Each kind by file and line; a file that git does not track is nobody's business."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for number, text in enumerate(PLANTED.values()):
        (tmp_path / f"file{number}").write_text(f"one line\n{text}\n")
    subprocess.run(["git", "-C", tmp_path, "add", "-A"], check=True)
    (tmp_path / "untracked").write_text("\n".join(PLANTED.values()))
    found = audit.secrets(tmp_path)
    assert found == [f"file{number}:2: this looks like {kind}" for number, kind in enumerate(PLANTED)]


def test_this_tree_holds_no_secret_and_no_licence_is_unknown():
    """What `make audit` says of this project without a network."""
    assert audit.secrets(audit.ROOT) == []
    assert audit.licences() == []


@pytest.mark.parametrize(
    ("text", "free"),
    [("MIT", True), ("BSD-3-Clause", True), ("Apache-2.0 AND MIT", True), ("", False), ("Proprietary", False),
     ("LicenseRef-NVIDIA-Proprietary", False), ("Some licence of our own", False)],
)  # fmt: skip
def test_a_licence_is_free_or_is_named(monkeypatch, text, free):
    """A package without a free licence is told by its name."""
    package = types.SimpleNamespace(
        metadata=type("Data", (dict,), {"get_all": lambda self, key: []})(
            {"Name": "thing", "License-Expression": text}
        ),
        files=[],
    )
    monkeypatch.setattr(audit.importlib.metadata, "distributions", lambda: [package])
    assert audit.licences() == ([] if free else [f"thing: licence {text or 'unknown'}"])


def test_where_nobody_can_be_asked_it_says_so(tmp_path, monkeypatch, capsys):
    """Without the service of vulnerabilities all else is checked, one line says what was not, and the status is 3."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("six==1.16.0 --hash=sha256:" + "0" * 64 + "\n")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert audit.vulnerabilities(lock) == ([], False)
    monkeypatch.setattr(audit, "vulnerabilities", lambda lock: ([], False))
    assert audit.main() == 3
    assert capsys.readouterr().out.count("NOT checked") == 1


def test_a_mirror_that_knows_no_advisories_has_not_been_asked(monkeypatch, tmp_path):
    """Every package skipped is no answer; one skipped among others is named, because nobody has looked at it."""
    skipped = {"name": "thing", "version": "1", "skip_reason": "not found"}
    for others, expected in (
        ([], ([], False)),
        ([{"name": "b", "vulns": []}], (["thing: not checked: not found"], True)),
    ):
        said = types.SimpleNamespace(stdout=json.dumps({"dependencies": [skipped, *others]}))
        with monkeypatch.context() as patched:
            patched.setattr(audit.subprocess, "run", lambda *_, said=said, **__: said)
            assert audit.vulnerabilities(tmp_path) == expected


def test_a_known_vulnerability_is_named(monkeypatch, capsys, tmp_path):
    """With its package, its number and the version that mends it; the status is 1."""
    known = {"name": "thing", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    said = types.SimpleNamespace(
        stdout=json.dumps({"dependencies": [known, {"name": "other", "version": "1", "vulns": []}]})
    )
    with monkeypatch.context() as patched:
        patched.setattr(audit.subprocess, "run", lambda *_, **__: said)
        assert audit.vulnerabilities(tmp_path) == (["thing 1: CVE-1, mended in 2"], True)
    monkeypatch.setattr(audit, "vulnerabilities", lambda lock: (["thing 1: CVE-1, mended in 2"], True))
    assert audit.main() == 1
    assert "audit: thing 1: CVE-1" in capsys.readouterr().out
