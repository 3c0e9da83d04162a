"""The best polylines are the best, the built networks are networks that near them, and the mathematics is right."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, optimize

from convnets import polylines
from convnets.polylines import TARGETS, Target

SMOOTH = ("sin x", "x³", "tan x")
RNG = np.random.default_rng(0)


def squared_error(target: Target, function) -> float:
    """∫(f - g)² by scipy's adaptive rule."""
    value, _ = integrate.quad(
        lambda x: (target.function(np.array([x])) - function(np.array([x])))[0] ** 2,
        target.start,
        target.end,
        limit=400,
        epsabs=1e-12,
    )
    return value


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_are_those_of_the_functions(name):
    """They agree with central differences."""
    target = TARGETS[name]
    x = np.linspace(target.start + 0.01, target.end - 0.01, 50)
    step = 1e-4
    differences = (target.function(x + step) - 2 * target.function(x) + target.function(x - step)) / step**2
    assert target.second_derivative(x) == pytest.approx(differences, rel=1e-5, abs=1e-5)


def test_the_size_of_a_function_is_its_root_mean_square():
    """Known integrals: sin over a period, x³, |x|, a step."""
    assert TARGETS["sin x"].size() == pytest.approx(math.sqrt(0.5), rel=1e-6)
    assert TARGETS["x³"].size() == pytest.approx(1.5**3 / math.sqrt(7), rel=1e-6)
    assert TARGETS["|x|"].size() == pytest.approx(1 / math.sqrt(3), rel=1e-6)
    assert TARGETS["step"].size() == pytest.approx(math.sqrt(0.5), rel=1e-6)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_output_layer_is_the_best_there_is(name):
    """Its error is the true integral, and no other weights do better; kinks may lie outside the interval, too."""
    target = TARGETS[name]
    knots, signs = RNG.uniform(1.3 * target.start, 1.3 * target.end, 6), RNG.choice([-1.0, 1.0], 6)
    fit = polylines.solve_outputs(target, knots, signs)
    assert target.length * fit.rmse**2 == pytest.approx(squared_error(target, fit.at), rel=1e-6)
    for _ in range(5):
        other = fit._replace(weights=fit.weights + RNG.normal(0, 0.05, 7))
        assert squared_error(target, other.at) > target.length * fit.rmse**2


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_and_hessian_in_the_knots(name):
    """Both agree with finite differences, over random knots and signs."""
    target = TARGETS[name]
    for _ in range(10):
        count = int(RNG.integers(2, 9))
        knots = polylines.by_curvature(target, count, RNG.uniform(-0.3, 0.3))
        signs = RNG.choice([-1.0, 1.0], count)
        _, gradient, hessian = polylines.derivatives(target, knots, signs)
        ways = 1e-5 * np.eye(count)
        beside = [[polylines.derivatives(target, knots + sign * way, signs) for sign in (1, -1)] for way in ways]
        errors = np.array([[target.length * fit.rmse**2 for fit, _, _ in pair] for pair in beside])
        slopes = np.array([[slope for _, slope, _ in pair] for pair in beside])
        assert gradient == pytest.approx((errors[:, 0] - errors[:, 1]) / 2e-5, abs=1e-6 * np.abs(gradient).max())
        assert hessian == pytest.approx((slopes[:, 0] - slopes[:, 1]) / 2e-5, abs=1e-6 * np.abs(hessian).max())


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("pieces", [2, 3, 4])
def test_few_pieces_are_as_good_as_a_global_search_finds(name, pieces):
    """scipy's differential evolution over the knots does not come lower, and not much less far."""
    target = TARGETS[name]

    def error(knots):
        if np.min(np.diff(np.sort(knots)), initial=1.0) < 1e-6:
            return 9.0
        everything = np.concatenate([[target.start], np.sort(knots)])
        return polylines.solve_outputs(target, everything, np.ones(pieces)).rmse

    inside = [(target.start + 1e-6, target.end - 1e-6)] * (pieces - 1)
    found = optimize.differential_evolution(error, inside, rng=0, tol=1e-10, maxiter=60, popsize=12)
    assert polylines.best_polyline(target, pieces).rmse == pytest.approx(found.fun, rel=1e-6)


