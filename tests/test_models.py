"""The networks: shapes, weights counted by hand, and stored weights."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from convnets import colour, data
from convnets.describe import layer_table
from convnets.models import (
    CNN,
    ConvTransposeNet,
    DilatedUNet,
    PoolUpsampleNet,
    RegressionCNN,
    ResidualColouriser,
    UNet,
    UNet2018,
    crossed,
    load_weights,
)
from convnets.training import evaluate


def grey_table() -> torch.Tensor:
    return (torch.arange(256.0) / 256)[:, None].expand(256, 3).contiguous()


@pytest.mark.parametrize("pool_first", [True, False])
@pytest.mark.parametrize(("extra_layers", "num_filters", "kernel_size"), [(-1, 8, 3), (0, 8, 4), (0, 8, 5), (2, 4, 3)])
def test_regression_cnn_has_the_weights_counted_by_hand(pool_first, extra_layers, num_filters, kernel_size):
    """A convolution i to o has k^2 i o weights and o biases, a batch norm 2 o; pooling changes none of it."""
    model = RegressionCNN(kernel_size, num_filters, pool_first, extra_layers)
    middle = [(2 * num_filters, 2 * num_filters)] * (1 + extra_layers)
    narrow, wide = num_filters, 2 * num_filters
    blocks = [(1, narrow), (narrow, wide), *middle, (wide, narrow), (narrow, 3)]
    expected = sum(kernel_size**2 * i * o + 3 * o for i, o in blocks) + kernel_size**2 * 9 + 3
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model(torch.rand(2, 1, 16, 24)).shape == (2, 3, 16, 24)


@pytest.mark.parametrize(
    ("pool_first", "order"),
    [(True, ["Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]), (False, ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"])],
)
def test_pool_first_sets_the_order_in_a_block(pool_first, order):
    """2018 pooled before batch norm and ReLU, later courses after."""
    assert [type(layer).__name__ for layer in RegressionCNN(pool_first=pool_first).downconv1] == order


def test_the_assignments_weights_reach_its_error(data_root):
    """The shipped weights load as they stand and err by 0.00627 on the 1,000 test horses."""
    path = data_root / "assignment" / "regression_cnn_k3_f32.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    images = data.load("horses", num_train=100, num_validation=1000, root=data_root).validation_images
    model = RegressionCNN()
    load_weights(model, path)
    score = evaluate(model, colour.grey(colour.to_pixels(images)), images, F.mse_loss, precision=torch.float32)
    assert score.loss == pytest.approx(0.00627, abs=5e-6)
    assert score.accuracy is None


CLASSIFIERS = [CNN, UNet2018, DilatedUNet, PoolUpsampleNet, ConvTransposeNet, UNet]
# (inputs, outputs) of each convolution, for c input channels, f filters and n colours
WIRING = {
    "CNN": lambda c, f, n: [(c, f), (f, 2 * f), (2 * f, 2 * f), (2 * f, f), (f, n), (n, n)],
    "UNet2018": lambda c, f, n: [(c, f), (f, 2 * f), (2 * f, 2 * f), (4 * f, f), (2 * f, n), (n + c, n)],
    "PoolUpsampleNet": lambda c, f, n: [(c, f), (f, 2 * f), (2 * f, f), (f, n), (n, n)],
    "ConvTransposeNet": lambda c, f, n: [(c, f), (f, 2 * f), (2 * f, f), (f, n), (n, n)],
    "UNet": lambda c, f, n: [(c, f), (f, 2 * f), (2 * f, f), (2 * f, n), (n + c, n)],
}


@pytest.mark.parametrize("build", CLASSIFIERS)
@pytest.mark.parametrize(("kernel_size", "in_channels", "num_filters", "num_colours"), [(3, 1, 8, 24), (5, 3, 4, 10)])
def test_a_classifier_has_the_weights_counted_by_hand(build, kernel_size, in_channels, num_filters, num_colours):
    """A convolution i to o has k^2 i o + o weights, a batch norm 2 o, after every convolution but the last."""
    model = build(kernel_size, in_channels, num_filters, num_colours)
    wiring = WIRING[type(model).__name__](in_channels, num_filters, num_colours)
    expected = sum(kernel_size**2 * i * o + 3 * o for i, o in wiring) - 2 * num_colours
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model(torch.rand(2, in_channels, 16, 24)).shape == (2, num_colours, 16, 24)


@pytest.mark.parametrize("kernel_size", [3, 4, 5, 7])
@pytest.mark.parametrize("build", [ConvTransposeNet, UNet])
def test_every_kernel_keeps_the_shapes_of_the_figure(build, kernel_size):
    """Brief C, B-4: with the right paddings, 4 and 5 give the shapes that 3 gives."""
    shapes = [row.output_shape for row in layer_table(build(kernel_size, num_filters=4), (1, 32, 32))]
    assert shapes == [row.output_shape for row in layer_table(build(3, num_filters=4), (1, 32, 32))]


def test_a_skip_connection_carries_the_input_to_the_last_layer():
    """Silencing everything but the image's own channel in the last convolution leaves a convolution of the image."""
    for model in (UNet(num_filters=4).eval(), UNet2018(num_filters=4).eval()):
        image = torch.rand(1, 1, 8, 8)
        with torch.no_grad():
            model.finalconv.weight[:, :-1] = 0
        expected = F.conv2d(image, model.finalconv.weight[:, -1:], model.finalconv.bias, padding=1)
        torch.testing.assert_close(model(image), expected)


