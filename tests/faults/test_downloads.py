"""A server on this machine that misbehaves: what it sends is never used, and never half kept."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import random
import tarfile
import threading
import time

import pytest

from convnets import archives

PAGE = b"<!DOCTYPE html><title>404</title><p>The archive has moved.</p>"


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends the server's content, damaged as it says; `how` is emptied when the server is to behave again."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content, how = self.server.content, self.server.how
        sent = {"truncated": content[: len(content) // 2], "short header": content[: len(content) // 2]}.get(how)
        if how == "flipped":
            sent = bytearray(content)
            sent[self.server.chance.randrange(len(sent))] ^= 1 << self.server.chance.randrange(8)
        if how in ("page", "error page"):
            sent = PAGE
        sent = content if sent is None else sent
        self.send_response({"error page": 404, "broken": 500}.get(how, 200))
        self.send_header("Content-Length", str(len(sent if how == "short header" else content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if how == "stalls":
            self.wfile.write(sent[:100])
            self.wfile.flush()
            self.server.over.wait(20)
        elif how == "drips":
            for byte in sent[:1000]:
                if self.server.over.wait(0.05):
                    break
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
        else:
            self.wfile.write(sent)
        self.close_connection = True

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client has gone, as it should
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    """A server with an archive, at `address`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        made.how, made.over, made.chance = "", threading.Event(), random.Random(0)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            member = tarfile.TarInfo("held/file")
            member.size = 20_000
            archive.addfile(member, io.BytesIO(random.Random(1).randbytes(20_000)))
        made.content = buffer.getvalue()
        made.address = f"http://127.0.0.1:{made.server_port}/archive.tar.gz"
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.over.set()
        made.shutdown()


NAMES = {
    "truncated": "Download cut short",
    "short header": "Download cut short, its length announced as such",
    "flipped": "Download with one bit flipped",
    "page": "HTML page in place of the archive (status 200)",
    "error page": "HTML error page in place of the archive (status 404)",
    "broken": "Server error in place of the archive (status 500)",
    "stalls": "Server that stalls",
    "drips": "Server that sends a byte now and then",
}


@pytest.mark.parametrize("checked", ["md5", "sha256", "gzip"])
@pytest.mark.parametrize("how", NAMES)
def test_a_bad_download_is_refused_and_the_next_one_works(server, tmp_path, monkeypatch, fault, tries, how, checked):
    """By the published hash, or by the archive's own checksum: one line, nothing kept; then the good one arrives."""
    monkeypatch.setattr(archives, "TIMEOUT", 0.3)
    digest = None if checked == "gzip" else hashlib.new(checked, server.content).hexdigest()
    kind = "md5" if checked == "gzip" else checked
    wrong = lost = 0
    number = tries(1, 7)
    for turn in range(number):
        path = tmp_path / str(turn) / "archive.tar.gz"
        server.how = how
        began = time.monotonic()
        try:
            archives.fetch(server.address, path, digest, "The set", kind)
            # A bit of gzip's own header may be flipped without harm to what the archive holds.
            wrong += not (checked == "gzip" and gzip.decompress(path.read_bytes()) == gzip.decompress(server.content))
            path.unlink()
        except FileNotFoundError as error:
            said = str(error)
        else:
            said = f"{server.address} DATA_ROOT"
        assert "\n" not in said
        assert server.address in said
        assert "DATA_ROOT" in said
        assert time.monotonic() - began < 15
        wrong += bool(list(path.parent.iterdir()))
        server.how = ""
        archives.fetch(server.address, path, digest, "The set", kind)
        lost += path.read_bytes() != server.content
    fault(NAMES[how], tries=number, wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


def test_a_download_without_end_is_stopped(server, tmp_path, monkeypatch, fault):
    """More than any archive can be is not written to the disk."""
    monkeypatch.setattr(archives, "LIMIT", 10_000)
    with pytest.raises(FileNotFoundError, match="more than"):
        archives.fetch(server.address, tmp_path / "archive.tar.gz", None, "The set")
    wrong = len(list(tmp_path.iterdir()))
    fault("Download larger than any archive can be", tries=1, wrong=wrong)
    assert wrong == 0


def test_nobody_answers(tmp_path, fault):
    """No server at all: one line that says where to put the file."""
    with pytest.raises(FileNotFoundError, match="could not be downloaded") as caught:
        archives.fetch("http://127.0.0.1:9/archive.tar.gz", tmp_path / "archive.tar.gz", "0" * 32, "The set")
    assert "\n" not in str(caught.value)
    fault("Nobody answers a download", tries=1, wrong=len(list(tmp_path.iterdir())))
    assert not list(tmp_path.iterdir())
