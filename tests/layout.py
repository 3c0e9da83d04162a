"""Measures a PDF's pages: what leaves the margins, and words that are printed over one another.

`python -m tests.layout _build/book.pdf` lists it for a whole book; poppler-utils must be there.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageChops

MARGIN = 0.155  # of the page's width, left and right: book.typ's 16.5 %, in which punctuation may hang a little
TOP, BOTTOM = 0.03, 0.97  # of its height: header and page number stand inside
RESOLUTION = 40
WORD = re.compile(r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*?)</word>')


def outside(pdf: Path) -> Iterator[tuple[int, str]]:
    """The pages on which ink stands beyond the margins, with the side; the title page and its like included."""
    words = ["pdftoppm", "-gray", "-r", str(RESOLUTION), str(pdf)]
    stream = io.BytesIO(subprocess.run(words, capture_output=True, check=True).stdout)
    page = 0
    while header := stream.readline():
        assert header.strip() == b"P5"
        width, height = map(int, stream.readline().split())
        stream.readline()
        page += 1
        image = Image.frombytes("L", (width, height), stream.read(width * height))
        box = ImageChops.invert(image).point(lambda level: 255 * (level > 24)).getbbox()
        if box is None:
            yield page, "empty"
            continue
        left, top, right, bottom = (place / size for place, size in zip(box, (width, height) * 2, strict=True))
        sides = {"left": left < MARGIN, "right": right > 1 - MARGIN, "top": top < TOP, "bottom": bottom > BOTTOM}
        yield from ((page, side) for side, beyond in sides.items() if beyond)


def overprinted(pdf: Path) -> Iterator[tuple[int, str, str]]:
    """Pairs of words whose boxes share more than a third of the smaller one, with their page; signs of formulas may."""
    done = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], capture_output=True, text=True, check=True)
    for number, page in enumerate(done.stdout.split("<page ")[1:], start=1):
        boxes = sorted((*map(float, found[:4]), found[4]) for found in WORD.findall(page) if len(found[4]) > 2)
        for place, (left, top, right, bottom, word) in enumerate(boxes):
            for x, y, x_end, y_end, other in boxes[place + 1 :]:
                if x >= right:
                    break
                shared = max(0, min(right, x_end) - x) * max(0, min(bottom, y_end) - max(top, y))
                smaller = min((right - left) * (bottom - top), (x_end - x) * (y_end - y))
                if smaller > 0 and shared > smaller / 3:
                    yield number, word, other


if __name__ == "__main__":
    for found in [*outside(Path(sys.argv[1])), *overprinted(Path(sys.argv[1]))]:
        print(*found)
