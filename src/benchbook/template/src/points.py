"""Points in the unit square, thrown at random or spread evenly, and the estimates of π that they give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The real root of x³ = x + 1. Steps by its inverse powers never line up, so they fill the square evenly (M. Roberts,
# "The unreasonable effectiveness of quasirandom sequences", 2018).
PLASTIC = 1.324717957244746


def random_points(number: int, *seed: int) -> NDArray[np.float64]:
    """Independent, uniform points [number, 2]."""
    return np.random.default_rng(seed).random((number, 2))


def even_points(number: int, *seed: int) -> NDArray[np.float64]:
    """Evenly spread points [number, 2]: the sequence R2, shifted as a whole by a vector that the seed draws."""
    steps = np.arange(1, number + 1)[:, None] * PLASTIC ** np.array([-1.0, -2.0])
    return (np.random.default_rng(seed).random(2) + steps) % 1.0


def estimates(points: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the first `counts` points [k] make of π [k]: four times their share within the quarter circle."""
    inside = np.cumsum((points**2).sum(axis=1) < 1.0)
    return np.asarray(4.0 * inside[counts - 1] / counts)


def exponents(counts: NDArray[np.int64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slopes [repeats] of log error over log count, by least squares, for errors [repeats, k]."""
    return np.asarray(np.polyfit(np.log(counts), np.log(errors).T, 1)[0])
