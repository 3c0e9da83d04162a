"""Weights and colours that are hostile or damaged: refused before they are used, and nothing in them is executed."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convnets import colour, models

SUFFIXES = (".pt", ".pth", ".pkl", ".npz", ".safetensors")


class Payload:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, target: Path, function=os.system) -> None:
        self.target, self.function = target, function

    def __reduce__(self):
        return self.function, (f"touch {self.target}" if self.function is os.system else str(self.target),)


def saved(model: torch.nn.Module, path: Path) -> bytes:
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    elif path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path.read_bytes()


def same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(one, two) for one, two in pairs)


def refused(function, *arguments) -> bool:
    """Whether a ValueError of one line said no."""
    try:
        function(*arguments)
    except ValueError as error:
        return "\n" not in str(error)
    return False


def test_a_payload_is_never_executed(tmp_path, fault):
    """In every format, in all protocols: as the file itself, in a tensor's place, and in numpy's."""
    evil, tried, wrong = tmp_path / "evil", 0, 0
    model = models.RegressionCNN(num_filters=1)
    for function in (os.system, os.mkdir, eval, exec):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            payload = Payload(evil, function)
            raw = pickle.dumps({"weight": payload}, protocol)
            array = io.BytesIO()
            np.save(array, np.array([payload, 0.5], dtype=object), allow_pickle=True)
            boxed = io.BytesIO()
            torch.save({"weight": payload}, boxed, pickle_protocol=protocol)
            for content in (raw, array.getvalue(), boxed.getvalue()):
                for suffix in SUFFIXES:
                    path = tmp_path / f"weights{suffix}"
                    path.write_bytes(content)
                    tried, wrong = tried + 1, wrong + (not refused(models.load_weights, model, path))
                path = tmp_path / "colours.npy"
                path.write_bytes(content)
                tried, wrong = tried + 1, wrong + (not refused(colour.load_colours, path))
    wrong += evil.exists()
    fault("Weights or colours with a payload in their pickle", tries=tried, wrong=wrong)
    assert wrong == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", ["flipped", "cut short"])
def test_damaged_weights_are_refused(tmp_path, fault, tries, suffix, how):
    """By the format's own checksums, and by SHA256SUMS beside them: the model is left as it was."""
    model = models.RegressionCNN(num_filters=1)
    path, chance = tmp_path / f"weights{suffix}", random.Random(suffix)
    raw = saved(model, path)
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(raw).hexdigest()}  {path.name}\n")
    number, wrong, lost = tries(20, 100), 0, 0
    for _ in range(number):
        damaged = bytearray(raw)
        if how == "flipped":
            damaged[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        else:
            damaged = damaged[: chance.randrange(len(raw))]
        path.write_bytes(damaged)
        other = models.RegressionCNN(num_filters=1)
        before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
        wrong += not refused(models.load_weights, other, path)
        wrong += not all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())
        path.write_bytes(raw)
        models.load_weights(other, path)
        lost += not same(model, other)
    fault(f"Weights {how}", tries=number, wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_zipped_weights_carry_their_own_checksums(tmp_path, suffix):
    """Without SHA256SUMS too, no flipped bit changes a weight."""
    model, chance = models.RegressionCNN(num_filters=1), random.Random(0)
    path = tmp_path / f"weights{suffix}"
    raw = saved(model, path)
    for _ in range(40):
        damaged = bytearray(raw)
        damaged[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        other = models.RegressionCNN(num_filters=1)
        assert refused(models.load_weights, other, path) or same(model, other)


def test_weights_of_other_shapes_are_refused(tmp_path, fault):
    """Another width, another kernel, another network, and no tensors at all: in every format, one line."""
    wrong, tried = 0, 0
    for suffix in SUFFIXES:
        others = [models.RegressionCNN(num_filters=2), models.RegressionCNN(5, num_filters=1), torch.nn.Linear(2, 2)]
        for number, other in enumerate(others):
            path = tmp_path / f"{number}{suffix}"
            saved(other, path)
            tried, wrong = tried + 1, wrong + (not refused(models.load_weights, models.RegressionCNN(3, 1), path))
    for number, content in enumerate(({"a": "text"}, [1, 2], 5, {1: torch.zeros(1)}, {"a": {"b": torch.zeros(1)}})):
        torch.save(content, tmp_path / f"other-{number}.pt")
        path = tmp_path / f"other-{number}.pt"
        tried, wrong = tried + 1, wrong + (not refused(models.load_weights, models.RegressionCNN(3, 1), path))
    fault("Weights of other shapes, or none", tries=tried, wrong=wrong)
    assert wrong == 0


@pytest.mark.parametrize("how", ["flipped", "cut short"])
def test_damaged_colours_are_refused(tmp_path, fault, tries, how):
    """The plain array and the assignment's pickle, held against SHA256SUMS."""
    colours = np.random.default_rng(0).random((24, 3)).astype(np.float32)
    boxed = np.empty(2, dtype=object)
    boxed[:] = [colours, 0.5]
    chance, number, wrong, lost = random.Random(how), tries(40, 250), 0, 0
    for name, array in (("plain.npy", colours), ("boxed.npy", boxed)):
        path = tmp_path / name
        np.save(path, array, allow_pickle=True)
        raw = path.read_bytes()
        (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(raw).hexdigest()} *{name}\n")
        for _ in range(number):
            damaged = bytearray(raw)
            damaged[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            path.write_bytes(damaged if how == "flipped" else raw[: chance.randrange(len(raw))])
            wrong += not refused(colour.load_colours, path)
        path.write_bytes(raw)
        lost += not np.array_equal(colour.load_colours(path), colours)
    fault(f"Colours {how}", tries=2 * number, wrong=wrong, lost=lost)
    assert (wrong, lost) == (0, 0)
