"""Colourings drawn from probabilities: what every pixel keeps, and what pixels have in common."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convnets import colourings
from convnets.colourings import Coupling

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(1, 5, 6, 6, generator=GENERATOR)
COLOURS = torch.rand(5, 3, generator=GENERATOR).numpy()


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
@pytest.mark.parametrize("coupled", [True, False])
def test_every_pixel_keeps_its_probabilities(order, coupled):
    """Over many colourings the share of each colour in each pixel is the softmax's, whatever the order and coupling."""
    number = 20_000
    chroma = colourings.mean_chroma(LOGITS, COLOURS)
    coupling = Coupling(0.9 if coupled else 0.0, 5.0, 0.5)
    noise = colourings.coherent_noise(chroma, coupling, torch.Generator().manual_seed(1), number)[:, 0]
    drawn = colourings.draw(LOGITS.expand(number, -1, -1, -1), noise, order)
    shares = torch.nn.functional.one_hot(drawn.long(), 5).double().mean(0).movedim(-1, 0)
    expected = LOGITS[0].double().softmax(0)
    deviations = (shares - expected) / (expected * (1 - expected) / number).sqrt()
    assert deviations.abs().max() < 5  # of 180 standard normal numbers
    assert deviations.square().mean() < 2


def test_noise_has_the_correlations_that_the_coupling_says():
    """Held against the formula, written out for every pair of pixels."""
    coupling, number = Coupling(0.8, 3.0, 0.4), 40_000
    chroma = colourings.mean_chroma(LOGITS, COLOURS)
    fields = colourings.coherent_noise(chroma, coupling, torch.Generator().manual_seed(2), number)
    measured = np.corrcoef(fields[:, 0].flatten(1).T.numpy())
    points = chroma[0].flatten(0, 1).numpy()
    for one, other in np.ndindex(36, 36):
        distance = np.hypot(one // 6 - other // 6, one % 6 - other % 6)
        wanted = 0.8 * np.exp(-distance / 3 - np.linalg.norm(points[one] - points[other]) / 0.4)
        assert measured[one, other] == pytest.approx(1 if one == other else wanted, abs=0.025)


def test_the_mean_chroma_is_the_expected_colour_less_its_grey():
    """By the definition of an expectation, and its channels cancel."""
    expected = np.einsum("khw,kc->hwc", LOGITS[0].double().softmax(0).numpy(), COLOURS.astype(float))
    chroma = colourings.mean_chroma(LOGITS, COLOURS)[0].numpy()
    np.testing.assert_allclose(chroma, expected - expected.mean(-1, keepdims=True), atol=1e-12)


@pytest.mark.parametrize("truth", [Coupling(0.9, 6.0, 0.3), Coupling(0.5, 2.0, 1.0)])
def test_fitting_finds_the_coupling_that_made_the_pictures(truth):
    """From colours alone, drawn with a known coupling: correlations within 0.1 of the true ones."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.nn.functional.interpolate(3 * torch.randn(300, 5, 3, 3, generator=generator), scale_factor=4)
    order = colourings.chroma_order(COLOURS)
    noise = colourings.coherent_noise(colourings.mean_chroma(logits, COLOURS), truth, generator)[0]
    labels = colourings.draw(logits, noise, order)
    found = colourings.fit_coupling(logits, labels, COLOURS, order)
    for distance, gap in ((1, 0), (3, 0), (2, 0.2)):
        one, other = (c.strength * np.exp(-distance / c.reach - gap / c.contrast) for c in (truth, found))
        assert one == pytest.approx(other, abs=0.1)


def test_colours_are_ordered_along_their_chroma_not_their_lightness():
    """Reds of any lightness come together, then greys, then blues; or the other way round."""
    blue, grey, red = (np.array(c) for c in ([-0.2, 0, 0.2], [0, 0, 0], [0.2, 0, -0.2]))
    colours = np.array([level + chroma for level in (0.3, 0.5, 0.7) for chroma in (blue, red, grey)])
    ordered = colours[colourings.chroma_order(colours)]
    warmth = ordered[:, 0] - ordered[:, 2]
    assert (np.diff(warmth) > -1e-9).all() or (np.diff(warmth) < 1e-9).all()


def test_mixed_blocks_and_agreement_count_what_they_say():
    """Against loops over all blocks and pairs."""
    maps = torch.randint(2, (3, 5, 4), generator=GENERATOR).numpy()
    blocks = [len(np.unique(m[r : r + 2, c : c + 2])) > 1 for m in maps for r in range(4) for c in range(3)]
    assert colourings.mixed_blocks(maps) == pytest.approx(np.mean(blocks))
    pairs = [m[r, c] == m[r, c + 2] for m in maps for r in range(5) for c in range(2)]
    pairs += [m[r, c] == m[r + 2, c] for m in maps for r in range(3) for c in range(4)]
    assert colourings.agreement(maps, 2) == pytest.approx(np.mean(pairs))
