"""Deep distances against their formula written out, and LPIPS against torchvision's AlexNet with made-up weights."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.models import alexnet

from convnets import perception

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
TRUTH = RNG.integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
CHANNELS = (64, 192, 384, 256, 256)


def network() -> perception.FeatureClassifier:
    torch.manual_seed(0)
    return perception.FeatureClassifier(10, 4).eval()


def linear() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1, generator=generator) for i, n in enumerate(CHANNELS)}


def by_places(maps, others, weights) -> np.ndarray:
    """The formula, a place at a time, in float64."""
    total = np.zeros(len(maps[0]))
    for depth, (one, other) in enumerate(zip(maps, others, strict=True)):
        one, other = (x.detach().double().numpy() for x in (one, other))
        n, _, height, width = one.shape
        for i, row, column in np.ndindex(n, height, width):
            a, b = one[i, :, row, column], other[i, :, row, column]
            a, b = (x / max(np.sqrt((x**2).sum()), 1e-10) for x in (a, b))
            w = np.ones(len(a)) if weights is None else weights[depth].double().numpy().ravel()
            total[i] += (w * (a - b) ** 2).sum() / (height * width)
    return total


def pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(256))


def test_deep_distance_is_the_formula():
    """Unit vectors at each place, squared differences, mean over places, sum over maps; batches change nothing."""
    eye = network()
    expected = by_places(eye.maps(pixels(IMAGES)), eye.maps(pixels(TRUTH)), None)
    assert perception.deep_distance(eye, IMAGES, TRUTH) == pytest.approx(expected, rel=1e-4)
    assert perception.deep_distance(eye, IMAGES / 256, TRUTH, batch_size=2) == pytest.approx(expected, rel=1e-4)
    assert perception.deep_distance(eye, TRUTH, IMAGES) == pytest.approx(expected, rel=1e-4)
    assert (perception.deep_distance(eye, TRUTH, TRUTH) == 0).all()


def test_the_maps_are_what_the_classifier_sees():
    """Three depths, each half as large; the logits are a linear function of the deepest map's mean."""
    eye = network()
    maps = eye.maps(pixels(IMAGES))
    assert [tuple(each.shape) for each in maps] == [(3, 4, 32, 32), (3, 8, 16, 16), (3, 16, 8, 8)]
    expected = maps[-1].mean((2, 3)) @ eye.classify.weight.T + eye.classify.bias
    assert torch.allclose(eye(pixels(IMAGES)), expected)


def test_lpips_sees_what_torchvisions_alexnet_sees():
    """The maps after each of its ReLUs, on pictures enlarged to 64×64 and scaled as the measure scales them."""
    torch.manual_seed(2)
    theirs = alexnet().eval()
    eye = perception.Lpips(theirs.state_dict(), linear()).eval()
    values = F.interpolate(pixels(IMAGES), scale_factor=2, mode="bilinear") * 2 - 1
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    values = (values - shift[:, None, None]) / scale[:, None, None]
    expected = []
    for layer in theirs.features:
        values = layer(values)
        if isinstance(layer, torch.nn.ReLU):
            expected.append(values.clone())
    found = eye.maps(pixels(IMAGES))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))
    with torch.no_grad():
        distances = by_places(found, eye.maps(pixels(TRUTH)), list(linear().values()))
    assert perception.deep_distance(eye, IMAGES, TRUTH) == pytest.approx(distances, rel=1e-3)


def weights_of_alexnet() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: tensor for name, tensor in alexnet().state_dict().items() if name.startswith("features")}


def test_lpips_is_found_where_its_weights_lie(tmp_path, monkeypatch):
    """None without either file; with both, the network; AlexNet's file only with the published digest."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    root, hub = tmp_path / "data", tmp_path / "hub" / "checkpoints"
    assert perception.find_lpips(root) is None
    for folder in (root / "lpips", hub):
        folder.mkdir(parents=True)
    torch.save(linear(), root / "lpips" / "alex.pth")
    assert perception.find_lpips(root) is None
    published = hub / "alexnet-owt-7be5be79.pth"
    torch.save(weights_of_alexnet(), published)
    with pytest.raises(ValueError, match="is not the published file"):
        perception.find_lpips(root)
    digits = hashlib.sha256(published.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(perception, "_ALEXNET", f"alexnet-owt-{digits}.pth")
    published.rename(hub / f"alexnet-owt-{digits}.pth")
    eye = perception.find_lpips(root)
    assert perception.deep_distance(eye, IMAGES, TRUTH).min() > 0


@pytest.mark.parametrize(
    "change", [{"lin3.model.1.weight": torch.rand(1, 7, 1, 1)}, {"features.0.bias": torch.rand(9)}]
)
def test_weights_of_something_else_are_refused(change):
    """Another shape, or a name that is missing, is told."""
    found = {**weights_of_alexnet(), **linear(), **change}
    with pytest.raises(ValueError, match="no weights of LPIPS"):
        perception.Lpips(found, found)
    with pytest.raises(ValueError, match=r"features\.0"):
        perception.Lpips({}, linear())


def test_the_worst_change_stays_small_and_is_far_off_for_the_network():
    """No channel moves by more than is allowed, none leaves [0, 1], and chance changes of that size are nearer."""
    eye = network()
    changed = perception.worst_change(eye, IMAGES, most=4 / 256)
    assert np.abs(changed - IMAGES / 256).max() <= 4 / 256 + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1
    chance = np.clip(IMAGES / 256 + RNG.choice([-4, 4], IMAGES.shape) / 256, 0, 1)
    worst = perception.deep_distance(eye, changed, IMAGES)
    assert (worst > 1.5 * perception.deep_distance(eye, chance, IMAGES)).all()
