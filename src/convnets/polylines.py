"""Polylines that fit a function on an interval: the best with so many pieces, and the ReLU networks that draw them.

A network of H hidden ReLUs, c + Σ vᵢ relu(sᵢ (x - tᵢ)) with signs sᵢ = ±1, is a polyline with a knot at every tᵢ: H + 1
pieces at most. Errors are over the whole interval: the root of the mean square (RMSE).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]  # float64 throughout
gauss = functools.cache(np.polynomial.legendre.leggauss)  # nodes and weights on [-1, 1]


@dataclass(frozen=True)
class Target:
    """A function on an interval [start, end], and its second derivative where it has one."""

    name: str
    function: Callable[[Array], Array]
    start: float
    end: float
    second_derivative: Callable[[Array], Array] | None = None

    @property
    def length(self) -> float:
        return self.end - self.start

    def midpoints(self, count: int = 4096) -> Array:
        """The middles of `count` equal parts of the interval: the mean over them is the midpoint rule."""
        return self.start + self.length * (np.arange(count) + 0.5) / count

    def size(self) -> float:
        """The root mean square of the function: the RMSE of answering 0."""
        return float(np.sqrt(np.mean(self.function(self.midpoints()) ** 2)))


TARGETS = {
    target.name: target
    for target in (
        Target("sin x", np.sin, -math.pi, math.pi, lambda x: -np.sin(x)),
        Target("x³", lambda x: x**3, -1.5, 1.5, lambda x: 6 * x),
        Target("tan x", np.tan, -1.3, 1.3, lambda x: 2 * np.tan(x) / np.cos(x) ** 2),
        Target("|x|", np.abs, -1.0, 1.0),
        Target("step", lambda x: np.heaviside(x, 0.5), -1.0, 1.0),
    )
}


class Fit(NamedTuple):
    """The function c + Σ vᵢ relu(sᵢ (x - tᵢ)) and its RMSE; `weights` [H + 1] is c, then the v."""

    knots: Array
    signs: Array
    weights: Array
    rmse: float

    def at(self, x: Array) -> Array:
        """The function's values at the points x [M]."""
        return features(x, self.knots, self.signs) @ self.weights


def features(x: Array, knots: Array, signs: Array) -> Array:
    """1 and relu(sᵢ (x - tᵢ)) at the points x [M]: [M, H + 1]."""
    return np.column_stack([np.ones_like(x), np.maximum(0, signs * (x[:, None] - knots))])


def _rule(target: Target, knots: Array) -> tuple[Array, Array]:
    """Nodes and weights of Gauss's rule on each piece between the knots; the fewer pieces, the more nodes on each."""
    inside = np.sort(knots[(knots > target.start) & (knots < target.end)])
    edges = np.concatenate([[target.start], inside, [target.end]])
    nodes, weights = gauss(max(6, 96 // (len(edges) - 1)))
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:, None] + edges[:-1, None]) / 2
    return (middle + half * nodes).ravel(), (half * weights).ravel()


def solve_outputs(target: Target, knots: Array, signs: Array) -> Fit:
    """The best output layer for given hidden ReLUs: linear least squares over the whole interval."""
    x, area = _rule(target, knots)
    root, phi, y = np.sqrt(area), features(x, knots, signs), target.function(x)
    weights = np.linalg.lstsq(phi * root[:, None], root * y, rcond=1e-13)[0]
    return Fit(knots, signs, weights, math.sqrt(area @ (y - phi @ weights) ** 2 / target.length))


def derivatives(target: Target, knots: Array, signs: Array) -> tuple[Fit, Array, Array]:
    """The best output layer, and gradient [H] and Hessian [H, H] in the knots of its squared error ∫(f - g)².

    The output layer is eliminated (variable projection, Golub and Pereyra 1973): the gradient is that at fixed
    weights, and the Hessian the Schur complement of the weights' block. All knots must differ.
    """
    x, area = _rule(target, knots)
    root, phi, y = np.sqrt(area)[:, None], features(x, knots, signs), target.function(x)
    q, r = np.linalg.qr(phi * root)
    weights = np.linalg.solve(r, q.T @ (root[:, 0] * y))
    error, v = y - phi @ weights, weights[1:]
    fit = Fit(knots, signs, weights, math.sqrt(area @ error**2 / target.length))
    moved = -signs * (phi[:, 1:] > 0)  # ∂φᵢ/∂tᵢ
    slopes = (area * error) @ moved
    inside = (knots > target.start) & (knots < target.end)
    bends = inside * v * (target.function(knots) - fit.at(knots))  # ∂²φᵢ/∂tᵢ² is a peak at tᵢ
    change = moved * v * root
    mixed = q.T @ change - np.linalg.solve(r.T, np.vstack([np.zeros(len(v)), np.diag(slopes)]))
    return fit, -2 * v * slopes, 2 * (change.T @ change - np.diag(bends) - mixed.T @ mixed)


