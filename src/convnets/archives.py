"""Files from the network: whole and verified, or not there at all; archives unpacked into a folder, never beside it.

Files that somebody put into the data folder are held against the SHA256SUMS beside them, where there are any.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import tarfile
import tempfile
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TIMEOUT = 30.0  # seconds of silence after which a server has stalled
SLOWEST = 1024  # bytes a second; one that sends less has stalled as well
LIMIT = 2**31  # bytes of a download, and of all that an archive holds
MEMBERS = 100_000  # of an archive
SUMS = "SHA256SUMS"


def fetch(url: str, path: Path, digest: str | None, what: str, kind: str = "md5", variable: str = "DATA_ROOT") -> None:
    """Download `url` to `path`, which appears whole and verified, or not.

    `digest` is the file's hash of that `kind`, or how it begins; of a .tar.gz without one its own checksum has to do.
    Raises FileNotFoundError, which names the remedy, where that cannot be done; `what` is the data set's name in it,
    `variable` the one that names the folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as part:  # half a download never lies where a whole one does
            arrived = Path(part, path.name)
            with arrived.open("w+b") as file:
                _download(url, file)
                _check_digest(file, digest, kind) if digest else _check_whole(file)
            arrived.replace(path)
    except (OSError, ValueError, EOFError, zlib.error, http.client.HTTPException) as error:
        raise FileNotFoundError(
            f"{what} is not in {path.parent} and could not be downloaded ({_words(error)}): "
            f"put {url} into that folder, or name another folder with {variable}"
        ) from None


def _download(url: str, file: IO[bytes]) -> None:
    """Writes what the address has into a file; raises OSError or ValueError for less, for more than LIMIT, and late."""
    began, received = time.monotonic(), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 - the addresses are our own
        expected = int(response.headers.get("Content-Length") or -1)
        while chunk := response.read1(2**18):
            file.write(chunk)
            received += len(chunk)
            if received > LIMIT:
                raise ValueError(f"more than {LIMIT / 1e9:.1f} GB arrived")
            if time.monotonic() - began > TIMEOUT + received / SLOWEST:
                raise TimeoutError(f"the server sends less than {SLOWEST} bytes a second")
    if expected >= 0 and received != expected:
        raise ValueError(f"{received} of {expected} bytes arrived")


def _check_digest(file: IO[bytes], digest: str, kind: str) -> None:
    file.seek(0)
    found = hashlib.file_digest(file, kind).hexdigest()  # type: ignore[arg-type]
    if not found.startswith(digest):
        raise ValueError(f"what arrived is not the published file: its {kind} is {found}")


def verified(path: Path) -> bytes:
    """The bytes of a file; raises ValueError where SHA256SUMS in its folder gives it another hash."""
    content = path.read_bytes()
    sums = path.with_name(SUMS)
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    wanted = [line.split()[0] for line in lines if line.split()[1:] in ([path.name], [f"*{path.name}"])]
    if wanted and hashlib.sha256(content).hexdigest() not in wanted:
        raise ValueError(f"{path} is not the file that {sums} names: replace it, or remove its line there")
    return content


@contextmanager
def unpacked(path: Path, md5: str | None, parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder below `parent` (default: the system's) with what the .tar.gz holds.

    Raises ValueError, which names the remedy, where it is not the published archive (MD5), is damaged or ends early,
    holds a link, a device or a name that leads out of the folder, or more than LIMIT bytes or MEMBERS members.
    """
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        with path.open("rb") as file:
            if md5 and hashlib.file_digest(file, "md5").hexdigest() != md5:
                raise ValueError(f"{path} is not the published archive: remove it, so that it is fetched again")
            try:
                _check_whole(file)
                file.seek(0)
                with tarfile.open(fileobj=file) as archive:
                    _check_members(archive)
                    archive.extractall(folder, filter="data")  # refuses names that lead out of the folder
            except (tarfile.TarError, EOFError, zlib.error, ValueError, OSError) as error:
                if isinstance(error, OSError) and error.errno:  # a full disk, say: not the archive's fault
                    raise
                raise ValueError(
                    f"{path} cannot be unpacked ({_words(error)}): remove it, so that it is fetched again"
                ) from None
        yield Path(folder)


def _check_whole(file: IO[bytes]) -> None:
    """Reads a .gz to its end, where its checksum stands: tarfile stops before."""
    file.seek(0)
    size = 0
    with gzip.open(file) as stream:
        while chunk := stream.read(2**20):
            size += len(chunk)
            if size > LIMIT:
                raise ValueError(f"it holds more than {LIMIT / 1e9:.1f} GB")


def _check_members(archive: tarfile.TarFile) -> None:
    """Files and folders only, and not too much: a sparse member is large, and takes no room in the archive."""
    size = 0
    for number, member in enumerate(archive):
        size += member.size
        if not (member.isreg() or member.isdir()):
            raise ValueError(f"{member.name!r} in it is a link or a device")
        if size > LIMIT or number >= MEMBERS:
            raise ValueError(f"it holds more than {LIMIT / 1e9:.1f} GB or {MEMBERS:,} files")


def check_zip(file: IO[bytes], limit: int) -> None:
    """Raises ValueError where the file is a .zip that unpacks to more than `limit` bytes or has a wrong checksum."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > limit:
                raise ValueError(f"it unpacks to more than {limit:,} bytes")
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} in it is damaged")
    file.seek(0)


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
