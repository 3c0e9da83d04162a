"""Pictures before and after, one over the other, and a slider that moves the border: no library, no network.

Pages without scripts, and print, show both in rows instead.
"""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from convnets.figures import picture_rows

STYLE = """
#ID .pairs { display: flex; flex-wrap: wrap; gap: 8px }
#ID .pair { position: relative; max-width: 100% }
#ID .pair img { display: block; width: 100%; image-rendering: pixelated; background: none; border-radius: 0 }
#ID .pair img + img { position: absolute; inset: 0; height: 100%; clip-path: inset(0 0 0 var(--border)) }
#ID .pair::after { content: ""; position: absolute; inset: 0 auto 0 var(--border); width: 0; outline: 1px solid #fff }
#ID label { display: flex; gap: 8px; align-items: center; margin-top: 8px }
#ID input { flex: 1; max-width: 20em }
"""
SCRIPT = """
(() => {
  const root = document.getElementById("ID");
  if (root.querySelector("input")) return;
  root.append(root.querySelector("template").content.cloneNode(true));
  const slider = root.querySelector("input"), [before, after] = root.querySelectorAll("label span");
  const move = () => {
    const share = slider.value;
    root.style.setProperty("--border", `${share}%`);
    slider.setAttribute("aria-valuetext",
      `${before.textContent} ${share} %, ${after.textContent} ${100 - share} %`);
  };
  slider.addEventListener("input", move);
  move();
})();
"""


@dataclass(frozen=True)
class BeforeAfter:
    """What `before_after` returns: shown by notebooks and pages with a slider, on paper as two rows of pictures."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    labels: tuple[str, str]
    scale: int
    alt: str

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        return {"text/html": self.html(), "image/svg+xml": self.svg(), "text/plain": self.alt}

    def html(self) -> str:
        """One element: the still picture for pages without scripts, and a template with the slider that a script adds.

        What turns the page into print leaves out templates and scripts, so that the still picture remains.
        """
        width = self.first.shape[2] * self.scale
        pairs = "".join(
            f'<div class="pair" style="width: {width}px">'
            + "".join(f'<img alt="" src="{_png(image)}">' for image in pair)
            + "</div>"
            for pair in zip(self.first, self.second, strict=True)
        )
        before, after = map(escape, self.labels)
        slider = (
            f"<label><span>{before}</span>"
            '<input type="range" min="0" max="100" value="50" autocomplete="off">'
            f"<span>{after}</span></label>"
        )
        still = base64.b64encode(self.svg().encode()).decode()
        name = f"before-after-{hashlib.sha256((pairs + slider).encode()).hexdigest()[:12]}"
        style, script = (text.replace("ID", name) for text in (STYLE, SCRIPT))
        return (
            f'<div id="{name}" role="group" aria-label="{escape(self.alt)}">'
            f'<noscript><img alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{still}"></noscript>'
            f'<template><style>{style}</style><div class="pairs">{pairs}</div>{slider}</template>'
            f"<script>{script}</script></div>"
        )

    def svg(self) -> str:
        """Both as rows of pictures, named at the left."""
        figure = picture_rows(dict(zip(self.labels, (self.first, self.second), strict=True)), len(self.first))
        drawing = io.StringIO()
        with mpl.rc_context({"svg.hashsalt": "benchbook"}):  # the same pictures have the same bytes
            figure.savefig(drawing, format="svg", metadata={"Date": None})
        return drawing.getvalue()


def before_after(
    first: ArrayLike, second: ArrayLike, labels: tuple[str, str] = ("before", "after"), scale: int = 4, alt: str = ""
) -> BeforeAfter:
    """Pictures before and after with one slider for all: what a notebook shows of it is `BeforeAfter`.

    `first` and `second` are uint8 [N, H, W, 3], or one picture [H, W, 3]; left of the slider stands `first`. Each of
    their pixels is `scale` pixels wide on the page; `alt` says what is seen, in words. Raises ValueError for pictures
    of other shapes or kinds, for equal labels and for a scale below 1.
    """
    before, after = (np.asarray(images) for images in (first, second))
    if before.ndim == 3:
        before, after = before[None], after[None]
    shapes = before.shape == after.shape and before.ndim == 4 and before.shape[-1] == 3
    if not shapes or before.dtype != np.uint8 or after.dtype != np.uint8:
        raise ValueError(
            f"pictures are {before.dtype} {before.shape} and {after.dtype} {after.shape}: "
            "give two uint8 arrays of one shape, [N, H, W, 3] or [H, W, 3]"
        )
    one, other = labels
    if one == other or scale < 1:
        raise ValueError(f"labels {labels} and scale {scale}: give two different labels and a scale of 1 or more")
    return BeforeAfter(before, after, (one, other), scale, alt or f"The same pictures twice: {one} and {other}.")


def _png(image: NDArray[np.uint8]) -> str:
    """The image as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
