"""Archives from the network: whole and verified, or not there at all; unpacked into a folder and never beside it."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def fetch(url: str, path: Path, md5: str | None, what: str) -> None:
    """Download `url` to `path`, which appears whole and with the right MD5, or not.

    Raises FileNotFoundError, which names the remedy, where that cannot be done; `what` is the data set's name in it.
    """
    from torchvision.datasets.utils import download_url

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as part:  # half a download never lies where a whole one does
            download_url(url, part, filename=path.name, md5=md5)
            Path(part, path.name).replace(path)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{what} is not in {path.parent} and could not be downloaded ({error}): "
            f"put {url} into that folder, or name another folder with DATA_ROOT"
        ) from None


@contextmanager
def unpacked(path: Path, md5: str | None, parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder below `parent` (default: the system's) with what the .tar.gz holds.

    Raises ValueError, which names the remedy, where it is not the published archive (MD5), is damaged or ends early, or
    holds a member that leads out of the folder.
    """
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        with path.open("rb") as file:
            if md5 and hashlib.file_digest(file, "md5").hexdigest() != md5:
                raise ValueError(f"{path} is not the published archive: remove it, so that it is fetched again")
            try:
                file.seek(0)
                with gzip.open(file) as stream:  # to its end, where its checksum stands: tarfile stops before
                    while stream.read(2**20):
                        pass
                file.seek(0)
                with tarfile.open(fileobj=file) as archive:
                    archive.extractall(folder, filter="data")  # refuses members that lead out of the folder
            except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
                if isinstance(error, OSError) and error.errno:  # a full disk, say: not the archive's fault
                    raise
                words = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ValueError(
                    f"{path} cannot be unpacked ({words}): remove it, so that it is fetched again"
                ) from None
        yield Path(folder)
