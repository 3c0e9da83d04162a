"""A network described: the layers as they ran, one row each, and the rows as a Markdown table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One row of a network's table: a layer as it ran on an image."""

    name: str
    kind: str
    kernel: tuple[int, ...] | None
    filters: int | None
    output_shape: tuple[int, ...]  # without the batch axis
    weights: int  # weights and biases that training changes
    inputs: tuple[str, ...]  # the layers that it reads, 'input' for the network's own


def layer_table(model: nn.Module, input_shape: tuple[int, ...]) -> list[Layer]:
    """The layers of `model` as they run on one input of `input_shape`, (channels, height, width), which is row one."""
    image = torch.zeros(1, *input_shape, device=next(model.parameters()).device)
    names = {id(image): "input"}
    kept = [image]  # a tensor that is gone could pass its id on to another
    rows = [Layer("input", "Input", None, None, input_shape, 0, ())]

    def record(name: str, module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        calls = sum(row.name.split(":")[0] == name for row in rows)
        label = f"{name}:{calls + 1}" if calls else name  # a layer without weights may serve several times
        inputs = tuple(names[id(argument)] for argument in arguments if id(argument) in names)
        rows.append(_row(label, module, tuple(output.shape[1:]), inputs))
        names[id(output)] = label
        kept.append(output)

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(partial(record, name)) for name, module in leaves]
    was_training = model.training
    try:
        with torch.inference_mode():
            model.eval()(image)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return rows


def _row(name: str, module: nn.Module, output_shape: tuple[int, ...], inputs: tuple[str, ...]) -> Layer:
    weight = getattr(module, "weight", None)
    size = getattr(module, "kernel_size", None)
    if convolves := isinstance(weight, Tensor) and weight.ndim == 4:
        size = tuple(weight.shape[2:])
    return Layer(
        name=name,
        kind=type(module).__name__,
        kernel=(size, size) if isinstance(size, int) else size,
        filters=output_shape[0] if convolves else None,
        output_shape=output_shape,
        weights=sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad),
        inputs=inputs,
    )


def markdown_table(layers: list[Layer]) -> str:
    """The rows of `layer_table` as a Markdown table, with the total of the weights."""
    lines = ["| layer | kind | filter | filters | output | weights |", "|---|---|---|--:|---|--:|"]
    for row in layers:
        size = "×".join(map(str, row.kernel)) if row.kernel else ""
        output = "×".join(map(str, row.output_shape))
        lines.append(f"| {row.name} | {row.kind} | {size} | {row.filters or ''} | {output} | {row.weights or ''} |")
    return "\n".join([*lines, f"| all |  |  |  |  | {sum(row.weights for row in layers)} |"])
