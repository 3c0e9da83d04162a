"""Colourings drawn from what a network says of single pixels: each pixel by itself, or a whole picture together.

A network gives every pixel probabilities p_1 … p_K. With the colours in a fixed order and F_k = p_1 + … + p_k, the
colour k with F_{k-1} <= Φ(z) < F_k, for z standard normal, has probability p_k: the inversion method. If the z of a
picture's pixels depend on each other, so do its colours, and each pixel by itself keeps its probabilities: a Gaussian
copula.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


class Coupling(NamedTuple):
    """How the noise of two pixels is correlated: `strength` exp(-distance / `reach` - gap / `contrast`).

    Distance is in pixels, gap that of the two mean chromas in RGB, [0, 1]. Both factors are covariances in any number
    of dimensions, so their product is one, too (Rasmussen & Williams 2006, section 4.2).
    """

    strength: float
    reach: float
    contrast: float


def chroma_order(colours: ArrayLike) -> NDArray[np.int64]:
    """The colours' indices [K] along the direction in which their chromas (colour minus grey) differ most.

    `colours` [K, 3].
    """
    chroma = np.asarray(colours, np.float64)
    chroma = chroma - chroma.mean(1, keepdims=True)
    axis = np.linalg.svd(chroma - chroma.mean(0))[2][0]
    return np.argsort(chroma @ (axis * np.sign(axis[0])), kind="stable")


def draw(logits: Tensor, noise: Tensor, order: ArrayLike) -> Tensor:
    """The colours that standard normal `noise` [N, H, W] picks from `logits` [N, K, H, W]: uint8 [N, H, W]."""
    order = torch.as_tensor(np.asarray(order))
    below = logits.double().softmax(1)[:, order].cumsum(1)
    place = (below <= torch.special.ndtr(noise.double())[:, None]).sum(1).clamp(max=len(order) - 1)
    return order[place].to(torch.uint8)


def mean_chroma(logits: Tensor, colours: ArrayLike) -> Tensor:
    """The mean of what `logits` [N, K, H, W] expect colours [K, 3] to add to grey: float64 [N, H, W, 3]."""
    chroma = torch.as_tensor(np.asarray(colours, np.float64))
    chroma = chroma - chroma.mean(1, keepdim=True)
    return logits.double().softmax(1).movedim(1, -1) @ chroma


def coherent_noise(chroma: Tensor, coupling: Coupling, generator: torch.Generator, number: int = 1) -> Tensor:
    """`number` fields of coupled noise for each picture, float64 [number, N, H, W]; every pixel's is standard normal.

    `chroma` [N, H, W, 3] is `mean_chroma`'s. A field costs the square of the number of pixels in memory.
    """
    count, height, width = chroma.shape[:3]
    noise = torch.empty(number, count, height, width, dtype=torch.double)
    places = _places(height, width)
    far = torch.cdist(places, places) / coupling.reach
    for index, guide in enumerate(chroma.flatten(1, 2)):
        covariance = coupling.strength * torch.exp(-far - torch.cdist(guide, guide) / coupling.contrast)
        covariance.diagonal().fill_(1 + 1e-9)  # the rest of each pixel's variance is its own
        root = torch.linalg.cholesky(covariance)
        white = torch.randn(height * width, number, generator=generator, dtype=torch.double)
        noise[:, index] = (root @ white).T.reshape(number, height, width)
    return noise


def fit_coupling(
    logits: Tensor, labels: Tensor, colours: ArrayLike, order: ArrayLike, num_pairs: int = 2000, seed: int = 0
) -> Coupling:
    """The coupling that explains best how the true colours [N, H, W] of two pixels of a picture surprise together.

    A true colour shows its z only as an interval; let m be the mean of z there. If two z have the correlation ρ, then
    E[m m'] = Σ_n ρ^n c_n c'_n / n! with c_n = E[m He_n(z)] by Mehler's formula, of which the terms up to 5 are used.
    Least squares of m m' less that sum, over `num_pairs` pairs of pixels in every picture, near ones more often.
    """
    from scipy.optimize import least_squares

    generator = torch.Generator().manual_seed(seed)
    score, coefficients = _scores(logits, labels, order)
    chroma = mean_chroma(logits, colours)
    count, height, width = labels.shape
    each = torch.arange(count).repeat_interleave(num_pairs)
    limits = torch.tensor([[height], [width]])
    one = (torch.rand(2, len(each), generator=generator) * limits).long()
    steps = torch.randn(2, len(each), generator=generator) * torch.rand(len(each), generator=generator) * height / 2
    other = one + steps.round().long()
    kept = ((other >= 0) & (other < limits)).all(0) & (one != other).any(0)
    first, second = (each[kept], *one[:, kept]), (each[kept], *other[:, kept])
    distance = (one - other)[:, kept].double().norm(dim=0).numpy()
    gap = (chroma[first] - chroma[second]).norm(dim=1).numpy()
    products = (score[first] * score[second]).numpy()
    terms = torch.stack([series[first] * series[second] for series in coefficients]).numpy()
    powers = np.arange(1, len(terms) + 1)[:, None]

    def misfit(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        strength, reach, contrast = parameters
        correlation = strength * np.exp(-distance / reach - gap / contrast)
        return np.asarray(products - (terms * correlation**powers).sum(0))

    found = least_squares(misfit, (0.8, 5.0, 0.1), bounds=((0, 0.1, 1e-3), (1, 1e3, 1e2)), x_scale=(1, 5, 0.1))
    return Coupling(*map(float, found.x))


def mixed_blocks(labels: ArrayLike) -> float:
    """The share of 2×2 blocks (all of them, overlapping) in maps [N, H, W] that hold more than one label."""
    maps = np.asarray(labels)
    corner = maps[:, :-1, :-1]
    same = (corner == maps[:, 1:, :-1]) & (corner == maps[:, :-1, 1:]) & (corner == maps[:, 1:, 1:])
    return float(1 - same.mean())


def agreement(labels: ArrayLike, distance: int) -> float:
    """The share of pairs of pixels, `distance` apart in a row or a column of maps [N, H, W], with the same label."""
    maps = np.asarray(labels)
    across = maps[:, :, distance:] == maps[:, :, :-distance]
    down = maps[:, distance:] == maps[:, :-distance]
    return float((across.sum() + down.sum()) / (across.size + down.size))


def _scores(logits: Tensor, labels: Tensor, order: ArrayLike, terms: int = 5) -> tuple[Tensor, list[Tensor]]:
    """m, the mean of z given each pixel's label, [N, H, W], and c_n / √n! for n = 1 … `terms`: float64."""
    order = torch.as_tensor(np.asarray(order))
    shares = logits.double().softmax(1)[:, order].clamp_min(1e-12)
    edges = torch.special.ndtri(shares.cumsum(1).clamp(1e-12, 1 - 1e-12))[:, :-1]
    density = torch.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)

    def inside(values: Tensor) -> Tensor:  # of an integral, known at the edges and 0 at both ends, each interval's part
        return -torch.diff(torch.nn.functional.pad(values, (0, 0, 0, 0, 1, 1)), dim=1)

    means = inside(density) / shares
    series, before, polynomial = [], torch.zeros_like(edges), torch.ones_like(edges)
    for n in range(1, terms + 1):  # the integral of He_n times the density is minus He_(n-1) times the density
        series.append((means * inside(polynomial * density)).sum(1) / math.sqrt(math.factorial(n)))
        before, polynomial = polynomial, edges * polynomial - (n - 1) * before
    place = torch.argsort(order)[labels.long()]
    return means.gather(1, place[:, None])[:, 0], series


def _places(height: int, width: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns], -1).reshape(-1, 2).double()
