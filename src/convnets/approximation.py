"""Networks of one hidden layer on an interval, trained many at a time.

A network with one input, H hidden units and one output is one vector of 3H + 1 parameters: w, b, v [H each] and c, for
v · activation(w x + b) + c. With ReLU it is a polyline, whose kinks lie at -b/w.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from convnets.polylines import Array, Fit, Target

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {
    "ReLU": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "GELU": torch.nn.functional.gelu,
}


class Training(NamedTuple):
    """What became of N networks: parameters [N, 3H + 1], losses [steps, N], and the parameters after asked steps."""

    parameters: Tensor
    losses: Tensor
    kept: dict[int, Tensor]


def initial(width: int, seeds: Iterable[int]) -> Tensor:
    """First parameters, float32 [seeds, 3H + 1], uniform within the bounds that torch.nn.Linear draws from."""
    bounds = torch.cat([torch.ones(2 * width), torch.full((width + 1,), width**-0.5)])
    drawn = [torch.rand(3 * width + 1, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return (2 * torch.stack(drawn) - 1) * bounds


def parts(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """w, b, v [..., H each] and c [..., 1] of parameters [..., 3H + 1]."""
    width = parameters.shape[-1] // 3
    w, b, v, c = parameters.split([width, width, width, 1], dim=-1)
    return w, b, v, c


def network(parameters: Tensor, x: Tensor, activation: str) -> Tensor:
    """The outputs [M] of one network, parameters [3H + 1], at the points x [M]."""
    w, b, v, c = parts(parameters)
    return v @ ACTIVATIONS[activation](torch.outer(w, x) + b[:, None]) + c


def loss(parameters: Tensor, x: Tensor, y: Tensor, activation: str) -> Tensor:
    """The mean squared error of one network, parameters [3H + 1], at the points (x, y), [M] each."""
    return (network(parameters, x, activation) - y).square().mean()


def samples(target: Target, count: int) -> tuple[Array, Array]:
    """`count` equally spaced points of the interval, its ends included, and the function's values there."""
    x = np.linspace(target.start, target.end, count)
    return x, target.function(x)


def train(
    targets: Sequence[Target],
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    width: int,
    activation: str,
    steps: int,
    num_points: int = 100,
    keep: Iterable[int] = (),
) -> Training:
    """Fits one network for each (target, rate, seed), all at once: Adam on the mean squared error at `num_points`.

    Every step sees all points. The rate is constant for half of the steps and then falls to 0 in a straight line.
    `keep` names steps after which the parameters are kept; 0 is before the first. Raises ValueError for an unknown
    activation and for lists of different lengths.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"there is no activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
    if not len(targets) == len(rates) == len(seeds):
        raise ValueError(f"{len(targets)} targets, {len(rates)} rates, {len(seeds)} seeds: give one of each a network")
    x, y = torch.tensor(np.array([samples(target, num_points) for target in targets]), dtype=torch.float32).unbind(1)
    parameters, rate = initial(width, seeds), torch.tensor(rates)[:, None]
    together = vmap(grad_and_value(lambda p, x, y: loss(p, x, y, activation)))
    # traced once: on networks as small as these the transforms' own work takes longer than the arithmetic
    gradients_and_losses = make_fx(together)(parameters, x, y)
    mean, square = torch.zeros_like(parameters), torch.zeros_like(parameters)
    # one block for all losses: kept one by one between the steps' large tensors, they hold gigabytes of heap open
    losses = torch.empty(steps, len(parameters))
    wanted, kept = set(keep), {0: parameters}
    for step in range(1, steps + 1):
        gradients, losses[step - 1] = gradients_and_losses(parameters, x, y)
        mean.lerp_(gradients, 0.1)
        square.lerp_(gradients.square(), 0.001)
        scale = (square / (1 - 0.999**step)).sqrt() + 1e-8
        fading = min(1.0, 2 * (1 - (step - 1) / steps))
        parameters = parameters - fading * rate * mean / (1 - 0.9**step) / scale
        if step in wanted:
            kept[step] = parameters
    return Training(parameters, losses, kept)


def steps_to(losses: Tensor, level: Tensor) -> Array:
    """The first step, counted from 1, at which losses [steps, N] are at most level [N]; the number of steps if none."""
    reached = losses <= level
    return torch.where(reached.any(0), reached.int().argmax(0) + 1, len(losses)).double().numpy()


def errors(parameters: Tensor, targets: Sequence[Target], activation: str) -> tuple[Array, Array]:
    """RMSE [N] and greatest error [N] of N networks over the intervals of their targets (4,096 midpoints)."""
    found = []
    for one, target in zip(parameters.double(), targets, strict=True):
        x = target.midpoints()
        error = network(one, torch.from_numpy(x), activation).numpy() - target.function(x)
        found.append((math.sqrt(np.mean(error**2)), np.abs(error).max()))
    rmse, greatest = np.array(found).T
    return rmse, greatest


def kinks(parameters: Tensor) -> tuple[Array, Array]:
    """Where the ReLUs of networks [..., 3H + 1] switch, and the side on which they are on: 1 right, -1 left."""
    w, b, _, _ = parts(parameters.double())
    return (-b / w).numpy(), torch.sign(w).numpy()


def as_parameters(fit: Fit) -> Tensor:
    """A polyline's network as parameters, float64 [3H + 1]: w = s, b = -s t."""
    return torch.from_numpy(np.concatenate([fit.signs, -fit.signs * fit.knots, fit.weights[1:], fit.weights[:1]]))
