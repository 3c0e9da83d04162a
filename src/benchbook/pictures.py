"""The pictures that executed notebooks hold, as files that are named by their content."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchbook import atomic
from benchbook.experiments import code_cells
from benchbook.lines import LINES
from benchbook.outputs import still, text_of

KINDS = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
INDEX = "index.json"
# What two drawings of the same by matplotlib differ in: the date, and names that are drawn at random.
CHANCE = re.compile(rb'<dc:date>[^<]*|(id="|#)[a-z]+[0-9a-f]{10}\b')
ROLE = re.compile(r"\{[\w:-]+\}`([^`]*)`")


class Pictures:
    """A folder with the pictures of notebooks; each notebook is read once, and known again by its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        self.known: dict[str, list[dict[str, str]]] = json.loads(path.read_text()) if path.is_file() else {}
        self.used: dict[str, list[dict[str, str]]] = {}

    def of(self, notebook: Path, digest: str) -> list[dict[str, str]]:
        """The pictures of a notebook: 'place' (code cell and picture in it, as '3.1'), 'name' and 'file' of each."""
        found = self.known.get(digest)
        if found is None or not all((self.folder / picture["file"]).is_file() for picture in found):
            try:
                found = self._write(json.loads(notebook.read_text(encoding="utf-8")))
            except (OSError, ValueError):  # a damaged run of somebody's own stops no book
                return []
        self.used[digest] = found
        return found

    def close(self) -> None:
        """Keeps what was asked for and removes the files of all other pictures."""
        keep = {INDEX, *(picture["file"] for found in self.used.values() for picture in found)}
        for path in self.folder.iterdir():
            if path.name not in keep:
                path.unlink()
        atomic.write(self.folder / INDEX, json.dumps(self.used).encode())

    def _write(self, notebook: Mapping[str, Any]) -> list[dict[str, str]]:
        found = []
        for number, cell in enumerate(code_cells(notebook), start=1):
            for place, (kind, content) in enumerate(shown(cell), start=1):
                file = put(self.folder, kind, content).name
                found.append({"place": f"{number}.{place}", "name": _name(cell, number), "file": file})
        return found


def put(folder: Path, kind: str, content: bytes) -> Path:
    """The file in `folder` with this picture, written under a name that its content decides."""
    path = folder / f"{hashlib.sha256(CHANCE.sub(b'', content)).hexdigest()[:24]}.{kind}"
    atomic.write(path, content)  # a picture that is there counts as whole
    return path


def shown(cell: Mapping[str, Any], kinds: Mapping[str, str] = KINDS) -> Iterator[tuple[str, bytes]]:
    """The kind and the content of every output of a cell that is of one of these kinds; by default, every picture."""
    for output in cell.get("outputs", ()):
        data = {kind: text_of(content) for kind, content in output.get("data", {}).items()}
        if not still(data.get("image/svg+xml", "")):
            del data["image/svg+xml"]
        kind = next((kind for kind in kinds if kind in data), None)
        if kind is not None:
            text = data[kind]
            yield kinds[kind], base64.b64decode(text) if kinds[kind] in ("png", "jpg") else text.encode()


def numbers(cell: Mapping[str, Any], kinds: Mapping[str, str] = KINDS) -> list[dict[str, Any] | None]:
    """For every output that `shown` gives, the numbers behind the lines of a drawing; None where it has none."""
    outputs = [output for output in cell.get("outputs", ()) if any(kind in output.get("data", {}) for kind in kinds)]
    return [output.get("metadata", {}).get(LINES) for output in outputs]


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
