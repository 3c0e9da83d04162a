"""The pictures that executed notebooks hold: compressed once, and kept as files that are named by their content."""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchbook import atomic, compression
from benchbook.experiments import code_cells
from benchbook.lines import LINES
from benchbook.outputs import still, text_of

KINDS = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
LARGE = 15_000  # bytes of a picture that the site keeps once, and a notebook to take away only names
PIXELS = ("png", "jpg")
ROLE = re.compile(r"\{[\w:-]+\}`([^`]*)`")


class Compressed:
    """Compressed pictures, each kept in `folder` under the SHA-256 of what it was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.salt = Path(compression.__file__).read_bytes()  # compressed in another way, they are others
        self.index = folder / f"{hashlib.sha256(self.salt).hexdigest()}.json"
        self.used = {self.index.name}
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, kind: str, content: bytes) -> bytes:
        """The picture in few bytes, compressed now unless it has been before."""
        path = self.folder / f"{hashlib.sha256(self.salt + content).hexdigest()}.{kind}"
        self.used.add(path.name)
        if path.is_file():
            return path.read_bytes()
        found = compression.compressed(kind, content)
        atomic.write(path, found)
        return found

    def in_notebook(self, notebook: dict[str, Any]) -> dict[str, Any]:
        """The notebook, with every picture among its outputs compressed in place."""
        for cell in code_cells(notebook):
            for data in (output["data"] for output in cell.get("outputs", ()) if "data" in output):
                for mime, kind in KINDS.items():
                    if mime in data:
                        with contextlib.suppress(ValueError):  # what cannot be decoded is not for us to judge
                            data[mime] = _written(kind, self.of(kind, _content(kind, text_of(data[mime]))))
        return notebook

    def close(self) -> None:
        """Removes all that nobody has asked for."""
        for path in self.folder.iterdir():
            if path.name not in self.used:
                path.unlink()


class Pictures:
    """Puts the pictures of notebooks into a folder; each notebook is read once, and known again by its SHA-256."""

    def __init__(self, folder: Path, compressed: Compressed) -> None:
        self.folder, self.compressed = folder, compressed
        path = compressed.index
        self.known: dict[str, list[dict[str, Any]]] = json.loads(path.read_text()) if path.is_file() else {}
        self.used: dict[str, list[dict[str, Any]]] = {}

    def of(self, notebook: Path, digest: str) -> list[dict[str, Any]]:
        """A notebook's pictures: 'place' (code cell and picture in it, as '3.1'), 'name', 'file' and its 'bytes'."""
        found = self.known.get(digest)
        if found is None:
            try:
                found = self._write(json.loads(notebook.read_text(encoding="utf-8")))
            except (OSError, ValueError):  # a damaged run of somebody's own stops no book
                return []
        self.used[digest] = found
        return found

    def show(self, notebook: Path, found: Iterable[Mapping[str, Any]]) -> None:
        """Sees that the files of these pictures of a notebook are there."""
        if not all((self.folder / picture["file"]).is_file() for picture in found):
            self._write(json.loads(notebook.read_text(encoding="utf-8")))

    def close(self) -> None:
        """Keeps in mind what was asked for."""
        atomic.write(self.compressed.index, json.dumps(self.used).encode())

    def _write(self, notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = []
        for number, cell in enumerate(code_cells(notebook), start=1):
            for place, (kind, content) in enumerate(shown(cell), start=1):
                small = self.compressed.of(kind, content)
                told = {"file": put(self.folder, kind, small).name, "bytes": len(small)}
                found.append({"place": f"{number}.{place}", "name": _name(cell, number), **told})
        return found


def put(folder: Path, kind: str, content: bytes) -> Path:
    """The file in `folder` with this picture, written under the name that the renderer of notebooks gives it, too."""
    path = folder / f"{hashlib.sha256(content).hexdigest()}.{kind}"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write(path, content)
    return path


def with_links(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook to take away: in the place of large pictures, links to where the site has them.

    A drawing with numbers stands inside its page, without a file of its own, and so stays.
    """
    notebook = copy.deepcopy(notebook)
    for cell in code_cells(notebook):
        for output in (output for output in cell.get("outputs", ()) if "data" in output):
            data = output["data"]
            for mime, kind in KINDS.items():
                content = _content(kind, text_of(data.get(mime)))
                if len(content) > LARGE and not (kind == "svg" and _lines(output)):
                    del data[mime]
                    name = f"{hashlib.sha256(content).hexdigest()}.{kind}"
                    data["text/html"] = (
                        f'<img src="../../_images/{name}" alt="large: in the book&#39;s folder _images">'
                    )
    return notebook


def folder_of(target: Path) -> Path:
    """Where the renderer of notebooks puts pictures for the site in `target`, and so whoever shows one once more."""
    return target.parent / "jupyter_execute"


def shown(cell: Mapping[str, Any], kinds: Mapping[str, str] = KINDS) -> Iterator[tuple[str, bytes]]:
    """The kind and the content of every output of a cell that is of one of these kinds; by default, every picture."""
    for _, mime, text in _shown(cell, kinds):
        yield kinds[mime], _content(kinds[mime], text)


def _shown(cell: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    for output in cell.get("outputs", ()):
        data = {mime: text_of(content) for mime, content in output.get("data", {}).items()}
        if not still(data.get("image/svg+xml", "")):
            del data["image/svg+xml"]
        mime = next((mime for mime in kinds if mime in data), None)
        if mime is not None:
            yield output, mime, data[mime]


def _content(kind: str, text: str) -> bytes:
    """An output's bytes: a notebook has pixels in base64, and any text as lines."""
    return base64.b64decode(text) if kind in PIXELS else text.encode()


def _written(kind: str, content: bytes) -> str:
    return base64.b64encode(content).decode() if kind in PIXELS else content.decode()


def numbers(cell: Mapping[str, Any], kinds: Mapping[str, str] = KINDS) -> list[dict[str, Any] | None]:
    """For every output that `shown` gives, the numbers behind the lines of a drawing; None where it has none."""
    return [_lines(output) if mime == "image/svg+xml" else None for output, mime, _ in _shown(cell, kinds)]


def _lines(output: Mapping[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = output.get("metadata", {}).get(LINES)
    return found


def named(cell: Mapping[str, Any]) -> str:
    """The name that the output of a cell has in the notebook's metadata, or nothing."""
    metadata = cell.get("metadata", {})
    figure = metadata.get("mystnb", {}).get("figure", {})
    return str(figure.get("name") or metadata.get("benchbook", {}).get("name") or "")


def _name(cell: Mapping[str, Any], number: int) -> str:
    """What a picture shows: its caption, else its alternative text, else its cell."""
    settings = cell.get("metadata", {}).get("mystnb", {})
    text = settings.get("figure", {}).get("caption") or settings.get("image", {}).get("alt") or f"cell {number}"
    return ROLE.sub(r"\1", " ".join(str(text).split()))