@pytest.mark.parametrize(("name", "pieces"), [*itertools.product(SMOOTH, (5, 9, 17))])
def test_no_placement_on_a_grid_does_better_even_with_jumps(name, pieces):
    """Dynamic programming over all placements on a grid, each piece the best line for its part, comes not lower."""
    target, places, inner = TARGETS[name], 400, 8
    x = target.midpoints(places * inner)
    y = target.function(x)
    cost = np.full((places + 1, places + 1), np.inf)
    for start in range(places):
        for end in range(start + 1, min(places, start + 4 * places // pieces) + 1):
            part = slice(start * inner, end * inner)
            u, v = x[part] - x[part].mean(), y[part] - y[part].mean()
            cost[start, end] = v @ v - (u @ v) ** 2 / (u @ u)
    least = cost[0]
    for _ in range(pieces - 1):
        least = np.min(least[:, None] + cost, axis=0)
    ratio = math.sqrt(least[-1] / len(x)) / polylines.best_polyline(target, pieces).rmse
    assert 0.999 < ratio < 1.02


def test_published_constants():
    """For the sine over a period the law's constant is 0.836, by the integral of |sin|^(2/5) in gamma functions."""
    integral = 2 * math.gamma(0.7) * math.gamma(0.5) / math.gamma(1.2)
    constant = integral**2.5 / math.sqrt(720 * 2 * math.pi)
    assert constant == pytest.approx(0.836, abs=5e-4)
    law = polylines.leading_error(TARGETS["sin x"], [1, 10])
    assert law == pytest.approx([constant, constant / 100], rel=1e-4)


@pytest.mark.parametrize("name", SMOOTH)
def test_many_pieces_obey_the_law(name):
    """At 65 pieces the error times pieces squared is within 3 % of the law's constant, and below it."""
    target = TARGETS[name]
    ratio = polylines.best_polyline(target, 65).rmse / polylines.leading_error(target, 65)
    assert 0.97 < ratio < 1


def test_knots_have_equal_shares_of_curvature():
    """The integral of |f″|^(2/5) between neighbouring knots is the same; a shift moves them by its part of it."""
    sine = TARGETS["sin x"]

    def share(left, right):
        return integrate.quad(lambda x: abs(math.sin(x)) ** 0.4, left, right, points=[0.0], limit=200)[0]

    edges = [sine.start, *polylines.by_curvature(sine, 7), sine.end]
    shares = [share(*pair) for pair in itertools.pairwise(edges)]
    assert shares == pytest.approx([sum(shares) / 8] * 8, rel=1e-3)
    shifted = polylines.by_curvature(sine, 7, 0.25)
    assert share(sine.start, shifted[0]) == pytest.approx(1.25 * shares[0], rel=1e-3)


@pytest.mark.parametrize("count", range(1, 11))
def test_signs_come_as_near_to_the_slope_as_turning_two_at_a_time_can(count):
    """Where all subsets can be tried, none that differs in at most two signs is nearer, and often none at all."""
    best = 0
    for _ in range(20):
        changes, slope = RNG.normal(size=count), RNG.normal()
        signs = polylines.choose_signs(slope, changes)
        missing = abs(slope + changes[signs < 0].sum())
        every = [np.array(turned) for turned in itertools.product([1.0, -1.0], repeat=count)]
        near = [turned for turned in every if (turned != signs).sum() <= 2]
        assert missing <= min(abs(slope + changes[turned < 0].sum()) for turned in near) + 1e-9
        best += missing <= min(abs(slope + changes[turned < 0].sum()) for turned in every) + 1e-9
    assert best >= 1


@pytest.mark.parametrize("width", [8, 12, 16, 32])
def test_a_built_network_for_the_sine_is_within_a_tenth_of_the_best(width):
    """Its error is at most 1.1 times that of the best polyline with one piece more than it has units, and not less."""
    ratio = (
        polylines.construct(TARGETS["sin x"], width).rmse / polylines.best_polyline(TARGETS["sin x"], width + 1).rmse
    )
    assert 1 - 1e-9 <= ratio <= 1.1


@pytest.mark.parametrize(("name", "width"), [*itertools.product(SMOOTH, (2, 4, 8))])
def test_a_built_network_is_as_good_as_any_choice_of_signs(name, width):
    """Newton's method from the same knots, over all choices of signs, finds nothing better by more than a tenth."""
    target = TARGETS[name]
    built = polylines.construct(target, width, steps=40)
    assert len(built.knots) == width
    knots = polylines.by_curvature(target, width)
    others = [polylines.best_polyline(target, width).rmse]
    for turned in itertools.product([1.0, -1.0], repeat=width - 1):  # the mirror image of all is as good
        fit = polylines.solve_outputs(target, knots, np.array([1.0, *turned]))
        others.append(polylines.move_knots(target, fit, 12).rmse)
    assert built.rmse <= 1.1 * min(others)
    best, worst = (polylines.best_polyline(target, pieces).rmse for pieces in (width + 1, width))
    assert best * (1 - 1e-9) <= built.rmse <= worst * (1 + 1e-6)


def test_knots_keep_their_order_and_their_ends():
    """Newton's method moves no knot past another, none out of the interval, and the linear term's not at all."""
    target = TARGETS["tan x"]
    fit = polylines.solve_outputs(target, np.array([target.start, -1.2, -1.1, -1.0]), np.ones(4))
    moved = polylines.move_knots(target, fit, 50)
    assert moved.rmse < fit.rmse
    assert moved.knots[0] == target.start
    assert np.all(np.diff([*moved.knots, target.end]) > 0)


def test_without_curvature_there_are_no_knots():
    """A function with a kink or a jump is refused by name."""
    with pytest.raises(ValueError, match=r"\|x\| has no second derivative"):
        polylines.best_polyline(TARGETS["|x|"], 3)


def test_one_piece_is_the_regression_line():
    """The best polyline of one piece is the best line; for the sine over a period it has the slope 3/π²."""
    fit = polylines.best_polyline(TARGETS["sin x"], 1)
    assert fit.weights[1] == pytest.approx(3 / math.pi**2, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_knots_that_nearly_meet_hold_up_no_others(seed):
    """Ten of thirty random knots within 1e-8 of each other: Newton's method still leads far down, their order kept."""
    target = TARGETS["sin x"]
    knots = np.sort(np.random.default_rng(seed).uniform(target.start, target.end, 30))
    knots[10:20] = knots[9] + 1e-9 * np.arange(1, 11)
    start = polylines.solve_outputs(target, np.r_[target.start, knots], np.ones(31))
    end = polylines.move_knots(target, start, 100)
    assert end.rmse < start.rmse / 10
    assert np.all(np.diff(end.knots) > 0)
