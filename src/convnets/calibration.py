"""How a classifier errs: which classes it takes for which, and whether it knows how sure it may be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Reliability(NamedTuple):
    """Predictions sorted by confidence into equal bins: for each bin [bins] how many, how sure, and how often right.

    `confidence` and `accuracy` of an empty bin are 0.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al. 2017): the mean over predictions of |accuracy - confidence|."""
        return float(self.counts @ np.abs(self.accuracy - self.confidence) / self.counts.sum())


def confusion(predicted: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """How often a class (row) was taken for another (column): [num_classes, num_classes], from two lists of classes."""
    pairs = np.asarray(labels, np.int64) * num_classes + np.asarray(predicted, np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> Reliability:
    """Confidence, the largest of the probabilities [N, K], held against how often that class is the label [N]."""
    shares = np.asarray(probabilities, np.float64)
    confidence, right = shares.max(1), shares.argmax(1) == np.asarray(labels)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure, hits = (np.bincount(place, of, bins) / np.maximum(counts, 1) for of in (confidence, right))
    return Reliability(counts, sure, hits)