def test_the_dilated_unet_dilates_the_middle_as_pytorch_does():
    """The brief's 'dilation 1' is one gap between taps, PyTorch's dilation=2."""
    block = DilatedUNet(num_filters=4).rfconv
    images = torch.rand(2, 8, 9, 9)
    expected = F.conv2d(images, block[0].weight, block[0].bias, padding=2, dilation=2)
    torch.testing.assert_close(block[0](images), expected)


def test_the_shipped_classifier_reaches_its_published_score(data_root):
    """The weights that come with briefs A and D: 1.5811 and 41.2 % on the 1,000 test horses, in eval mode."""
    folder = data_root / "assignment"
    if not (folder / "cnn_k3_f32.npz").exists():
        pytest.skip(f"no weights in {folder}")
    images = data.load("horses", num_train=100, num_validation=1000, root=data_root).validation_images
    labels = colour.nearest_colour(images, colour.load_colours(folder / "colours24.npy"))
    model = CNN()
    load_weights(model, folder / "cnn_k3_f32.npz")
    inputs = colour.grey(colour.to_pixels(images))
    score = evaluate(model, inputs, labels, F.cross_entropy, precision=torch.float32)
    assert score.loss == pytest.approx(1.5811, abs=5e-5)
    assert score.accuracy == pytest.approx(0.412, abs=5e-4)


def test_a_crossed_network_goes_down_as_one_and_up_as_the_other():
    """Strides without max-pooling, then upsampling; the blocks run in the order of either network."""
    rows = layer_table(crossed(ConvTransposeNet, PoolUpsampleNet, num_filters=4), (1, 16, 16))
    convolutions = [row for row in rows if row.filters]
    kinds = ["Conv2d", "Conv2d", "MyConv2d", "MyConv2d", "MyConv2d"]
    assert [row.kind for row in convolutions] == kinds
    assert [row.output_shape[1] for row in convolutions] == [8, 4, 4, 8, 16]
    assert [row.kind for row in rows if row.kind in ("MaxPool2d", "Upsample")] == ["Upsample", "Upsample"]


def test_pool_upsample_net_is_figure_1a():
    """The layers of the 2021 brief in its order, each with its shape, for images of 32x32."""
    rows = layer_table(PoolUpsampleNet(num_filters=4, num_in_channels=2, num_colours=5), (2, 32, 32))[1:]
    block = ["MyConv2d", "resize", "BatchNorm2d", "ReLU"]
    kinds = [row.kind.replace("MaxPool2d", "resize").replace("Upsample", "resize") for row in rows]
    assert kinds == 4 * block + ["MyConv2d"]
    assert [row.kind for row in rows[1::4]] == ["MaxPool2d", "MaxPool2d", "Upsample", "Upsample"]
    assert [row.output_shape for row in rows[::4]] == [(4, 32, 32), (8, 16, 16), (4, 8, 8), (5, 16, 16), (5, 32, 32)]
    assert [row.output_shape for row in rows[3::4]] == [(4, 16, 16), (8, 8, 8), (4, 16, 16), (5, 32, 32)]


def test_pool_upsample_net_names_an_even_kernel():
    """No padding keeps the shapes of Figure 1a under an even kernel."""
    with pytest.raises(ValueError, match="kernel_size is 4"):
        PoolUpsampleNet(kernel_size=4)


@pytest.mark.parametrize("size", [(32, 32), (30, 18), (33, 7), (1, 5)])
def test_the_residual_colouriser_starts_at_the_table(size):
    """Before training the output is the table's colour, shifted so that its grey is the input's; any size will do."""
    images = torch.randint(256, (3, *size, 3), dtype=torch.uint8)
    table, grey = torch.rand(256, 3), colour.grey(colour.to_pixels(images))
    looked_up = table[colour.grey_levels(images).long()].permute(0, 3, 1, 2)
    expected = looked_up - looked_up.mean(1, keepdim=True) + grey
    torch.testing.assert_close(ResidualColouriser(table)(grey), expected)


