"""Train, evaluate and apply a network on data that lie in memory as whole tensors."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from convnets.optimisers import Optimiser, adam

Loss = Callable[[Tensor, Tensor], Tensor]
State = dict[str, Tensor]
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
INTERVAL = 60.0  # seconds at least between interim states that a training hands out


class Evaluation(NamedTuple):
    """The mean loss, and the share of class labels met: None where the targets are no class labels."""

    loss: float
    accuracy: float | None


@dataclass
class History:
    """What one training left behind: a list entry for each epoch, and weights on the CPU."""

    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)  # empty where the targets are no class labels
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of each epoch, its validation included
    device: str = ""
    precision: str = ""
    last_state: State = field(default_factory=dict, repr=False)
    snapshots: dict[int, State] = field(default_factory=dict, repr=False)  # the weights after these epochs
    unaveraged: History | None = None  # the same training judged by the weights themselves, not by their average


@dataclass
class Interim:
    """A training after some of its epochs: all that `fit` needs to go on as if it had never stopped."""

    history: History
    states: dict[str, dict[str, Any]]  # of the network, of its optimiser and of its average, where there is one
    generators: list[Tensor]  # the states of what draws the batches and of PyTorch's own, from which dropout draws


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators: to be called before a network draws its weights."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def choose_device() -> torch.device:
    """The graphics card where there is one, otherwise the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(device: torch.device) -> torch.dtype:
    """torch.bfloat16 where the device has instructions for it, otherwise torch.float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # an older PyTorch cannot tell what the processor offers
        offered: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = offered.get("avx512_bf16", False) or offered.get("amx_bf16", False)
    return torch.bfloat16 if fast else torch.float32


def as_network(tensor: Tensor) -> Tensor:
    """The batch as networks and losses read it.

    uint8 [N, H, W, C] are images: float32 [N, C, H, W] in [0, 1), pixels divided by 256 as in the briefs.
    uint8 of fewer axes are class labels: int64. Any other dtype passes as it is.
    """
    if tensor.dtype != torch.uint8:
        return tensor
    # permuted NHWC is channels_last without a copy: the layout in which convolutions are fastest
    return tensor.permute(0, 3, 1, 2) / 256 if tensor.ndim == 4 else tensor.long()


def rate_factor(schedule: str, progress: float) -> float:
    """The share of the learning rate to use once `progress`, in [0, 1), of all steps are done.

    'constant'; 'cosine', half a wave down to 0; 'one_cycle', a line up during a fifth of the steps and one down to 0.
    Raises ValueError for another name.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if schedule == "one_cycle":
        return min(0.05 + 0.95 * progress / 0.2, (1 - progress) / 0.8)
    raise ValueError(f"schedule is {schedule!r}: choose 'constant', 'cosine' or 'one_cycle'")


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    *,
    validation: tuple[Tensor, Tensor],
    epochs: int = 25,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    schedule: str = "constant",
    optimiser: Callable[[nn.Module, float], Optimiser] = adam,
    augment: Augmentation | None = None,
    averaging: float = 0.0,
    unaveraged: bool = False,
    renew: int = 0,
    snapshots: Collection[int] = (),
    seed: int = 0,
    interim: Interim | None = None,
    on_epoch: Callable[..., None] | None = None,
    on_interim: Callable[[Interim], None] | None = None,
    device: torch.device | None = None,
    precision: torch.dtype | None = None,
) -> History:
    """Train `model` in place, with Adam (Kingma & Ba 2015) or another of `convnets.optimisers`; return the history.

    `inputs` and `targets` hold one sample for each index of their first axis, and are read as `as_network` says.
    `loss(outputs, targets)` gets float32 outputs and returns their mean loss. `augment(inputs, targets, generator)`
    returns a changed batch. With `averaging` it is the exponential moving average of weights and statistics that is
    validated and left behind: each step keeps that share of the average and adds its own; with `unaveraged` the weights
    themselves are validated, too, in a history of their own. Before each validation batch norm's statistics are taken
    anew from `renew` of the samples (see `renew_statistics`); with 0 they stay moving averages, which lag behind the
    weights. What is left behind after each of the epochs `snapshots`, counted from 1, is kept as well.
    `on_epoch(epoch, epochs, training_loss=..., validation_loss=...)` is called after each epoch, counted from 1, and
    `on_interim(interim)` after some, at most once a minute, to write away at once where the training stands: given as
    `interim`, with all else as before, the training goes on from there. On one processor the same seed, weights and
    data give the same history, bit for bit, in one go or in several; with dropout, from the same state of PyTorch's own
    generator.
    Raises FloatingPointError where the training loss is no longer finite, ValueError for an unknown schedule.
    """
    device = device or choose_device()
    precision = precision or choose_precision(device)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs, targets = inputs.to(device), targets.to(device)
    validation = validation[0].to(device), validation[1].to(device)
    generator = torch.Generator(device).manual_seed(seed)
    steps = optimiser(model, learning_rate)
    rates = [group["lr"] for group in steps.param_groups]
    moving = get_ema_multi_avg_fn(averaging)
    average = AveragedModel(model, multi_avg_fn=moving, use_buffers=True) if averaging else None
    parts: dict[str, Any] = {"model": model, "optimiser": steps} | ({"average": average} if average else {})
    history = _go_on(interim, parts, generator) if interim else _new_history(device, precision)
    judged = [(average.module if average else model, history)]
    if average and unaveraged:
        history.unaveraged = history.unaveraged or _new_history(device, precision)
        judged.append((model, history.unaveraged))
    told = time.monotonic()
    for epoch in range(len(history.seconds) + 1, epochs + 1):
        start = time.perf_counter()
        batches = torch.randperm(len(inputs), generator=generator, device=device).split(batch_size)
        total = torch.zeros((), device=device)  # read once an epoch: reading each step would make a card wait
        model.train()
        for step, index in enumerate(batches):
            factor = rate_factor(schedule, (epoch - 1 + step / len(batches)) / epochs)
            for group, rate in zip(steps.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            batch, truth = as_network(inputs[index]), as_network(targets[index])
            if augment:
                batch, truth = augment(batch, truth, generator)
            total += _step(model, steps, loss, batch, truth, precision) * len(index)
            if average:
                average.update_parameters(model)
        training_loss = _finite(total.item() / len(inputs), epoch, learning_rate)
        for network, record in judged:
            if renew:
                renew_statistics(network, inputs[torch.cat(batches)[:renew]], batch_size, precision)
            score = evaluate(network, *validation, loss, device=device, precision=precision)
            _record(record, training_loss, score, learning_rate * factor, time.perf_counter() - start)
            if epoch in snapshots:
                record.snapshots[epoch] = _state(network)
        if on_epoch:
            on_epoch(epoch, epochs, training_loss=training_loss, validation_loss=history.validation_loss[-1])
        if on_interim and epoch < epochs and time.monotonic() - told >= INTERVAL:
            on_interim(_interim(history, parts, generator))
            told = time.monotonic()
    for network, record in judged:
        record.last_state = _state(network)
    if average:
        model.load_state_dict(history.last_state)
    return history


def _step(
    model: nn.Module, optimiser: Optimiser, loss: Loss, batch: Tensor, truth: Tensor, precision: torch.dtype
) -> Tensor:
    """One step down the gradient of the batch's mean loss, which is returned."""
    error = loss(_forward(model, batch, precision), truth)
    optimiser.zero_grad()
    error.backward()
    optimiser.step()
    return error.detach()


def _interim(history: History, parts: dict[str, Any], generator: torch.Generator) -> Interim:
    states = {name: part.state_dict() for name, part in parts.items()}
    own = torch.cuda.get_rng_state(generator.device) if generator.device.type == "cuda" else torch.get_rng_state()
    return Interim(history, states, [generator.get_state(), own])


def _go_on(interim: Interim, parts: dict[str, Any], generator: torch.Generator) -> History:
    for name, part in parts.items():
        part.load_state_dict(interim.states[name])
    drawing, own = interim.generators
    generator.set_state(drawing)
    if generator.device.type == "cuda":
        torch.cuda.set_rng_state(own, generator.device)
    else:
        torch.set_rng_state(own)
    return interim.history


@torch.no_grad()
def renew_statistics(
    model: nn.Module, inputs: Tensor, batch_size: int = 100, precision: torch.dtype | None = None
) -> None:
    """Take the means and variances of batch norm anew from `inputs`, with the weights as they are now.

    They become the means over batches of what each batch shows (Ioffe & Szegedy 2015, algorithm 2).
    """
    device = next(model.parameters()).device
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # every batch counts the same
    model.train()
    for batch in inputs.split(batch_size):
        _forward(model, as_network(batch.to(device)), precision or choose_precision(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    batch_size: int = 500,
    *,
    device: torch.device | None = None,
    precision: torch.dtype | None = None,
) -> Evaluation:
    """The mean loss of `model` in eval mode over all samples, and its accuracy where the targets are class labels.

    Accuracy is the share of labels (of pixels, for label maps) where the largest of the outputs' channels is theirs.
    """
    device = device or choose_device()
    error, hits, labels = 0.0, 0, 0
    model.to(device).eval()
    for batch, truth in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        truth = as_network(truth.to(device))
        outputs = _forward(model, as_network(batch.to(device)), precision or choose_precision(device))
        error += loss(outputs, truth).item() * len(truth)
        if not truth.is_floating_point():
            hits += int((outputs.max(1).indices == truth).sum())  # argmax is slow on channels_last
            labels += truth.numel()
    return Evaluation(error / len(inputs), hits / labels if labels else None)


@torch.inference_mode()
def predict(
    model: nn.Module,
    inputs: Tensor,
    batch_size: int = 500,
    *,
    device: torch.device | None = None,
    precision: torch.dtype | None = None,
) -> Tensor:
    """The float32 outputs of `model` in eval mode for all samples, on the CPU."""
    device = device or choose_device()
    precision = precision or choose_precision(device)
    model.to(device).eval()
    batches = (as_network(batch.to(device)) for batch in inputs.split(batch_size))
    return torch.cat([_forward(model, batch, precision).cpu() for batch in batches])


def _forward(model: nn.Module, batch: Tensor, precision: torch.dtype) -> Tensor:
    """Float32 outputs, the convolutions inside computed in `precision`: losses need the digits, convolutions do not."""
    with torch.autocast(batch.device.type, precision, enabled=precision != torch.float32):
        outputs: Tensor = model(batch)
    return outputs.float()


def _finite(training_loss: float, epoch: int, learning_rate: float) -> float:
    if not math.isfinite(training_loss):
        raise FloatingPointError(
            f"training loss is {training_loss} in epoch {epoch} with learning_rate {learning_rate:g}: lower it"
        )
    return training_loss


def _new_history(device: torch.device, precision: torch.dtype) -> History:
    return History(device=device.type, precision=str(precision).removeprefix("torch."))


def _state(model: nn.Module) -> State:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def _record(history: History, training_loss: float, score: Evaluation, rate: float, seconds: float) -> None:
    history.training_loss.append(training_loss)
    history.validation_loss.append(score.loss)
    if score.accuracy is not None:
        history.validation_accuracy.append(score.accuracy)
    history.learning_rate.append(rate)
    history.seconds.append(seconds)
