"""The classifiers are what the brief draws, and their parts do what their names say."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from convnets import classifiers, scenes, training

PICTURES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
WHITENING = torch.zeros(24, 3, 2, 2), torch.zeros(24)


def test_the_two_blocks_are_as_the_brief_draws_them():
    """conv32, conv32, max-pool, conv64, conv64, max-pool, dense10, computed by hand from the same weights."""
    torch.manual_seed(0)
    model = classifiers.TwoBlockCNN()
    weights = list(model.parameters())
    assert [tuple(w.shape) for w in weights[::2]] == [
        *((32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3)),
        (10, 1600),
    ]
    x = PICTURES
    for pair in (weights[:4], weights[4:8]):
        for weight, bias in (pair[:2], pair[2:]):
            x = F.conv2d(x, weight, bias).clamp(min=0)
        x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    assert torch.allclose(model(PICTURES), x.reshape(4, -1) @ weights[8].T + weights[9], atol=1e-5)


def test_pixels_are_standardised_by_the_training_pictures():
    """What the first layer reads has mean 0 and variance 1 in each colour; the statistics go with the weights."""
    images = (255 * torch.rand(50, 8, 8, 3) * torch.tensor([0.2, 0.5, 1.0])).to(torch.uint8)
    model = classifiers.TwoBlockCNN(statistics=classifiers.colour_statistics(images))
    read = model.standardised(training.as_network(images)).double()
    assert torch.allclose(read.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-5)
    assert torch.allclose(read.var((0, 2, 3)), torch.ones(3).double(), atol=1e-4)
    other = classifiers.TwoBlockCNN()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(PICTURES), model(PICTURES))


def test_a_final_relu_leaves_no_negative_logit():
    """And is otherwise the same network."""
    nets = []
    for final_relu in (False, True):
        torch.manual_seed(0)
        nets.append(classifiers.TwoBlockCNN(final_relu=final_relu))
    assert torch.equal(nets[0](PICTURES).clamp(min=0), nets[1](PICTURES))


def test_batch_norm_and_dropout_stand_where_they_are_said_to():
    """Batch norm between convolution and ReLU; dropout after the pooling."""
    model = classifiers.TwoBlockCNN(batch_norm=True, dropout=0.5)
    names = [name for name, _ in model.block2.named_children()]
    assert names == ["conv1", "norm1", "relu1", "conv2", "norm2", "relu2", "pool", "dropout"]


@pytest.mark.parametrize(
    "build",
    [
        classifiers.MLP,
        classifiers.TwoBlockCNN,
        lambda: classifiers.FastCNN(WHITENING, (8, 16, 16)),
        lambda: classifiers.ShuffledPixels(classifiers.TwoBlockCNN()),
    ],
)
def test_every_classifier_makes_ten_logits_and_learns(build):
    """Float [N, 3, 32, 32] to [N, 10], and a few steps on eight pictures lower the loss."""
    torch.manual_seed(0)
    model, labels = build(), torch.arange(4)
    assert model(PICTURES).shape == (4, 10)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    losses = []
    for _ in range(15):
        losses.append(F.cross_entropy(model(PICTURES), labels))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < losses[0]


def test_whitened_patches_are_uncorrelated_and_of_variance_one():
    """The first half of the filters, on the patches they were made from; the second half is their negative."""
    images = torch.from_numpy(scenes.scenes(60).images)
    noisy = (images.float() + 20 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)
    images = noisy.to(torch.uint8)  # so that no direction is without variance
    weights, bias = classifiers.whitening_filters(images, epsilon=0.0)
    out = F.conv2d(training.as_network(images).double(), weights.double(), bias.double())
    half, negated = out.transpose(0, 1).flatten(1).split(12)
    assert torch.allclose(half.cov(), torch.eye(12, dtype=torch.double), atol=1e-3)
    assert half.mean(1).abs().max() < 1e-3
    assert torch.allclose(half, -negated)


def test_the_fixed_layer_stays_fixed():
    """Training changes no whitening weight."""
    model = classifiers.FastCNN(classifiers.whitening_filters(torch.from_numpy(scenes.scenes(20).images)), (8, 8, 8))
    assert not any(parameter.requires_grad for parameter in model.whiten.parameters())


def test_flip_average_is_the_mean_of_both_probabilities():
    """It sums to one, and does not tell a picture from its mirror image."""
    torch.manual_seed(0)
    model = classifiers.TwoBlockCNN().eval()
    log_probabilities = classifiers.FlipAverage(model)(PICTURES)
    by_hand = (model(PICTURES).softmax(1) + model(PICTURES.flip(3)).softmax(1)) / 2
    assert torch.allclose(log_probabilities.exp(), by_hand, atol=1e-6)
    assert torch.allclose(log_probabilities, classifiers.FlipAverage(model)(PICTURES.flip(3)), atol=1e-5)


def test_smoothing_mixes_the_label_with_all_classes_and_only_in_training():
    """(1 - s) of the label's loss and s of the mean over classes; plain cross-entropy where no gradient is taken."""
    logits, labels = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    losses = -logits.log_softmax(1)
    wanted = 0.8 * losses[range(6), labels].mean() + 0.2 * losses.mean()
    assert torch.allclose(classifiers.smoothed_cross_entropy(logits, labels, 0.2), wanted)
    with torch.inference_mode():
        plain = classifiers.smoothed_cross_entropy(logits, labels, 0.2)
    assert torch.allclose(plain, losses[range(6), labels].mean())


def test_shuffled_pixels_are_the_same_for_all_pictures_and_all_there():
    """One permutation of the places, drawn from the seed: colours stay together, nothing is lost."""
    layer = classifiers.ShuffledPixels(torch.nn.Identity(), seed=1)
    shuffled = layer(PICTURES)
    assert not torch.equal(shuffled, PICTURES)
    assert torch.equal(shuffled.flatten(2).sort(-1).values, PICTURES.flatten(2).sort(-1).values)
    places = torch.arange(1024.0).view(1, 1, 32, 32).expand(2, 3, -1, -1)
    moved = layer(places)
    assert torch.equal(moved[0, 0], moved[1, 2])
    assert torch.equal(PICTURES.flatten(2)[:, :, moved[0, 0].flatten().long()], shuffled.flatten(2))


def test_multiply_adds_by_the_textbook():
    """Each output number of a layer takes one multiplication with each weight of its filter."""
    by_hand = 30**2 * 27 * 32 + 28**2 * 288 * 32 + 12**2 * 288 * 64 + 10**2 * 576 * 64 + 1600 * 10
    assert classifiers.multiply_adds(classifiers.TwoBlockCNN(), (3, 32, 32)) == by_hand
    assert classifiers.multiply_adds(classifiers.MLP(), (3, 32, 32)) == 3072 * 512 + 512 * 256 + 256 * 10
