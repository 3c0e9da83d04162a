"""The origin of weight space: what is known there in closed form, and how long training takes to leave it.

A network is a function of one vector of parameters, so that gradients, Hessians, random directions and many starts at
once are a line each. The derivations stand in the chapter `stationary_origin`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Network:
    """A fully connected network: `activation` after every layer but the last, and the squared error as its loss.

    `widths` are the numbers of inputs, of units in each hidden layer (there may be none), and of outputs. `parameters`
    are float [..., size]: W_1, b_1, W_2, b_2, … one after the other (no b without `biases`), W_l of widths[l] rows.
    """

    widths: tuple[int, ...]
    biases: bool = False
    activation: Activation = torch.tanh

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths are {self.widths}: give the inputs, the hidden layers and the outputs, each ≥ 1")

    @property
    def num_hidden(self) -> int:
        return len(self.widths) - 2

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of W_1, b_1, W_2, b_2, …"""
        shapes: list[tuple[int, ...]] = []
        for columns, rows in pairwise(self.widths):
            shapes += [(rows, columns), (rows,)] if self.biases else [(rows, columns)]
        return shapes

    @property
    def size(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def split(self, parameters: Tensor) -> list[Tensor]:
        """W_1, b_1, W_2, b_2, …, each [..., *shape]."""
        parts = parameters.split([math.prod(shape) for shape in self.shapes], -1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def outputs(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """The outputs [..., N, widths[-1]] for inputs [N, widths[0]]."""
        blocks = self.split(parameters)
        step = 2 if self.biases else 1
        features = inputs
        for start in range(0, len(blocks), step):
            if start:
                features = self.activation(features)
            features = features @ blocks[start].mT
            if self.biases:
                features = features + blocks[start + 1].unsqueeze(-2)
        return features

    def error(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Half the sum over examples and outputs of (output - target)², [...]."""
        return (self.outputs(parameters, inputs) - targets).square().sum((-1, -2)) / 2

    def rise(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """error(parameters) - error(0), [...], without the cancellation that would drown a tiny difference."""
        outputs = self.outputs(parameters, inputs)  # at the origin they are 0, since the last layer is
        return (outputs * (outputs / 2 - targets)).sum((-1, -2))

    def gradient(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The gradient of `error` by autograd, [..., size]."""
        parameters = parameters.detach().requires_grad_()
        gradient: Tensor = torch.autograd.grad(self.error(parameters, inputs, targets).sum(), parameters)[0]
        return gradient

    def hessian(self, parameters: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The Hessian of `error` by autograd, [size, size], for parameters [size]."""
        copies = parameters.expand(self.size, -1).clone().requires_grad_()  # one for each row: all rows in one pass
        (gradients,) = torch.autograd.grad(self.error(copies, inputs, targets).sum(), copies, create_graph=True)
        hessian: Tensor = torch.autograd.grad(gradients.diagonal().sum(), copies)[0]
        return hessian


def gradient_at_origin(network: Network, inputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient at the origin in closed form, [size]: only the last layer's can differ from 0.

    It is -Σ t hᵀ for its weights and -Σ t for its biases, where h are the last layer's inputs at the origin: σ(0) in
    every hidden unit, or the network's inputs where no layer is hidden. σ need only be continuous at 0.
    """
    features = inputs
    if network.num_hidden:
        features = inputs.new_full((len(inputs), network.widths[-2]), network.activation(inputs.new_zeros(())).item())
    last = [-targets.mT @ features] + ([-targets.sum(0)] if network.biases else [])
    known = torch.cat([block.flatten() for block in last])
    return torch.cat([known.new_zeros(network.size - len(known)), known])


def eigenvalues_at_origin(network: Network, inputs: Tensor, targets: Tensor) -> Tensor:
    """The Hessian's eigenvalues at the origin in closed form, ascending [size].

    One hidden layer of m units: ±σ'(0) s, m times each, for every singular value s of Σ x tᵀ, where x ends in a 1 if
    there are biases. Several: the same with that 1 alone. Biases add N, once for each output. No hidden layer: those of
    Σ x xᵀ, once for each output. All others are 0. Raises ValueError where σ(0) is not 0.
    """
    ones = inputs.new_ones(len(inputs), 1 if network.biases else 0)
    extended, num_outputs = torch.cat([inputs, ones], 1), network.widths[-1]
    if not network.num_hidden:
        squares: Tensor = torch.linalg.eigvalsh(extended.mT @ extended)
        return squares.repeat(num_outputs).sort().values
    value = network.activation(inputs.new_zeros(())).item()
    if value:
        raise ValueError(f"the activation is {value:g} at 0: the closed form holds for those that are 0 there")
    first_order = extended if network.num_hidden == 1 else ones  # what reaches the last hidden layer at first order
    coupling = slope_at_zero(network.activation) * torch.linalg.svdvals(first_order.mT @ targets)
    coupling = coupling.repeat(network.widths[-2])
    bias = inputs.new_full((num_outputs if network.biases else 0,), float(len(inputs)))
    known = torch.cat([coupling, -coupling, bias])
    return torch.cat([known, known.new_zeros(network.size - len(known))]).sort().values


def leading_term(network: Network, parameters: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """What `rise` tends to near the origin, [...]: -σ'(0)^H Σ t · (W_{H+1} … W_1 x), H hidden layers, no biases."""
    if network.biases:
        raise ValueError("the network has biases: the leading term is that of one without")
    features = inputs
    for weights in network.split(parameters):
        features = features @ weights.mT
    return -(slope_at_zero(network.activation) ** network.num_hidden) * (features * targets).sum((-1, -2))


def slope_at_zero(activation: Activation) -> float:
    """σ'(0), by autograd. Raises ValueError for a σ with a kink at 0, as ReLU's, for which autograd has an answer."""
    step = 1e-6
    below, zero, above = activation(torch.tensor([-step, 0, step], dtype=torch.double)).tolist()
    if abs(above - 2 * zero + below) > 1e-3 * step:
        raise ValueError("the activation has a kink at 0: give one with a derivative there")
    at = torch.zeros((), dtype=torch.double, requires_grad=True)
    return torch.autograd.grad(activation(at), at)[0].item()


def layers_of_norm(network: Network, parameters: Tensor, norm: float) -> Tensor:
    """The parameters [..., size] with every layer's weights, and every layer's biases, scaled to Euclidean `norm`."""
    dimensions = parameters.dim() - 1
    blocks = [block.flatten(dimensions) for block in network.split(parameters)]
    return torch.cat([norm * block / block.norm(dim=-1, keepdim=True) for block in blocks], -1)


def steepest_start(network: Network, inputs: Tensor, targets: Tensor) -> Tensor:
    """Of all parameters [size] with weights of norm 1 in every layer, those with the lowest leading term.

    They carry the inputs' first singular direction of Σ x tᵀ through one unit a layer to the outputs'; no biases.
    """
    if network.biases:
        raise ValueError("the network has biases: the steepest start is that of one without")
    left, _, right = torch.linalg.svd(inputs.mT @ targets)
    units = [torch.eye(width, dtype=inputs.dtype)[0] for width in network.widths[1:-1]]
    path = [left[:, 0], *units, right[0]]
    return torch.cat([torch.outer(to, origin).flatten() for origin, to in pairwise(path)])


def descend(
    network: Network, start: Tensor, inputs: Tensor, targets: Tensor, learning_rate: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Gradient descent on the mean error of one example: (errors [steps + 1, ...], last parameters [..., size])."""
    parameters, errors = start.clone(), []
    for step in range(steps + 1):
        if step:
            parameters -= learning_rate / len(inputs) * network.gradient(parameters, inputs, targets)
        errors.append(network.error(parameters, inputs, targets) / len(inputs))
    return torch.stack(errors), parameters


def escape_time(network: Network, start: Tensor, inputs: Tensor, targets: Tensor, share: float = 0.05) -> float:
    """When gradient flow on the mean error, from `start` [size], has lost `share` of the error at the origin.

    Gradient flow is gradient descent with vanishing steps, and time their number times the learning rate. It is solved
    by Runge and Kutta's method with steps that grow where nothing happens. Raises ValueError where it never gets there.
    """
    level = (1 - share) * float(targets.square().sum()) / 2

    def flow(_: float, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return -network.gradient(torch.as_tensor(parameters), inputs, targets).numpy() / len(inputs)

    def above(_: float, parameters: NDArray[np.float64]) -> float:
        return float(network.error(torch.as_tensor(parameters), inputs, targets)) - level

    above.terminal = True  # type: ignore[attr-defined]
    solution = solve_ivp(flow, (0, 1e12), start.numpy(), events=above, rtol=1e-4, atol=1e-12)
    if not len(solution.t_events[0]):
        raise ValueError(f"from this start gradient flow never loses {share:.0%} of the origin's error: choose another")
    return float(solution.t_events[0][0])


def steepest_escape_time(num_hidden: int, rate: float, start: float, end: float) -> float:
    """How long u takes from `start` to `end` with du/dt = rate · u^num_hidden: the steepest way down from the origin.

    log(end / start) / rate for one hidden layer, (start^(1-H) - end^(1-H)) / ((H - 1) rate) for H of them.
    """
    if num_hidden == 1:
        return math.log(end / start) / rate
    power = 1 - num_hidden
    return (end**power - start**power) / (power * rate)
