"""Values carry units, seeds and sources; comparisons are decided by the seeds' interval."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchbook.record import Comparison, Value, claim, curve, show, value

finite = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)
samples = st.lists(finite, min_size=2, max_size=8)


@given(samples)
def test_mean_and_spread_are_those_of_the_standard_library(numbers):
    """The mean and the sample standard deviation agree with Python's statistics module."""
    made = Value(numbers)
    assert made.mean == pytest.approx(statistics.fmean(numbers), rel=1e-9, abs=1e-9)
    assert made.std == pytest.approx(statistics.stdev(numbers), rel=1e-6, abs=1e-6)


@given(samples, samples)
def test_several_seeds_are_compared_by_welchs_test(left, right):
    """A verdict is given exactly where scipy's two-sided Welch test rejects equality at 5 %."""
    if statistics.stdev(left) < 1e-9 or statistics.stdev(right) < 1e-9:
        return
    p = stats.ttest_ind(left, right, equal_var=False).pvalue
    if abs(p - 0.05) < 1e-6:
        return
    verdict = (Value(left) < Value(right)).holds
    assert (verdict is None) == (p > 0.05)
    if verdict is not None:
        assert verdict == (statistics.fmean(left) < statistics.fmean(right))


@pytest.mark.parametrize(
    ("relation", "left", "right", "holds"),
    [("<", 1, 2, True), ("<", 2, 2, False), ("<=", 2, 2, True), (">", 1, 2, False), (">=", 2, 2, True)],
)
def test_single_numbers_are_compared_as_they_are(relation, left, right, holds):
    """Without seeds a comparison is the plain one."""
    assert Comparison(Value([left]), relation, Value([right])).holds is holds


def test_derived_values_say_what_they_were_made_from():
    """A difference or a ratio is paired seed by seed and names its sources; the ratio has no unit."""
    a, b = Value([4.0, 6.0], "s", "a"), Value([2.0, 3.0], "s", "b")
    assert (a - b).samples == (2.0, 3.0)
    assert (a - b).unit == "s"
    assert (a / b).samples == (2.0, 2.0)
    assert (a / b).unit == ""
    assert (a / b).made_from == ("a", "b")
    assert (a * 2).samples == (8.0, 12.0)
    with pytest.raises(ValueError, match="3 seeds and 'a' 2"):
        Value([1, 2, 3], name="c") + a


@pytest.mark.parametrize("bad", [math.nan, math.inf, [1.0, math.nan], []])
def test_numbers_that_are_none_are_refused(bad):
    """NaN, infinity and an empty list are no values."""
    with pytest.raises(ValueError, match="value 'loss'"):
        value("loss", bad)


@pytest.mark.parametrize("name", ["", "Loss", "two words", "1st", "x-y", "<b>"])
def test_names_are_lower_case_identifiers(name):
    """A record's name can stand in prose and in an address."""
    with pytest.raises(ValueError, match="no name for a record"):
        value(name, 1.0)


@pytest.mark.parametrize(
    ("numbers", "unit", "text"),
    [
        ([0.003891], "", "0.00389"),
        ([61.23], "%", "61.2\u00a0%"),
        ([5000], "", "5,000"),
        ([0.00001234], "", "1.23e-05"),
        ([1.0, 1.1, 1.2], "dB", "1.10 ± 0.10\u00a0dB"),
        ([0.00853, 0.00861, 0.00842], "", "0.008520 ± 0.000095"),
        ([2.0, 2.0], "", "2"),
    ],
)
def test_numbers_show_the_digits_that_mean_something(numbers, unit, text):
    """Three significant digits, or as many as the spread supports; whole numbers in full."""
    assert show(Value(numbers, unit).record()) == text


def test_a_claim_that_must_hold_raises_when_it_does_not():
    """A theorem's failed check ends the run."""
    claim("identity", Value([1.0]) <= 2.0, "{left} is at most {right}", must=True)
    with pytest.raises(AssertionError, match="'identity' must hold and does not hold: 3 is at most 2"):
        claim("identity", Value([3.0]) <= 2.0, "{left} is at most {right}", must=True)


def test_a_curve_is_finite_and_its_seeds_are_equally_long():
    """Unequal lengths and numbers that are not finite are refused."""
    with pytest.raises(ValueError, match="make them equal"):
        curve("loss", [[1.0, 2.0], [1.0]])
    with pytest.raises(ValueError, match="finite"):
        curve("loss", [1.0, math.nan])
