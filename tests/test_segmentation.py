"""Fine-tuning DeepLabV3 from its end: what is frozen, cached, lost and scored, and where weights lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional as F
from torchvision import models as zoo

from convnets import deeplab, segmentation, training

CPU = torch.device("cpu")


@pytest.fixture
def model():
    """DeepLabV3 with a narrow backbone, its batch norm's statistics those of some pictures, ready for two classes."""
    torch.manual_seed(0)
    made = deeplab.deeplabv3("small", 5, num_filters=4)
    training.renew_statistics(deeplab.whole(made, 16), pictures(20), precision=torch.float32)
    deeplab.replace_last_layer(made, 2)
    return made


def pictures(number: int, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (number, size, size, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def masks(number: int, size: int = 16) -> torch.Tensor:
    return (pictures(number, size)[..., 0] > 120).to(torch.uint8)


# ---- Networks and weights. ----


@pytest.mark.parametrize("backbone", deeplab.BACKBONES)
def test_only_the_last_layer_learns(backbone):
    """As brief C asks: of torchvision's own network `classifier.4` has two outputs, and nothing else has gradients."""
    made = deeplab.deeplabv3(backbone)
    assert isinstance(made, zoo.segmentation.DeepLabV3)
    assert made.classifier[4].out_channels == 21
    deeplab.replace_last_layer(made)
    learning = {name: tuple(p.shape) for name, p in made.named_parameters() if p.requires_grad}
    assert learning == {"classifier.4.weight": (2, 256, 1, 1), "classifier.4.bias": (2,)}


@pytest.mark.parametrize("backbone", ["small", "mobilenet_v3_large"])
@pytest.mark.parametrize("released", [1, 2, 3])
def test_trunk_and_head_are_the_network(backbone, released):
    """One after the other they give torchvision's own forward pass of normalised pictures, in evaluation mode."""
    torch.manual_seed(0)
    made = deeplab.deeplabv3(backbone, 2).eval()
    images = training.as_network(pictures(2, 32))
    normalised = zoo.segmentation.DeepLabV3_ResNet101_Weights.DEFAULT.transforms(resize_size=None)(images * 256 / 255)
    with torch.no_grad():
        expected = made(normalised)["out"]
    trunk, head = deeplab.split(made, 32, released)
    torch.testing.assert_close(head.train()(trunk.train()(images)), expected, rtol=1e-4, atol=1e-5)
    learning = sum(p.numel() for p in made.parameters() if p.requires_grad)
    assert learning == sum(p.numel() for p in head.parameters())
    assert all(p.requires_grad for p in head.parameters())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_logits_are_enlarged_as_torch_does(precision):
    """Values and derivatives are those of torch's own bilinear interpolation, in float32 under autocast as well."""
    logits = torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = F.interpolate(logits, (30, 30), mode="bilinear")
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found = deeplab.Enlarge(30)(logits)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    gradients = (torch.autograd.grad((outputs * upstream).sum(), logits)[0] for outputs in (found, expected))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_layers_are_counted_from_the_end(model):
    """All of them can be released; none, or more than there are, cannot."""
    number = len(deeplab.layers(model))
    assert number == 8  # five of the backbone, pooling at several rates, and two
    _, head = deeplab.split(model, 16, number)
    assert sum(p.numel() for p in head.parameters()) == sum(p.numel() for p in model.parameters())
    for released in (0, number + 1):
        with pytest.raises(ValueError, match=f"released is {released}"):
            deeplab.split(model, 16, released)


def test_an_unknown_backbone_is_named():
    """With those that there are."""
    with pytest.raises(ValueError, match=r"'resnet18'.*resnet101"):
        deeplab.deeplabv3("resnet18")
    with pytest.raises(ValueError, match=r"no COCO weights for 'small'"):
        deeplab.load_coco("small")


def publish(folder: Path, monkeypatch, state: dict[str, torch.Tensor]) -> Path:
    """A file of weights under an address of its own, its name ending in its hash as torchvision's do."""
    folder.mkdir()
    torch.save(state, folder / "weights.pth")
    digest = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()[:8]
    path = (folder / "weights.pth").rename(folder / f"deeplabv3_coco-{digest}.pth")
    monkeypatch.setattr(deeplab, "coco_url", lambda _: path.as_uri())
    monkeypatch.setenv("TORCH_HOME", str(folder.parent / "home"))
    return path


def shapes(backbone: str) -> dict[str, torch.Tensor]:
    """A state dict with the keys and shapes of the published one, which takes a few bytes."""
    with torch.device("meta"):
        made = zoo.get_model(f"deeplabv3_{backbone}", weights=None, weights_backbone=None, aux_loss=True)
    return {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in made.state_dict().items()}


@pytest.mark.parametrize("backbone", deeplab.PRETRAINED)
def test_coco_weights_of_the_published_names_and_shapes_fit(backbone, tmp_path, monkeypatch):
    """Downloaded into TORCH_HOME with the hash verified, and found there the next time."""
    path = publish(tmp_path / "web", monkeypatch, shapes(backbone))
    made = deeplab.load_coco(backbone)
    assert made.classifier[4].weight.shape == (21, 256, 1, 1)
    assert not any(p.any() for p in made.parameters())
    path.unlink()
    deeplab.load_coco(backbone)


def test_coco_weights_are_those_of_the_file(tmp_path, monkeypatch):
    """The network with loaded weights predicts what the network that wrote them does."""
    torch.manual_seed(3)
    source = zoo.get_model("deeplabv3_mobilenet_v3_large", weights=None, weights_backbone=None, aux_loss=True).eval()
    publish(tmp_path / "web", monkeypatch, source.state_dict())
    images = torch.rand(1, 3, 32, 32)
    found = deeplab.load_coco("mobilenet_v3_large").eval()(images)["out"]
    torch.testing.assert_close(found, source(images)["out"], rtol=0, atol=0)


def test_coco_weights_that_are_wrong_are_named(tmp_path, monkeypatch):
    """Absent, half a file, and weights of another network: one line with the file and the remedy; no half download."""
    path = publish(tmp_path / "web", monkeypatch, shapes("mobilenet_v3_large"))
    kept = tmp_path / "home" / "hub" / "checkpoints" / path.name
    for content in (None, path.read_bytes()[:100]):  # nothing under that address; something else
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(FileNotFoundError, match=r"deeplabv3_coco.*put file://.*TORCH_HOME"):
            deeplab.load_coco("mobilenet_v3_large")
        assert list(kept.parent.iterdir()) == []
        path.write_bytes(path.read_bytes() if content else b"x" * 200)
    kept.write_bytes(b"half of it")
    with pytest.raises(ValueError, match=f"{kept.name} is altered or half a file: remove it") as caught:
        deeplab.load_coco("mobilenet_v3_large")
    assert "\n" not in str(caught.value)


def test_coco_weights_of_another_network_are_named(tmp_path, monkeypatch):
    """In one line, though torch says which keys are missing in many."""
    publish(tmp_path / "web", monkeypatch, shapes("mobilenet_v3_large"))
    with pytest.raises(ValueError, match="does not fit deeplabv3_resnet50") as caught:
        deeplab.load_coco("resnet50")
    assert "\n" not in str(caught.value)


# ---- Cached features. ----


def trained(model: nn.Module, cached: bool, released: int, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """The head's weights after three epochs in float32, with features computed once or each time."""
    torch.manual_seed(1)
    trunk, head = deeplab.split(model, 16, released)
    settings = {"device": CPU, "precision": torch.float32, "epochs": 3, "batch_size": 4}
    images, truth = pictures(12), masks(12)
    network = head
    if cached:
        images = segmentation.cache(trunk, images, 5, device=CPU, precision=torch.float32, dtype=dtype)
    else:
        network = nn.Sequential(trunk, head)
    training.fit(network, images, truth, F.cross_entropy, validation=(images, truth), **settings)
    return {name: tensor.clone() for name, tensor in head.state_dict().items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (None, 5e-3), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("released", [1, 2])
def test_caching_changes_no_weight(model, released, dtype, tolerance):
    """Features computed once give the weights that features computed in every epoch give, to rounding."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = trained(model, True, released, dtype)
    model.load_state_dict(before)
    second = trained(model, False, released)
    for name, tensor in first.items():
        other = second[name].double()
        assert (tensor - other).norm() <= tolerance * other.norm() + 1e-7, name
    trunk_names = [name for name in before if name.startswith("backbone")]
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in trunk_names)
    assert any(not torch.equal(model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("on_disk", [0, 2**30])
def test_features_are_those_of_the_trunk(model, dtype, on_disk, tmp_path, monkeypatch):
    """In memory and on the disk, in each precision to its rounding; on the disk nothing stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    trunk, _ = deeplab.split(model, 16)
    images = pictures(7)
    found = segmentation.cache(trunk, images, 3, dtype=dtype, on_disk=on_disk, device=CPU, precision=torch.float32)
    assert found.dtype == dtype
    assert found.shape == (7, 256, 4, 4)
    with torch.no_grad():
        expected = trunk(training.as_network(images))
    epsilon = torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), expected, rtol=1e-5 + epsilon, atol=1e-5)
    assert list(tmp_path.iterdir()) == []


# ---- Losses and the optimum. ----


def test_the_loss_is_that_of_the_brief():
    """Against the three equations, spelt out pixel by pixel."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits, truth = rng.normal(size=(3, 2, 4, 5)), rng.integers(0, 2, (3, 4, 5))
        losses = []
        for two, y in zip(logits, truth, strict=True):
            intersection = union = 0.0
            for i, j in np.ndindex(4, 5):
                x = np.exp(two[1, i, j]) / (np.exp(two[0, i, j]) + np.exp(two[1, i, j]))
                intersection += x * y[i, j]
                union += x + y[i, j] - x * y[i, j]
            losses.append(1 - intersection / union)
        found = segmentation.soft_iou_loss(torch.from_numpy(logits), torch.from_numpy(truth))
        assert found.item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_the_loss_has_the_gradient_of_finite_differences():
    """Autograd agrees with them, also where a mask is empty or full."""
    logits = torch.randn(4, 2, 3, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_()
    truth = torch.stack([torch.zeros(3, 3), torch.ones(3, 3), *torch.eye(3).expand(2, 3, 3)]).long()
    assert torch.autograd.gradcheck(lambda x: segmentation.soft_iou_loss(x, truth), logits)


def test_hard_predictions_have_the_iou_as_loss():
    """With probabilities of 0 and 1 the loss is 1 - IoU."""
    predicted, truth = masks(6), masks(6).flip(0)
    logits = torch.stack([-50.0 * predicted, 50.0 * predicted], 1) - 25 * torch.tensor([-1.0, 1.0])[:, None, None]
    loss = segmentation.soft_iou_loss(logits, truth).item()
    assert loss == pytest.approx(1 - segmentation.iou(predicted, truth).mean().item(), abs=1e-6)


def test_the_last_layer_is_solved():
    """The loss is the one that SciPy's Nelder-Mead and BFGS without gradients cannot lower; its gradient vanishes."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 3, 4, 4, generator=generator)
    truth = (torch.rand(6, 8, 8, generator=generator) < 0.4).to(torch.uint8)
    layer, loss, gradient = segmentation.solve_last_layer(features, truth)
    assert gradient < 1e-6

    def value(point: np.ndarray) -> float:
        weights = torch.from_numpy(point).float().view(2, 4)
        logits = F.conv2d(features, weights[:, :3, None, None], weights[:, 3])
        logits = F.interpolate(logits, (8, 8), mode="bilinear").double()
        return F.cross_entropy(logits, truth.long()).item()

    solved = torch.cat([layer.weight.detach().flatten(1), layer.bias.detach()[:, None]], 1).numpy().ravel()
    assert value(solved) == pytest.approx(loss, abs=1e-6)
    other = minimize(value, np.zeros(8), method="Nelder-Mead", options={"maxiter": 4000, "maxfev": 4000})
    assert loss <= other.fun + 1e-7
    assert loss == pytest.approx(other.fun, abs=1e-3)


def test_colour_and_place_are_of_the_pixel_alone():
    """A red picture has hue 0 everywhere; a pixel's numbers stay when others change; the middle is near the middle."""
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(1, 9, 9, 3)
    found = segmentation.colour_and_place(red)
    assert torch.equal(found[0, :7, 4, 4], torch.tensor([1.0, 0, 0, 1, 1, 1, 1]))
    assert torch.allclose(found[0, 7:13, 2, 3], torch.tensor([1.0, 0, 1, 0, 1, 0]), atol=1e-6)
    assert torch.allclose(found[0, 13:, 4, 4], torch.tensor([0.0, 0, 0, 0, 0, 1]), atol=1e-6)
    assert torch.allclose(found[0, 13:, 0, 8], torch.tensor([1, -1, 1, 1, 2**0.5, np.exp(-6)]).float(), atol=1e-6)
    other = red.clone()
    other[0, 0, 0] = 90
    changed = (segmentation.colour_and_place(other) != found).any(1)[0]
    assert changed.nonzero().tolist() == [[0, 0]]
    assert segmentation.colour_and_place(red, size=3).shape == (1, 19, 3, 3)


def test_directions_in_which_features_do_not_vary_do_no_harm():
    """A constant channel and a copy of another one leave the optimum what it is."""
    features = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    more = torch.cat([features, features[:, :1], torch.full((5, 1, 4, 4), 3.0)], 1)
    truth = masks(5, 8)
    _, loss, _ = segmentation.solve_last_layer(features, truth)
    layer, again, _ = segmentation.solve_last_layer(more, truth)
    assert again == pytest.approx(loss, abs=1e-9)
    assert layer.weight.isfinite().all()


# ---- Measures. ----


def test_iou_is_what_counting_gives():
    """By brute force over sets of pixels; one where both are empty."""
    predicted, truth = masks(20, 6), masks(20, 6).flip(0)
    predicted[0] = truth[0] = truth[1] = 0
    for one, two, found, mean in zip(
        predicted,
        truth,
        segmentation.iou(predicted, truth),
        segmentation.mean_iou(predicted, truth.bool()),
        strict=True,
    ):
        shares = []
        for value in (1, 0):
            first, second = ({tuple(at) for at in (mask == value).nonzero().tolist()} for mask in (one, two))
            shares.append(len(first & second) / len(first | second) if first | second else 1.0)
        assert found.item() == pytest.approx(shares[0], abs=1e-12)
        assert mean.item() == pytest.approx(sum(shares) / 2, abs=1e-12)
    with pytest.raises(ValueError, match=r"\[20, 6, 6\].*\[19, 6, 6\]"):
        segmentation.iou(predicted, truth[1:])


@pytest.mark.parametrize(
    ("iou", "score"), [(0.0, 0.0), (0.5, 0.0), (0.501, 0.1), (0.6, 0.2), (0.62, 0.3), (0.95, 0.9), (0.951, 1), (1, 1)]
)
def test_the_score_of_the_course_has_steps(iou, score):
    """Nothing up to a half, a tenth more for each twentieth begun, all from 0.95 on."""
    assert segmentation.course_score(torch.tensor([iou], dtype=torch.double)).item() == pytest.approx(score)


# ---- Fine-tuning. ----


def test_the_best_epoch_is_kept(model):
    """Probabilities and weights are those of the epoch of the best mean IoU, and the network is left with them."""
    torch.manual_seed(0)
    _, head = deeplab.split(model, 16)
    pictures_of = {part: (torch.randn(6, 256, 4, 4), masks(6)) for part in ("train", "validation", "test")}
    settings = {"epochs": 6, "learning_rate": 0.3, "batch_size": 2, "device": CPU, "precision": torch.float32}
    tuned = segmentation.fine_tune(head, pictures_of, segmentation.soft_iou_loss, **settings)
    assert len(tuned.ious) == 6
    found = segmentation.mean_iou(tuned.masks("validation"), pictures_of["validation"][1]).mean().item()
    assert found == max(tuned.ious) > tuned.ious[-1]
    assert all(torch.equal(tensor, tuned.state[name]) for name, tensor in head.state_dict().items())
    for part, (inputs, _) in pictures_of.items():
        expected = training.predict(head, inputs, device=CPU, precision=torch.float32).softmax(1)[:, 1]
        torch.testing.assert_close(tuned.probabilities[part], expected, rtol=1e-4, atol=1e-5)
    assert tuned.masks("test", 0.0).all()
