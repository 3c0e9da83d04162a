"""Fewer bytes. Of pictures: every pixel stays as it is, and what a drawing's file owes to chance is gone."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# What two drawings of the same by matplotlib differ in: the date, and names that are drawn at random.
DATE = re.compile(rb"<dc:date>[^<]*</dc:date>")
NAME = re.compile(rb'(id="|#)([a-z]+)([0-9a-f]{10})\b')
EMBEDDED = re.compile(rb"data:image/png;base64,([\sA-Za-z0-9+/=]*)")
DRAWN = b"Matplotlib v"  # its unit is the point, so that a hundredth of it cannot be seen; of other drawings who knows
PLACES = re.compile(rb'\sd="[^"]*"|<use [^>]*>|\btranslate\([^)]*\)')
MOVED = re.compile(rb'<use (xlink:href="#[^"]*" )transform="translate\(([-.\d]+) ([-.\d]+)\)"/>')
TOLD = {"icc_profile", "gamma", "chromaticity"}  # what a picture's numbers mean as colours
LONG = re.compile(rb"-?\d+\.\d{3,}")
FINE = re.compile(rb"-?\d+\.\d{2,}")
PATH = re.compile(rb'(?<= d=")[^"]+')
STEPS = re.compile(rb"[MLQCZmlqcz\d\s.-]+")  # a path of the commands that matplotlib writes
SHORT = 100  # bytes of a path up to which it stays as it is: a script reads a frame's corners
COMMAND = re.compile(rb"([A-Za-z])([^A-Za-z]*)")
NUMBER = re.compile(rb"-?\d*\.?\d+")
POINTS = {"m": 1, "l": 1, "q": 2, "c": 3}  # that a path's command takes


def compressed(kind: str, content: bytes) -> bytes:
    """The same picture in fewer bytes; one of a kind other than svg and png, and what is no picture, as it is."""
    known: dict[str, Callable[[bytes], bytes]] = {"svg": compressed_svg, "png": compressed_png}
    return known[kind](content) if kind in known else content


def compressed_svg(content: bytes) -> bytes:
    """The drawing with its pixels compressed, and by matplotlib also with numbers to a hundredth of a point.

    Two drawings of the same have the same bytes; the names inside two others differ, so that a page may hold both.
    """
    content = EMBEDDED.sub(lambda found: _embedded(found[1]), DATE.sub(b"", content))
    if DRAWN in content:
        content = PLACES.sub(lambda found: LONG.sub(_rounded, found[0]), content)
        content = MOVED.sub(lambda found: rb'<use %sx="%s"%s/>' % (found[1], found[2], _down(found[3])), content)
        content = PATH.sub(_shorter, re.sub(rb"\n\s+", b"\n", content))
    # as the notebook's renderer writes lines, so that the same drawing has the same name wherever it comes from
    content = b"\n".join(content.splitlines())
    drawing = hashlib.sha256(NAME.sub(rb"\1\2", content)).hexdigest()
    names: dict[bytes, bytes] = {}

    def renamed(found: re.Match[bytes]) -> bytes:
        name = hashlib.sha256(f"{drawing} {len(names)}".encode()).hexdigest()[:10].encode()
        return found[1] + names.setdefault(found[2] + found[3], found[2] + name)

    return NAME.sub(renamed, content)


def coarse(svg: bytes) -> bytes:
    """The drawing with its paths to a tenth of a unit, which is as much as a screen shows."""
    return PATH.sub(_coarser, svg)


def _shorter(path: re.Match[bytes]) -> bytes:
    return _relative(path[0], 1) if len(path[0]) > SHORT and STEPS.fullmatch(path[0]) else path[0]


def _coarser(path: re.Match[bytes]) -> bytes:
    if STEPS.fullmatch(path[0]) and (len(path[0]) > SHORT or path[0].startswith(b"m")):
        return _relative(path[0], 10)
    return b" ".join(FINE.sub(_tenth, path[0]).split())


def _tenth(number: re.Match[bytes]) -> bytes:
    return f"{float(number[0]):.1f}".removesuffix(".0").encode()


def _relative(path: bytes, grid: int) -> bytes:
    """The same path, each point by its distance from the last: fewer digits. Points lie on a grid of hundredths.

    Places are counted from the beginning, so that nothing adds up on the way.
    """
    written: list[str] = []
    start = place = (0.0, 0.0)  # as it is meant
    first = last = (0, 0)  # as it is on the grid
    for command, text in COMMAND.findall(path):
        name = command.decode().lower()
        numbers = [float(number) for number in NUMBER.findall(text)]
        size = 2 * POINTS.get(name, 0)
        if name == "z":
            written.append("z")
            place, last = start, first
        elif not size or not numbers or len(numbers) % size:
            return path
        for at in range(0, len(numbers), size or 1):
            origin = (0.0, 0.0) if command.isupper() else place
            points = [
                (origin[0] + x, origin[1] + y)
                for x, y in zip(numbers[at : at + size : 2], numbers[at + 1 : at + size : 2], strict=True)
            ]
            snapped = [(round(100 * x / grid), round(100 * y / grid)) for x, y in points]
            written.append(name + _joined([n - m for there in snapped for n, m in zip(there, last, strict=True)], grid))
            place, last = points[-1], snapped[-1]
            if name == "m":
                start, first, name = place, last, "l"
    return "".join(written).encode()


def _joined(counts: list[int], grid: int) -> str:
    """So many grids each, in as few characters as a path needs: '.5-3 12'."""
    texts = [f"{count * grid / 100:.2f}".rstrip("0").rstrip(".") for count in counts]
    texts = [re.sub(r"^(-?)0\.", r"\1.", text) for text in texts]
    return re.sub(r" (?=-)|(?<=\.\d) (?=\.)|(?<=\.\d\d) (?=\.)", "", " ".join(texts))


def _down(places: bytes) -> bytes:
    return b"" if places == b"0" else b' y="%s"' % places


@functools.lru_cache(maxsize=256)  # the drawings of a chapter share many pictures
def _embedded(code: bytes) -> bytes:
    """A data URI of the same pixels: as WebP where that is shorter, which browsers and Typst read inside drawings."""
    content = compressed_png(base64.b64decode(code))
    other = _webp(content)
    kind, content = (b"webp", other) if other and len(other) < len(content) else (b"png", content)
    return b"data:image/%s;base64,%s" % (kind, base64.b64encode(content))


def _webp(content: bytes) -> bytes | None:
    """The same pixels as lossless WebP; None where it has no such pixels."""
    from PIL import Image

    target = io.BytesIO()
    with contextlib.suppress(OSError, ValueError), Image.open(io.BytesIO(content)) as image:
        single = getattr(image, "n_frames", 1) == 1
        if image.mode in ("L", "P", "RGB", "RGBA") and single and not TOLD & image.info.keys():
            found = image.convert("RGBA" if image.has_transparency_data else "RGB")
            found.save(target, "WEBP", lossless=True, quality=20, method=6, exact=True)
    return target.getvalue() or None


def _rounded(number: re.Match[bytes]) -> bytes:
    written = f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
    return b"0" if written == "-0" else written.encode()


def compressed_png(content: bytes) -> bytes:
    """The same pixels as shades of grey or by a palette where that is shorter."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            told = TOLD & image.info.keys()
            if image.format != "PNG" or getattr(image, "n_frames", 1) > 1 or image.mode.startswith("I") or told:
                return content
            density = {"dpi": image.info["dpi"]} if "dpi" in image.info else {}
            drafts = list(_drafts(image.convert("RGBA")))
    except (OSError, ValueError):  # not for us to judge: who shows it will say so
        return content
    found = [content]
    for draft in drafts:
        target = io.BytesIO()
        draft.save(target, "PNG", optimize=True, **density)
        found.append(target.getvalue())
    return min(found, key=len)


def _drafts(image: Any) -> Iterator[Any]:
    """The picture in as few channels as it has, and by a palette where it has colours, and few of them."""
    import numpy as np
    from PIL import Image

    pixels = np.array(image)
    opaque = bool((pixels[..., 3] == 255).all())
    grey = bool((pixels[..., :1] == pixels[..., 1:3]).all())
    channels = pixels[..., [0] * grey + [0, 1, 2] * (not grey) + [3] * (not opaque)]
    yield Image.fromarray(channels.squeeze(-1) if channels.shape[-1] == 1 else channels)
    if not grey and image.getcolors(256):
        colours, places = np.unique(pixels.view(np.uint32), return_inverse=True)
        table = colours.view(np.uint8).reshape(-1, 4)
        drawn = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8)).convert("P")
        drawn.putpalette(table[:, :3].tobytes())
        if not opaque:
            drawn.info["transparency"] = table[:, 3].tobytes()
        yield drawn


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A ZIP whose bytes depend on its members alone."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, members[name])
    return target.getvalue()
