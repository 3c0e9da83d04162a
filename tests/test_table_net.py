"""The network that starts from a table: where it starts, what each of its parts sees, and its mirrored mean."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from convnets import colour
from convnets.table_net import Mirrored, TableNet

TABLE = torch.rand(256, 5, generator=torch.Generator().manual_seed(0)).log_softmax(1)


def network(**settings) -> TableNet:
    """A small network in eval mode, in which nothing is zero any more."""
    torch.manual_seed(0)
    model = TableNet(TABLE, **{"num_filters": 4, "depth": 2, **settings})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("size", [(32, 32), (31, 45)])
@pytest.mark.parametrize("coarse", [1, 4])
@pytest.mark.parametrize("training", [True, False])
def test_training_starts_at_the_table(size, coarse, training):
    """Before the first step the logits are the table's rows, for every picture of any size, to the last bit."""
    images = torch.randint(256, (3, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    model = TableNet(TABLE, 4, coarse=coarse).train(training)
    rows = TABLE[images.int().sum(-1) // 3]
    assert torch.equal(model(colour.grey(colour.to_pixels(images))), rows.permute(0, 3, 1, 2))


def test_the_evidence_of_a_coarse_network_is_the_same_all_over_a_block():
    """What it adds to the table changes only from block to block; that of a fine one changes inside blocks, too."""
    levels = torch.randint(256, (2, 32, 32), generator=torch.Generator().manual_seed(2))
    for coarse, spread in ((4, False), (1, True)):
        logits = network(coarse=coarse)(levels[:, None] / 256)
        evidence = (logits - TABLE[levels].permute(0, 3, 1, 2)).detach()
        blocks = evidence.unfold(2, 4, 4).unfold(3, 4, 4).flatten(-2)
        assert bool((blocks.amax(-1) - blocks.amin(-1) > 1e-3).any()) is spread


@pytest.mark.parametrize("context", [True, False])
def test_only_context_carries_a_pixel_across_the_picture(context):
    """One corner changes what is said of the opposite one through the mean of the whole picture, and not otherwise."""
    model = network(depth=1, context=context)
    images = torch.full((1, 1, 32, 32), 0.5, requires_grad=True)
    model(images)[0, :, -1, -1].sum().backward()
    assert bool(images.grad[0, 0, 0, 0] != 0) is context


@pytest.mark.parametrize("position", [True, False])
def test_only_position_tells_places_of_a_plain_picture_apart(position):
    """Far from the borders an even picture gets the same answer everywhere unless the place itself is an input."""
    model = network(depth=1, position=position)
    middle = model(torch.full((1, 1, 64, 64), 0.5))[0, :, 24:40:2, 24:40:2].flatten(1)
    assert bool((middle.amax(1) - middle.amin(1)).max() > 1e-4) is position


def test_the_mirrored_mean_of_a_mirrored_picture_is_its_mirror_image():
    """And it costs no more than the mean of both answers."""
    model, images = network(), torch.rand(4, 1, 16, 16)
    mean = Mirrored(model)
    torch.testing.assert_close(mean(images.flip(-1)), mean(images).flip(-1))
    labels = torch.randint(5, (4, 16, 16))
    both = [F.cross_entropy(model(images), labels), F.cross_entropy(model(images.flip(-1)), labels.flip(-1))]
    assert F.cross_entropy(mean(images), labels) <= sum(both) / 2
