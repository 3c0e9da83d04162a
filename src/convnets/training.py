"""Train, evaluate and apply a network on data that already lie in memory."""

import math
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


class Evaluation(NamedTuple):
    """A mean loss over samples, and the share of labels met (None where the targets are no labels)."""

    loss: float
    accuracy: float | None


@dataclass
class History:
    """What one training left behind: a list entry for each epoch, and the weights of the best and the last."""

    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)  # empty where the targets are no labels
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    device: str = "cpu"
    precision: str = "float32"
    best_epoch: int = 0  # counted from 1; its validation loss is the lowest
    best_state: dict[str, Tensor] = field(default_factory=dict, repr=False)
    last_state: dict[str, Tensor] = field(default_factory=dict, repr=False)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators; call it before a network draws its first weights."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def choose_device() -> torch.device:
    """The graphics card where there is one, otherwise the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware, otherwise float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # PyTorch below 2.12 may not say what the processor can do
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def as_network(tensor: Tensor) -> Tensor:
    """The batch in the form that networks and losses read.

    uint8 [N, H, W, C] are pictures: float32 [N, C, H, W] in [0, 1), pixels divided by 256 as in the briefs.
    uint8 of any other rank are class labels: int64. Everything else passes unchanged.
    """
    if tensor.dtype != torch.uint8:
        return tensor
    # the permuted view of NHWC is channels_last already, the layout in which convolutions are fastest
    return tensor.permute(0, 3, 1, 2) / 256 if tensor.ndim == 4 else tensor.long()


def flip(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the samples mirrored left to right, inputs and targets alike: an augmentation for `fit`."""
    mirrored = torch.rand(len(inputs), generator=generator, device=generator.device) < 0.5

    def mirror(tensor: Tensor) -> Tensor:
        return torch.where(mirrored.view(-1, *[1] * (tensor.ndim - 1)), tensor.flip(-1), tensor)

    return mirror(inputs), mirror(targets)


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
    augment: Augmentation | None = None,
    seed: int = 0,
    on_epoch: Callable[..., None] | None = None,
    device: torch.device | None = None,
    precision: torch.dtype | None = None,
) -> History:
    """Train `model` in place with Adam and return its history.

    Inputs and targets are whole tensors, one sample for each index of the first axis, read as `as_network` says.
    `loss(outputs, targets)` gets float32 outputs and returns a mean. `schedule` is 'constant', 'cosine' or
    'one_cycle'. `augment(inputs, targets, generator)` changes a batch. After each epoch
    `on_epoch(epoch, epochs, training_loss=..., validation_loss=...)` is called, with epochs counted from 1.
    The same seed, data and initial weights give the same history, bit for bit, on one processor.
    Raises FloatingPointError when the training loss is no longer finite, ValueError for an unknown schedule.
    """
    device = device or choose_device()
    precision = precision or choose_precision(device)
    model.to(device=device, memory_format=torch.channels_last)
    inputs, targets = inputs.to(device), targets.to(device)
    generator = torch.Generator(device).manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    history = History(device=device.type, precision=str(precision).removeprefix("torch."))
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        batches = torch.randperm(len(inputs), generator=generator, device=device).split(batch_size)
        total = torch.zeros((), device=device)  # read once an epoch: reading every step would make a card wait
        model.train()
        for step, index in enumerate(batches):
            progress = (epoch - 1 + step / len(batches)) / epochs
            optimiser.param_groups[0]["lr"] = learning_rate * rate_factor(schedule, progress)
            batch, truth = as_network(inputs[index]), as_network(targets[index])
            if augment:
                batch, truth = augment(batch, truth, generator)
            error = loss(_forward(model, batch, precision), truth)
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            total += error.detach() * len(index)
        mean = total.item() / len(inputs)
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"training loss is {mean} in epoch {epoch} at learning rate {learning_rate:g}: lower learning_rate"
            )
        _record(history, model, mean, evaluate(model, *validation, loss, device=device, precision=precision))
        history.seconds.append(time.perf_counter() - start)
        if on_epoch:
            on_epoch(epoch, epochs, training_loss=mean, validation_loss=history.validation_loss[-1])
    history.last_state = _copy(model)
    return history


def rate_factor(schedule: str, progress: float) -> float:
    """The share of the learning rate to use when `progress` in [0, 1) of all steps are done."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "one_cycle":  # a straight line up for a fifth of the steps, then one down to zero
        return min((progress + 0.01) / 0.2, (1 - progress) / 0.8)
    raise ValueError(f"schedule is {schedule!r}: choose 'constant', 'cosine' or 'one_cycle'")


def evaluate(model, inputs, targets, loss, batch_size=500, *, device=None, precision=None) -> Evaluation:
    device = device or choose_device()
    precision = precision or choose_precision(device)
    outputs = predict(model, inputs, batch_size, device=device, precision=precision)
    total = hits = labels = 0
    for start in range(0, len(inputs), batch_size):
        truth = as_network(targets[start:start+batch_size].to(device))
        out = outputs[start:start+batch_size].to(device)
        total += loss(out, truth).item()*len(truth)
    return Evaluation(total/len(inputs), None)


@torch.inference_mode()
def predict(model, inputs, batch_size=500, *, device=None, precision=None) -> Tensor:
    model.eval()
    return torch.cat([_forward(model, as_network(b.to(device)), precision) for b in inputs.split(batch_size)])


def _forward(model, batch, precision):
    with torch.autocast(batch.device.type, precision, enabled=precision != torch.float32):
        return model(batch).float()


def _record(history, model, mean, ev):
    history.training_loss.append(mean)
    history.validation_loss.append(ev.loss)


def _copy(model):
    return {k: v.detach().to("cpu", copy=True) for k, v in model.state_dict().items()}
