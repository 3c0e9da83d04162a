"""The embedded data set: small pictures drawn from a seed, whose colours given their grey are known exactly.

A picture shows one object before a background. Its grey field is drawn first: shape, pose, shading, pattern. Object and
background lie on opposite sides of grey level 128, the corner is always background, so the grey picture shows the mask
(`mask_from_grey`), and the mask shows the shape. Then object and background each get one chroma, an integer vector
(r, g, b) that sums to zero, drawn independently of everything but the class. Adding it changes no grey value and leaves
0..255 nowhere, so nothing is rounded or clipped, and the distribution of colour given the whole grey picture is the
class's palette: exactly what `conditional_colours` returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any  # an ndarray: NumPy does not type what its ufuncs return

# Chroma: what a colour adds to its grey. Each sums to zero; none exceeds 64, because grey levels lie in 64..191.
# fmt: off
_CHROMA = {
    "red": (64, -36, -28), "orange": (62, -4, -58), "yellow": (38, 24, -62), "green": (-40, 52, -12),
    "teal": (-60, 28, 32), "blue": (-50, -14, 64), "violet": (14, -58, 44), "pink": (58, -52, -6),
    "sky": (-38, 4, 34), "sand": (26, 8, -34), "meadow": (-16, 26, -10), "rose": (26, -18, -8),
    "dusk": (2, -20, 18), "stone": (-6, 0, 6),
}
# fmt: on

# Each class: the object's colours, then the background's, the most likely first.
_PALETTES = {
    "disc": ("orange yellow red blue", "sky dusk sand meadow"),
    "ring": ("teal blue violet orange", "sand stone rose sky"),
    "square": ("blue red green yellow", "stone meadow sky sand"),
    "triangle": ("green teal orange pink", "sand sky meadow dusk"),
    "star": ("yellow orange pink teal", "dusk sky stone rose"),
    "cross": ("red blue violet green", "meadow sand stone sky"),
    "crescent": ("violet yellow blue red", "dusk stone rose meadow"),
    "heart": ("red pink violet teal", "rose dusk sand stone"),
    "leaf": ("green yellow orange violet", "meadow sky stone dusk"),
    "flower": ("pink violet yellow blue", "sky meadow rose sand"),
}
_ODDS = (0.55, 0.25, 0.15, 0.05)

CLASSES: tuple[str, ...] = tuple(_PALETTES)
_COLOURS = np.array(  # [class, region, colour, channel]; region 0 is the background, 1 the object, as in a mask
    [[[_CHROMA[c] for c in names.split()] for names in reversed(pair)] for pair in _PALETTES.values()], np.int16
)


@dataclass(frozen=True)
class Scenes:
    """Images uint8 [N, size, size, 3], labels uint8 [N] into `CLASSES`, and the objects' masks bool [N, size, size]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def scenes(num_images: int, size: int = 32, seed: int | Sequence[int] = 0) -> Scenes:
    """`num_images` scenes of `size` × `size` pixels.

    The same seed gives the same scenes: a larger `num_images` continues the list, a larger `size` shows the same scenes
    with more pixels. Raises ValueError where num_images < 1 or size < 16.
    """
    if num_images < 1 or size < 16:
        raise ValueError(f"scenes needs num_images >= 1 and size >= 16, not {num_images} and {size}")
    draws = np.random.default_rng(seed).random((num_images, 20))  # one row a scene, so that a prefix stays the same
    labels = (draws[:, 0] * len(CLASSES)).astype(np.uint8)
    grey = np.empty((num_images, size, size), np.uint8)
    masks = np.empty(grey.shape, bool)
    for label in range(len(CLASSES)):
        of_class = np.flatnonzero(labels == label)
        for rows in np.array_split(of_class, 1 + len(of_class) * size**2 // 2**18):  # parts that fit the cache
            grey[rows], masks[rows] = _draw(CLASSES[label], draws[rows].astype(np.float32), size)
    return Scenes(_coloured(grey, labels, masks, draws[:, 1:3]), labels, masks)


def recolour(scenes: Scenes, seed: int | Sequence[int] = 0) -> Scenes:
    """The same grey pictures with colours drawn anew: a sample of the exact distribution of colour given grey."""
    draws = np.random.default_rng(seed).random((len(scenes.labels), 2))
    return Scenes(_coloured(_grey(scenes.images), scenes.labels, scenes.masks, draws), scenes.labels, scenes.masks)


def mask_from_grey(grey: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Masks, bool [N, size, size], from grey levels [N, size, size]: the side of 128 that the corner is not on."""
    light: Array = grey >= 128
    return np.asarray(light != light[:, :1, :1], np.bool_)


def conditional_colours(label: int, region: int) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """The chroma [K, 3] that a region can have given its grey, and their probabilities [K].

    `region` is 0 for the background, 1 for the object. A pixel of grey level g has colour g + chroma[k] with
    probability probabilities[k]; all pixels of a region share k, and the two regions draw independently.
    """
    return _COLOURS[label, region].copy(), np.array(_ODDS)


def conditional_mean(scenes: Scenes) -> NDArray[np.float32]:
    """E[colour | grey picture], float32 [N, size, size, 3], pixels / 256: the best prediction under squared error."""
    mean = (np.array(_ODDS) @ _COLOURS).astype(np.float32)  # [class, region, channel]
    return (_grey(scenes.images)[..., None] + mean[_regions(scenes)]) / np.float32(256)


def bayes_mse(scenes: Scenes) -> float:
    """The squared error (pixels / 256, mean over pixels and channels) that no prediction from grey can beat on average.

    It is the mean conditional variance of colour: the expected error of `conditional_mean` over all colourings that
    these grey pictures could have had.
    """
    odds = np.array(_ODDS)
    variance = (odds @ _COLOURS**2.0 - (odds @ _COLOURS) ** 2).mean(-1) / 256**2  # [class, region]
    return float(variance[_regions(scenes)].mean())


def conditional_probabilities(scenes: Scenes, colours: NDArray[np.floating]) -> NDArray[np.float32]:
    """P(nearest colour | grey picture) for every pixel, float32 [N, size, size, K], for colours [K, 3] in [0, 1]."""
    table = _class_table(colours).astype(np.float32)
    return table[*_regions(scenes), _grey(scenes.images)]


def bayes_classification(scenes: Scenes, colours: NDArray[np.floating]) -> tuple[float, float]:
    """The cross-entropy (nats a pixel) and pixel accuracy that no prediction of the nearest colour can beat on average.

    `colours` [K, 3] in [0, 1]; expectations over all colourings that these grey pictures could have had.
    """
    table = _class_table(colours)
    entropy = -(table * np.log(np.where(table > 0, table, 1))).sum(-1)
    where = *_regions(scenes), _grey(scenes.images)
    return float(entropy[where].mean()), float(table.max(-1)[where].mean())


def expected_accuracy(
    scenes: Scenes, colours: NDArray[np.floating], classes: NDArray[np.integer]
) -> NDArray[np.float64]:
    """The share of pixels that `classes` [N, size, size] can be expected to get right, for each scene: float64 [N].

    The expectation is over all colourings that the grey picture could have had; `colours` [K, 3] in [0, 1].
    """
    return np.asarray(_class_table(colours)[*_regions(scenes), _grey(scenes.images), classes].mean((1, 2)))


def _class_table(colours: NDArray[np.floating]) -> NDArray[np.float64]:
    """P(nearest colour | class, region, grey), [10, 2, 256, K]; ties go to the lowest index."""
    levels = np.arange(256)[:, None, None]
    table = np.zeros((*_COLOURS.shape[:2], 256, len(colours)))
    for label, region in np.ndindex(table.shape[:2]):
        pixels = (levels + _COLOURS[label, region]) / 256  # [256, chroma, 3]
        nearest = ((pixels[:, :, None] - np.asarray(colours, np.float64)) ** 2).sum(-1).argmin(-1)
        for k, odds in enumerate(_ODDS):
            table[label, region, np.arange(256), nearest[:, k]] += odds
    return table


def _regions(scenes: Scenes) -> tuple[Array, Array]:
    """Index of each pixel's class and region into a table [class, region, ...]."""
    return scenes.labels[:, None, None], scenes.masks.astype(np.intp)


def _grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey levels: exact, because r + g + b is three times the grey that was drawn."""
    return np.asarray(images.sum(-1, dtype=np.uint16) // 3, np.uint8)


def _coloured(grey: Array, labels: Array, masks: Array, draws: Array) -> NDArray[np.uint8]:
    """Grey plus one chroma for each region; `draws` [N, 2] are uniform numbers, background first."""
    picks = np.searchsorted(np.cumsum(_ODDS)[:-1], draws, side="right")
    chroma = _COLOURS[labels[:, None], np.arange(2), picks].astype(np.uint8)  # [N, 2, 3], negative ones modulo 256
    images = np.empty((*grey.shape, 3), np.uint8)
    for channel in range(3):
        back, front = chroma[:, :, channel, None, None].swapaxes(0, 1)
        np.add(grey, np.where(masks, front, back), out=images[..., channel])  # the sum is in 0..255, so modulo is exact
    return images


def _draw(name: str, draws: Array, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Grey levels and masks, [n, size, size], of one class from uniform draws [n, 20]."""
    u = iter(np.moveaxis(draws[:, 3:, None, None], 1, 0))
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1  # pixel centres; the picture is [-1, 1]²
    x, y = axis[None, None, :], axis[None, :, None]
    pixel = 2 / size
    radius = 0.5 + 0.3 * next(u)
    room = 1 - radius - 1.5 * pixel  # the object never touches the border
    left, down = x - room * (2 * next(u) - 1), y - room * (2 * next(u) - 1)
    cos, sin = _direction(1.2 * (next(u) - 0.5))

    def distance_at(left: Array, down: Array) -> Array:
        return _SHAPES[name]((cos * left + sin * down) / radius, (cos * down - sin * left) / radius) * radius

    distance = distance_at(left, down)  # negative inside
    masks = distance < 0
    light = next(u) < 0.5  # is the object the lighter one?
    sign = 2 * light.astype(np.float32) - 1

    # Depth is the distance from grey 128, so what lightens a light region is what darkens a dark one: hence the sign.
    lit = (0.65 * (-left - 1.3 * down) / radius).clip(-1, 1)  # lamp at the upper left
    rim = (-distance / (0.28 * radius)).clip(0, 1)
    front = 0.5 + 0.2 * next(u) + sign * (0.28 * lit + 0.12 * (rim - 0.5))
    shadow = (0.5 - distance_at(left - 0.12 * radius, down - 0.18 * radius) / (0.4 * radius)).clip(0, 1)
    back = _backdrop(draws[:, 11:], x, y, pixel) + sign * 0.2 * shadow
    # Grey runs to 128 on both sides of the edge: smooth outlines, and the mask stays exact.
    depth = np.where(masks, front, back).clip(0.2, 1) * (0.15 + np.abs(distance) / pixel).clip(0, 1)
    levels = np.rint(63 * depth)
    return np.where(masks == light, 128 + levels, 127 - levels).astype(np.uint8), masks


def _backdrop(draws: Array, x: Array, y: Array, pixel: float) -> Array:
    """Background depth, [n, size, size], about 0.3 to 0.9: plain, horizon, stripes, checks or dots, and a gradient."""
    u = iter(np.moveaxis(draws[:, :, None, None], 1, 0))
    kind = (5 * next(u)).astype(int)
    cos, sin = _direction(2 * np.pi * next(u))
    gradient = 0.16 * (cos * x + sin * y)
    cos, sin = _direction(np.pi * (next(u) - 0.5))
    frequency, shift = 5 + 5 * next(u), 2 * np.pi * next(u)
    a, b = frequency * (cos * x + sin * y) + shift, frequency * (cos * y - sin * x) + shift
    sharp = 1 / (frequency * pixel)
    hills = y - 0.4 * (2 * next(u) - 1) - 0.1 * np.sin(0.4 * frequency * x + shift)
    patterns = (
        0 * a,
        (hills / pixel).clip(-0.5, 0.5) * 2,
        (np.sin(a) * sharp).clip(-1, 1),
        (np.sin(a) * sharp).clip(-1, 1) * (np.sin(b) * sharp).clip(-1, 1),
        ((np.sin(a) * np.sin(b) - 0.5) * sharp).clip(-1, 1),
    )
    return 0.6 + gradient + 0.14 * np.select([kind == k for k in range(5)], patterns)


def _direction(angle: Array) -> tuple[Array, Array]:
    return np.cos(angle), np.sin(angle)


def _sector(x: Array, y: Array, num: int) -> tuple[Array, Array]:
    """The point folded into one of `num` mirrored sectors, as coordinates along and beside the sector's axis."""
    angle = np.abs((np.arctan2(x, -y) * (num / (2 * np.pi)) + 0.5) % 1 - 0.5) * np.float32(2 * np.pi / num)
    radius = np.hypot(x, y)
    return radius * np.cos(angle), radius * np.sin(angle)


def _star(x: Array, y: Array) -> Array:
    along, beside = _sector(x, y, 5)
    return ((along - 1) * 0.59 * 0.45 + beside * (1 - 0.81 * 0.45)) / np.hypot(0.59 * 0.45, 1 - 0.81 * 0.45)


def _flower(x: Array, y: Array) -> Array:
    along, beside = _sector(x, y, 5)
    petals = np.hypot(along - 0.58, beside) - 0.36
    radius = np.hypot(x, y)
    return np.maximum(np.minimum(petals, radius - 0.5), 0.2 - radius)


def _heart(x: Array, y: Array) -> Array:
    a, b = (x - y + 0.1) / np.sqrt(2), (-x - y + 0.1) / np.sqrt(2)  # a square on its corner and a disc on two sides
    square = np.maximum(np.abs(a), np.abs(b)) - 0.5
    return np.minimum(square, np.minimum(np.hypot(a - 0.5, b), np.hypot(a, b - 0.5)) - 0.5)


# Signed distance, exact or a close bound: negative inside; every shape lies in the unit disc; y points down.
_SHAPES = {
    "disc": lambda x, y: np.hypot(x, y) - 0.85,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.68) - 0.26,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.69,
    "triangle": lambda x, y: np.maximum(y - 0.5, np.abs(x) * 0.866 - y * 0.5 - 0.5),
    "star": _star,
    "cross": lambda x, y: np.maximum(np.minimum(np.abs(x), np.abs(y)) - 0.29, np.maximum(np.abs(x), np.abs(y)) - 0.92),
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 0.92, 0.72 - np.hypot(x - 0.42, y + 0.2)),
    "heart": _heart,
    "leaf": lambda x, y: np.hypot(np.abs(x) + 0.6, y) - 1.16,
    "flower": _flower,
}
