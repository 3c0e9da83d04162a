"""Confusion and calibration counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from convnets import calibration


def predictions(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(5, 0.4), count)
    return probabilities, rng.integers(5, size=count)


def test_confusion_counts_pairs():
    """Rows are the truth, columns what it was taken for; a class that nobody names has a row of zeros."""
    probabilities, labels = predictions()
    predicted = probabilities.argmax(1)
    by_hand = [[sum((labels == row) & (predicted == column)) for column in range(6)] for row in range(6)]
    assert calibration.confusion(predicted, labels, 6).tolist() == by_hand


def test_reliability_is_the_loop_over_bins():
    """Each prediction counts once, in the bin of its confidence."""
    probabilities, labels = predictions()
    found = calibration.reliability(probabilities, labels, 10)
    error = 0.0
    for k in range(10):
        confidence = probabilities.max(1)
        inside = (confidence >= k / 10) & ((confidence < (k + 1) / 10) | (k == 9))
        assert found.counts[k] == inside.sum()
        if inside.any():
            sure, right = confidence[inside].mean(), (probabilities.argmax(1) == labels)[inside].mean()
            assert (found.confidence[k], found.accuracy[k]) == pytest.approx((sure, right))
            error += inside.mean() * abs(sure - right)
    assert found.error == pytest.approx(error)


def test_labels_drawn_from_the_probabilities_are_calibrated_and_certainty_is_not():
    """The error is then small; of a classifier that is always sure it is the share of its errors."""
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(4, 0.5), 20_000)
    labels = (probabilities.cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert calibration.reliability(probabilities, labels).error < 0.02
    sure = np.eye(4)[probabilities.argmax(1)]
    wrong = (probabilities.argmax(1) != labels).mean()
    assert calibration.reliability(sure, labels).error == pytest.approx(wrong)


def test_perfect_predictions_have_no_error_and_fill_one_bin():
    """A confidence of exactly 1 belongs to the last bin."""
    found = calibration.reliability(np.eye(3), np.arange(3))
    assert found.error == 0
    assert found.counts.tolist() == [0] * 9 + [3]
