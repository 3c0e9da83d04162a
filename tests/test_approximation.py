"""Networks trained together are the networks that anyone would have trained one after another."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from convnets import approximation, polylines
from convnets.polylines import TARGETS

MODULES = {"ReLU": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "GELU": nn.GELU}
SINE = TARGETS["sin x"]


def usual(parameters: torch.Tensor, activation: str) -> nn.Sequential:
    """The same network from PyTorch's own layers."""
    w, b, v, c = approximation.parts(parameters)
    model = nn.Sequential(nn.Linear(1, len(w)), MODULES[activation](), nn.Linear(len(w), 1))
    with torch.no_grad():
        for place, values in zip(model.parameters(), (w, b, v, c), strict=True):
            place.copy_(values.view(place.shape))
    return model.to(parameters.dtype)


@pytest.mark.parametrize("activation", approximation.ACTIVATIONS)
def test_a_network_computes_what_pytorchs_layers_compute(activation):
    """One vector of parameters and nn.Sequential give the same outputs."""
    for seed in range(5):
        parameters = approximation.initial(7, [seed])[0].double()
        x = torch.linspace(-3, 3, 50, dtype=torch.float64)
        expected = usual(parameters, activation)(x[:, None])[:, 0]
        assert torch.allclose(approximation.network(parameters, x, activation), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", approximation.ACTIVATIONS)
def test_training_together_is_training_alone(activation):
    """Each of several networks, with its own function, rate and seed, ends where torch.optim.Adam takes it alone."""
    targets, rates, seeds, steps = [SINE, TARGETS["|x|"], SINE], [0.01, 0.03, 0.003], [3, 4, 5], 40
    together = approximation.train(
        targets, rates, seeds, width=6, activation=activation, steps=steps, num_points=30, keep=[0, 7]
    )
    for k, (target, rate, seed) in enumerate(zip(targets, rates, seeds, strict=True)):
        first = approximation.initial(6, [seed])[0]
        assert torch.equal(together.kept[0][k], first)
        model = usual(first, activation)
        optimiser = torch.optim.Adam(model.parameters(), rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1, 2 * (1 - done / steps)))
        points = np.linspace(target.start, target.end, 30)
        x, y = (torch.tensor(a, dtype=torch.float32)[:, None] for a in (points, target.function(points)))
        for step in range(steps):
            loss = nn.functional.mse_loss(model(x), y)
            assert together.losses[step, k].item() == pytest.approx(loss.item(), rel=1e-3)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step + 1 == 7:
                alone = torch.cat([p.detach().flatten() for p in model.parameters()])
                assert torch.allclose(together.kept[7][k], alone, atol=1e-5)
        alone = torch.cat([p.detach().flatten() for p in model.parameters()])
        assert torch.allclose(together.parameters[k], alone, atol=1e-4)


def test_first_parameters_are_drawn_like_those_of_linear_layers():
    """Uniform within ±1 in the hidden layer and ±1/√H in the output layer; a seed always draws the same."""
    parameters = approximation.initial(25, range(400))
    w, b, v, c = approximation.parts(parameters)
    for values, bound in ((w, 1), (b, 1), (v, 0.2), (c, 0.2)):
        assert values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert torch.equal(parameters[3:5], approximation.initial(25, [3, 4]))


def test_errors_are_over_the_whole_interval():
    """A network that answers 0 errs by the function's size, and at most by its greatest value."""
    zero = torch.zeros(2, 7)
    rmse, greatest = approximation.errors(zero, [SINE, TARGETS["|x|"]], "tanh")
    assert rmse == pytest.approx([math.sqrt(0.5), math.sqrt(1 / 3)], rel=1e-6)
    assert greatest == pytest.approx([1, 1], rel=1e-3)


def test_a_network_bends_at_its_kinks_only():
    """Between neighbouring kinks it is a straight line, and a unit is on where its sign says."""
    parameters = approximation.initial(9, [1])[0].double()
    knots, signs = approximation.kinks(parameters)
    x = np.sort(np.concatenate([knots, [-40.0, 40.0]]))
    for left, right in itertools.pairwise(x):
        inner = torch.linspace(left, right, 9, dtype=torch.float64)
        values = approximation.network(parameters, inner, "ReLU")
        assert (values[2:] - 2 * values[1:-1] + values[:-2]).abs().max() < 1e-12
    w, b, _, _ = approximation.parts(parameters)
    beside = torch.from_numpy(knots + signs)
    assert (w * beside + b > 0).all()


def test_a_built_polyline_is_a_network():
    """As parameters it computes the same function, with the same error and the same kinks."""
    fit = polylines.construct(SINE, 10)
    parameters = approximation.as_parameters(fit)
    x = SINE.midpoints(999)
    drawn = approximation.network(parameters, torch.from_numpy(x), "ReLU").numpy()
    assert drawn == pytest.approx(fit.at(x), abs=1e-12)
    assert approximation.errors(parameters[None], [SINE], "ReLU")[0] == pytest.approx([fit.rmse], rel=1e-4)
    knots, signs = approximation.kinks(parameters)
    assert np.array_equal(signs, fit.signs)
    assert knots == pytest.approx(fit.knots)


def test_arrival_is_the_first_step_at_the_level():
    """Counted from 1; later relapses do not matter, and who never arrives counts with all steps."""
    losses = torch.tensor([[0.5, 0.9, 0.1], [0.1, 0.8, 0.1], [0.3, 0.7, 0.1]])
    assert approximation.steps_to(losses, torch.tensor([0.1, 0.1, 0.2])).tolist() == [2, 3, 1]


def test_bad_input_gets_a_line():
    """An unknown activation is told the known ones; lists must have one entry a network."""
    with pytest.raises(ValueError, match="choose one of ReLU, sigmoid, tanh, GELU"):
        approximation.train([SINE], [0.1], [0], width=2, activation="relu", steps=1)
    with pytest.raises(ValueError, match="2 targets, 1 rates, 1 seeds"):
        approximation.train([SINE, SINE], [0.1], [0], width=2, activation="ReLU", steps=1)
