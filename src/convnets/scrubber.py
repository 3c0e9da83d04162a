"""A curve that changes from frame to frame, with a slider to move through them: one drawing, no library, no network.

The drawing is an SVG of the last frame, which is what print and pages without scripts show; a few lines of JavaScript
redraw its curve and its dots. Axes and texts take the page's text colour, so that dark pages keep their contrast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 680, 340  # of the drawing, in pixels where the page is wide enough
LEFT, RIGHT, TOP, BOTTOM = 52, 668, 30, 296  # of the axes in it
CURVE, DOTS = "#0072B2", "#D55E00"
STEPS = [1, 2, 5, 10]  # of the ticks

SCRIPT = """
(() => {
  const root = document.getElementById("ID"), find = (name) => root.querySelector(name);
  const data = JSON.parse(find("script").textContent), slider = find("input");
  slider.addEventListener("input", () => {
    const { x, frames, marks, labels } = data, k = slider.value;
    find(".curve").setAttribute("points", x.map((x, i) => `${x / 10},${frames[k][i] / 10}`).join(" "));
    find(".dots").setAttribute("d", marks[k].map(([x, y]) => `M${x / 10} ${y / 10}h.01`).join(""));
    find("output").textContent = labels[k];
    slider.setAttribute("aria-valuetext", labels[k]);
  });
})();
"""


@dataclass(frozen=True)
class Scrubber:
    """Frames of a curve over the same points, beside a fixed one, shown in a notebook or on a page with a slider.

    x, truth: [M]; frames: [F, M]; marks: for each frame an array [K, 2] of points that get a dot, or none at all;
    labels: [F] texts, one for each frame; alt: what the drawing shows, in words. Raises ValueError where these do not
    fit together.
    """

    x: ArrayLike
    truth: ArrayLike
    frames: ArrayLike
    labels: Sequence[str]
    alt: str
    marks: Sequence[ArrayLike] = ()
    names: tuple[str, str, str] = ("truth", "fit", "marks")
    slider: str = "frame"
    xlabel: str = "x"

    def __post_init__(self) -> None:
        x, truth, frames = (np.shape(np.asarray(values)) for values in (self.x, self.truth, self.frames))
        if len(frames) != 2 or not frames[0] or not frames[1:] == x == truth:
            raise ValueError(f"x {x}, truth {truth}, frames {frames}: give [M], [M] and [F, M]")
        if len(self.labels) != frames[0] or len(self.marks) not in (0, frames[0]):
            raise ValueError(f"{len(self.labels)} labels, {len(self.marks)} marks, {frames[0]} frames: give one each")

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        return {"text/html": self.html(), "image/svg+xml": self.svg(), "text/plain": self.alt}

    def html(self) -> str:
        """The drawing, its slider, the frames and the script, in one element."""
        x, _, frames, marks = self._pixels()
        data = {
            "x": x.tolist(),
            "frames": frames.tolist(),
            "marks": [dots.tolist() for dots in marks],
            "labels": list(self.labels),
        }
        code = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        name = f"scrubber-{hashlib.sha256(code.encode()).hexdigest()[:12]}"
        last = len(self.labels) - 1
        return (
            f'<div id="{name}" class="scrubber">{self.svg()}\n<label style="display: block">{escape(self.slider)} '
            f"<output>{escape(self.labels[-1])}</output>"
            f'<input type="range" min="0" max="{last}" value="{last}" autocomplete="off" '
            f'aria-valuetext="{escape(self.labels[-1])}" style="display: block; width: 90%; margin: auto"></label>\n'
            f'<script type="application/json">{code}</script>\n<script>{SCRIPT.replace("ID", name)}</script></div>'
        )

    def svg(self) -> str:
        """The drawing of the last frame."""
        x, truth, frames, marks = self._pixels()
        lines = [_line("truth", x, truth, 'stroke="currentColor" stroke-dasharray="6 3"')]
        lines += [_line("curve", x, frames[-1], f'stroke="{CURVE}" stroke-width="2"')]
        dots = "".join(f"M{a / 10:g} {b / 10:g}h.01" for a, b in marks[-1])
        lines += [f'<path class="dots" d="{dots}" stroke="{DOTS}" stroke-width="7" stroke-linecap="round"/>']
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'style="max-width: 100%; height: auto" role="img" aria-label="{escape(self.alt)}" '
            f'font-family="sans-serif" font-size="13">\n{self._axes()}\n{self._legend()}\n'
            f'<g fill="none" stroke-linejoin="round">{"".join(lines)}</g></svg>'
        )

    def _pixels(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[NDArray[Any]]]:
        """x, truth, frames and marks in tenths of a pixel; marks outside the axes are left out."""
        (low, high), (bottom, top) = self._limits()
        across, up = ((low, high), (LEFT, RIGHT)), ((bottom, top), (BOTTOM, TOP))

        def scaled(values: ArrayLike, span: tuple[float, float], ends: tuple[int, int]) -> NDArray[Any]:
            tenths: NDArray[Any] = np.rint(10 * np.interp(np.asarray(values, float), span, ends)).astype(int)
            return tenths

        marks = []
        for given in self.marks or [np.empty((0, 2))] * len(self.labels):
            points = np.asarray(given, float).reshape(-1, 2)
            inside = np.all((points >= (low, bottom)) & (points <= (high, top)), axis=1)
            marks.append(np.column_stack([scaled(points[inside, 0], *across), scaled(points[inside, 1], *up)]))
        return scaled(self.x, *across), scaled(self.truth, *up), scaled(self.frames, *up), marks

    def _limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of both axes: the frames may leave the truth's range by half of it, and are cut there."""
        x, truth, frames = (np.asarray(values, float) for values in (self.x, self.truth, self.frames))
        span = np.ptp(truth) or 1.0
        bottom = max(min(truth.min(), frames.min()), truth.min() - span / 2) - 0.05 * span
        top = min(max(truth.max(), frames.max()), truth.max() + span / 2) + 0.05 * span
        return (float(x.min()), float(x.max())), (float(bottom), float(top))

    def _axes(self) -> str:
        (low, high), (bottom, top) = self._limits()
        parts = [f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="currentColor"/>']
        for tick in MaxNLocator(8, steps=STEPS).tick_values(low, high):
            if low <= tick <= high:
                at = np.interp(tick, (low, high), (LEFT, RIGHT))
                parts += [f'<path d="M{at:.1f} {BOTTOM}v5" stroke="currentColor"/>']
                parts += [_text(at, BOTTOM + 19, _number(tick), "middle")]
        for tick in MaxNLocator(6, steps=STEPS).tick_values(bottom, top):
            if bottom <= tick <= top:
                at = np.interp(tick, (bottom, top), (BOTTOM, TOP))
                parts += [f'<path d="M{LEFT} {at:.1f}h-5" stroke="currentColor"/>']
                parts += [_text(LEFT - 8, at + 4, _number(tick), "end")]
        return "".join([*parts, _text((LEFT + RIGHT) / 2, BOTTOM + 38, self.xlabel, "middle")])

    def _legend(self) -> str:
        looks = (
            'stroke="currentColor" stroke-dasharray="6 3"',
            f'stroke="{CURVE}" stroke-width="2"',
            f'stroke="{DOTS}" stroke-width="7" stroke-linecap="round"',
        )
        parts = []
        for k, (name, look) in enumerate(zip(self.names, looks, strict=True)):
            if k < 2 or self.marks:
                start = LEFT + 12 + 200 * k
                stretch = "M{} 14h26" if k < 2 else "M{} 14h.01"
                parts += [f'<path d="{stretch.format(start)}" {look}/>', _text(start + 34, 18, name, "start")]
        return "".join(parts)


def _line(name: str, x: NDArray[Any], y: NDArray[Any], look: str) -> str:
    points = " ".join(f"{a / 10:g},{b / 10:g}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{name}" points="{points}" {look}/>'


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{escape(words)}</text>'