def move_knots(target: Target, fit: Fit, steps: int) -> Fit:
    """The fit after at most `steps` of Newton's method in its knots, which are in order and stay so.

    A knot at an end of the interval stays there. Every step goes by the Hessian's absolute value as far as the knots'
    order lets it (`_moved`), and is halved until the error falls; the last is so small that rounding hides whether it
    does.
    """
    free = (fit.knots > target.start) & (fit.knots < target.end)
    knots = fit.knots.copy()
    knots[free] = _moved(target, knots[free], np.zeros(free.sum()))
    fit, gradient, hessian = derivatives(target, knots, fit.signs)
    for _ in range(steps if free.any() else 0):
        curvatures, axes = np.linalg.eigh(hessian[np.ix_(free, free)])
        curvatures = np.maximum(np.abs(curvatures), 1e-8 * np.abs(curvatures).max())
        direction = np.zeros_like(fit.knots)
        direction[free] = -axes @ (axes.T @ gradient[free] / curvatures)
        settled = -gradient @ direction < 1e-10 * fit.rmse**2 * target.length
        for halvings in range(20):
            knots = fit.knots.copy()
            knots[free] = _moved(target, knots[free], direction[free] / 2**halvings)
            trial, gradient, hessian = derivatives(target, knots, fit.signs)
            if settled or trial.rmse < fit.rmse:
                break
        else:
            return fit
        fit = trial
        if settled:
            break
    return fit


def _moved(target: Target, knots: Array, by: Array) -> Array:
    """Knots in order, moved; no gap falls below a tenth of itself, or a thousandth of the mean.

    Else two that nearly meet would hold up all others.
    """
    gaps = np.diff([target.start, *knots, target.end])
    least = np.maximum(gaps / 10, 1e-3 * gaps.mean())
    wanted = np.maximum(gaps + np.diff([0.0, *by, 0.0]), least)
    moved: Array = target.start + np.cumsum(wanted * target.length / wanted.sum())[:-1]
    return moved


def by_curvature(target: Target, count: int, shift: float = 0.0) -> Array:
    """`count` knots with equal shares of ∫|f″|^(2/5) between them; `shift` moves all by that part of a share."""
    x = np.linspace(target.start, target.end, 20_001)
    share = np.concatenate([[0.0], np.cumsum(_density(target, (x[1:] + x[:-1]) / 2))])
    wanted = (np.arange(1, count + 1) + shift) / (count + 1)
    knots: Array = np.interp(wanted * share[-1], share, x)
    return knots


def _density(target: Target, x: Array) -> Array:
    if target.second_derivative is None:
        raise ValueError(f"{target.name} has no second derivative to place knots by: choose a smooth target")
    density: Array = np.abs(target.second_derivative(x)) ** 0.4
    return density


def curvature_network(target: Target, width: int, shift: float = 0.0) -> Fit:
    """A network whose first unit is the linear term, on from the interval's start, the other knots by curvature."""
    knots = np.concatenate([[target.start], by_curvature(target, width - 1, shift)])
    return solve_outputs(target, knots, np.ones(width))


def best_polyline(target: Target, pieces: int, shifts: Sequence[float] = (0.0, -0.3, 0.3)) -> Fit:
    """The continuous polyline of so many pieces with the least RMSE, as a network of so many units.

    Knots by curvature, moved by each of `shifts`, then Newton's method to its end: the best result counts.
    """
    found = [move_knots(target, curvature_network(target, pieces, shift), 60) for shift in shifts]
    return min(found, key=lambda fit: fit.rmse)


def choose_signs(slope: float, changes: ArrayLike) -> Array:
    """Which units are on to the left (-1), so that minus the sum of their slope changes is near the first slope.

    One or two signs are turned at a time, always those that leave the least difference, until none does better.
    """
    changes, signs = np.asarray(changes, float), np.ones(np.size(changes))
    missing = slope
    while True:
        turns = np.concatenate([[0.0], signs * changes])  # the 0 stands for turning one sign only
        pairs = np.abs(missing + turns[:, None] + turns)
        pairs[np.tril_indices(len(turns))] = np.inf
        first, second = np.unravel_index(np.argmin(pairs), pairs.shape)
        if not pairs[first, second] < abs(missing) * (1 - 1e-12):
            return signs
        missing += turns[first] + turns[second]
        signs[[k - 1 for k in (first, second) if k]] *= -1


def construct(target: Target, width: int, steps: int = 2) -> Fit:
    """A network of `width` ReLUs that is built, not trained: knots by curvature, output layer by least squares.

    Then the knots move by `steps` of Newton's method. The best of three counts: all knots inside, with signs that make
    the first piece's slope; or one unit as the linear term, and the other knots as they are or shifted.
    """
    free = curvature_network(target, width + 1)
    signs = choose_signs(free.weights[1], free.weights[2:])
    begun = [solve_outputs(target, free.knots[1:], signs)]
    begun += [curvature_network(target, width, shift) for shift in (0.0, 0.3)]
    return min((move_knots(target, fit, steps) for fit in begun), key=lambda fit: fit.rmse)


def leading_error(target: Target, pieces: ArrayLike) -> Array:
    """The best polyline's RMSE for many pieces: (∫|f″|^(2/5))^(5/2) / √(720 length) / pieces²."""
    integral = _density(target, target.midpoints(200_000)).mean() * target.length
    return np.asarray(integral**2.5 / math.sqrt(720 * target.length) / np.asarray(pieces, float) ** 2)