def test_the_residual_colouriser_keeps_the_grey():
    """Whatever its weights, the mean of R, G and B of the output is the input."""
    model = ResidualColouriser(torch.rand(256, 3), num_filters=4)
    torch.nn.init.normal_(model.finalconv.weight)
    grey = torch.rand(2, 1, 12, 12)
    torch.testing.assert_close(model(grey).mean(1, keepdim=True), grey)


def shipped_names(filters, inputs_of):
    """The 2018 files' names and shapes, typed from the shipped `cnn_k3_f32` and briefs' code, not read off a model."""
    shapes = {}
    outputs = {"downconv1": filters, "downconv2": 2 * filters, "rfconv": 2 * filters, "upconv1": filters, "upconv2": 24}
    for block, width in outputs.items():
        norm = 1 if block == "rfconv" else 2  # pooling or upsampling stands between
        shapes |= {f"{block}.0.weight": (width, inputs_of[block], 3, 3), f"{block}.0.bias": (width,)}
        shapes |= {f"{block}.{norm}.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {"finalconv.weight": (24, inputs_of["finalconv"], 3, 3), "finalconv.bias": (24,)}


@pytest.mark.parametrize("build", [UNet2018, DilatedUNet])
def test_weights_under_the_shipped_names_load_into_the_unets_of_2018(build, tmp_path):
    """`downconv1.0.weight` … `finalconv.bias`: a file under PyTorch's names for the 2018 code fits as it stands."""
    inputs_of = {"downconv1": 1, "downconv2": 8, "rfconv": 16, "upconv1": 32, "upconv2": 16, "finalconv": 25}
    stored = {name: torch.rand(shape) for name, shape in shipped_names(8, inputs_of).items()}
    torch.save(stored, tmp_path / "unet_k3_f8.pkl", _use_new_zipfile_serialization=False)
    model = build(num_filters=8)
    load_weights(model, tmp_path / "unet_k3_f8.pkl")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in stored.items())


def test_the_typed_names_are_those_of_the_shipped_file(data_root):
    """So what the UNets are held against is what the assignment really stores."""
    path = data_root / "assignment" / "cnn_k3_f32.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    inputs_of = {"downconv1": 1, "downconv2": 32, "rfconv": 64, "upconv1": 64, "upconv2": 32, "finalconv": 24}
    with np.load(path) as stored:
        assert {name: stored[name].shape for name in stored.files} == shipped_names(32, inputs_of)


def save_npz(path, state):
    np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("w.npz", save_npz),
        ("w.safetensors", lambda path, state: save_file(state, path)),
        ("w.pt", lambda path, state: torch.save(state, path)),
        ("w.pkl", lambda path, state: torch.save(state, path, _use_new_zipfile_serialization=False)),
    ],
)
def test_weights_come_back_from_every_format(tmp_path, name, save):
    """What was stored is what the other network then holds, in PyTorch's old format, too."""
    stored, model = RegressionCNN(num_filters=4).state_dict(), RegressionCNN(num_filters=4)
    save(tmp_path / name, stored)
    load_weights(model, tmp_path / name)
    assert all(torch.equal(tensor, stored[key]) for key, tensor in model.state_dict().items())


class Trap:
    """Code that an unpickler would run."""

    def __reduce__(self):
        return (open, ("sprung", "w"))


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    """Nothing in a file of weights is executed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"weight": Trap()}, protocol=2))
    with pytest.raises(ValueError, match="more than named tensors"):
        load_weights(RegressionCNN(), tmp_path / "w.pkl")
    np.savez(tmp_path / "w.npz", weight=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="more than named tensors"):
        load_weights(RegressionCNN(), tmp_path / "w.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.pt"])
def test_a_damaged_file_is_told_from_an_absent_one(tmp_path, name):
    """Half a file gives one line with the remedy; no file is an ordinary FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        load_weights(RegressionCNN(), tmp_path / name)
    (tmp_path / name).write_bytes(b"PK half")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        load_weights(RegressionCNN(), tmp_path / name)


def test_weights_that_do_not_fit_are_named(tmp_path):
    """One line says which file, which network, and the first mismatches; nothing is loaded."""
    state = RegressionCNN(num_filters=4).state_dict()
    state["rfconv.0.bias"] = torch.zeros(5)
    state["stray"] = state.pop("finalconv.bias")
    save_npz(tmp_path / "w.npz", state)
    model = RegressionCNN(num_filters=4)
    before = model.downconv1[0].weight.clone()
    with pytest.raises(ValueError, match=r"w.npz does not fit RegressionCNN: .*bias is missing.*rfconv") as error:
        load_weights(model, tmp_path / "w.npz")
    assert "\n" not in str(error.value)
    assert torch.equal(model.downconv1[0].weight, before)
    with pytest.raises(ValueError, match="no file of weights"):
        load_weights(model, tmp_path / "w.onnx")
