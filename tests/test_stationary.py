"""What is known at the origin in closed form, against autograd, difference quotients and PyTorch's own layers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from torch import nn
from torch.nn import functional as F

from convnets import stationary
from convnets.stationary import Network

KINKED = [F.relu, F.leaky_relu]
ZERO_AT_ZERO = [torch.tanh, F.gelu, F.silu, torch.sin]
OTHERS = [torch.sigmoid, F.softplus, torch.cos]
WIDTHS = [(3, 2), (2, 4, 3), (4, 3, 1), (1, 1, 1), (2, 3, 5, 2), (3, 2, 2, 4, 1)]
CASES = list(itertools.product(WIDTHS, [False, True], [False, True]))


def examples(widths, centred=False, number=7):
    """Inputs and targets; the targets' mean is far from 0 unless they are centred."""
    generator = torch.Generator().manual_seed(sum(widths) + centred)
    inputs = torch.randn(number, widths[0], dtype=torch.double, generator=generator) + 0.5
    targets = torch.randn(number, widths[-1], dtype=torch.double, generator=generator) + 1
    return inputs, targets - targets.mean(0) * centred


def near(network, size=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(network.size, dtype=torch.double, generator=generator)


@pytest.mark.parametrize("biases", [False, True])
def test_the_network_is_that_of_pytorchs_layers(biases):
    """Same parameters, same outputs and same error, alone and many at once."""
    network = Network((3, 4, 5, 2), biases)
    layers = [nn.Linear(3, 4, biases), nn.Tanh(), nn.Linear(4, 5, biases), nn.Tanh(), nn.Linear(5, 2, biases)]
    theirs = nn.Sequential(*layers).double()
    parameters = torch.cat([parameter.detach().flatten() for parameter in theirs.parameters()])
    inputs, targets = examples(network.widths)
    torch.testing.assert_close(network.outputs(parameters, inputs), theirs(inputs))
    together = network.error(torch.stack([parameters, 0 * parameters]), inputs, targets)
    alone = F.mse_loss(theirs(inputs), targets, reduction="sum") / 2
    torch.testing.assert_close(together, torch.stack([alone, targets.square().sum() / 2]))


@pytest.mark.parametrize("widths", [(3,), (2, 0, 1), ()])
def test_a_network_without_inputs_or_outputs_is_refused(widths):
    """One clear line says what the widths are."""
    with pytest.raises(ValueError, match="widths are"):
        Network(widths)


@pytest.mark.parametrize(("widths", "biases", "centred"), CASES)
@pytest.mark.parametrize("activation", ZERO_AT_ZERO + OTHERS + KINKED)
def test_the_gradient_at_the_origin_is_the_theorems(widths, biases, centred, activation):
    """It is autograd's, and it vanishes exactly where the theorem says."""
    network = Network(widths, biases, activation)
    inputs, targets = examples(widths, centred)
    known = stationary.gradient_at_origin(network, inputs, targets)
    measured = network.gradient(torch.zeros(network.size, dtype=torch.double), inputs, targets)
    torch.testing.assert_close(known, measured)
    theorem = network.num_hidden > 0 and (centred or (activation not in OTHERS and not biases))
    assert (measured.abs().max() < 1e-12) == theorem


@pytest.mark.parametrize("activation", KINKED)
@pytest.mark.parametrize("biases", [False, True])
def test_a_kink_at_zero_does_not_disturb_the_gradient(activation, biases):
    """Along random lines the error's difference quotient tends to the formula, though autograd may choose a slope."""
    network = Network((2, 4, 3, 2), biases, activation)
    inputs, targets = examples(network.widths)
    known = stationary.gradient_at_origin(network, inputs, targets)
    for seed in range(5):
        direction, step = near(network, seed=seed), 1e-6
        quotient = network.rise(step * direction, inputs, targets) / step
        assert quotient == pytest.approx(float(known @ direction), abs=1e-4)


@pytest.mark.parametrize(("widths", "biases", "centred"), CASES)
@pytest.mark.parametrize("activation", ZERO_AT_ZERO)
def test_the_eigenvalues_at_the_origin_are_the_hessians(widths, biases, centred, activation):
    """The closed form is what autograd's Hessian has, centred or not, with and without biases."""
    network = Network(widths, biases, activation)
    inputs, targets = examples(widths, centred)
    hessian = network.hessian(torch.zeros(network.size, dtype=torch.double), inputs, targets)
    torch.testing.assert_close(
        stationary.eigenvalues_at_origin(network, inputs, targets), torch.linalg.eigvalsh(hessian)
    )


@pytest.mark.parametrize(("activation", "message"), [(torch.sigmoid, "0.5 at 0"), (F.relu, "kink")])
def test_activations_beyond_the_closed_form_are_refused(activation, message):
    """A silent wrong answer would look like a right one."""
    network = Network((2, 3, 1), activation=activation)
    with pytest.raises(ValueError, match=message):
        stationary.eigenvalues_at_origin(network, *examples(network.widths))


@pytest.mark.parametrize("widths", [(2, 4, 3), (2, 3, 5, 2), (3, 2, 2, 4, 1)])
@pytest.mark.parametrize("activation", ZERO_AT_ZERO)
def test_the_error_rises_by_the_leading_term(widths, activation):
    """Ever closer to the origin, the more exactly; the order is the number of layers."""
    network = Network(widths, activation=activation)
    inputs, targets = examples(widths)
    direction = near(network)
    leading = stationary.leading_term(network, direction, inputs, targets)
    for size in (1e-3, 1e-5):
        scaled = network.rise(size * direction, inputs, targets) / size ** (network.num_hidden + 1)
        assert float(scaled) == pytest.approx(float(leading), rel=100 * size)
    rise = network.error(direction, inputs, targets) - network.error(0 * direction, inputs, targets)
    torch.testing.assert_close(network.rise(direction, inputs, targets), rise)


@pytest.mark.parametrize("widths", [(3, 2), (3, 4, 2), (3, 2, 4, 2)])
def test_no_start_of_its_size_begins_lower_than_the_steepest(widths):
    """Its weights have norm 1 in every layer, and its leading term is minus the first singular value."""
    network = Network(widths)
    inputs, targets = examples(widths)
    steepest = stationary.steepest_start(network, inputs, targets)
    assert [block.norm().item() for block in network.split(steepest)] == pytest.approx([1.0] * (len(widths) - 1))
    lowest = float(stationary.leading_term(network, steepest, inputs, targets))
    assert lowest == pytest.approx(-float(torch.linalg.matrix_norm(inputs.mT @ targets, 2)))
    many = stationary.layers_of_norm(network, torch.stack([near(network, seed=seed) for seed in range(200)]), 1)
    assert (stationary.leading_term(network, many, inputs, targets) >= lowest).all()


@pytest.mark.parametrize("function", [stationary.leading_term, stationary.steepest_start])
def test_what_needs_a_network_without_biases_says_so(function):
    """One clear line."""
    network = Network((2, 3, 1), biases=True)
    arguments = (near(network),) if function is stationary.leading_term else ()
    with pytest.raises(ValueError, match="biases"):
        function(network, *arguments, *examples(network.widths))


def test_descent_from_the_origin_learns_the_mean_and_nothing_else():
    """Only the output's biases move, to the mean of the targets."""
    network = Network((2, 3, 3, 2), biases=True)
    inputs, targets = examples(network.widths)
    errors, last = stationary.descend(network, torch.zeros(network.size).double(), inputs, targets, 0.5, 60)
    *others, bias = network.split(last)
    assert all((block == 0).all() for block in others)
    torch.testing.assert_close(bias, targets.mean(0))
    assert float(errors[-1]) == pytest.approx(float(targets.var(0, correction=0).sum()) / 2)


def test_descent_is_pytorchs():
    """The same steps as torch.optim.SGD on the mean error, for two starts at once."""
    network = Network((2, 3, 1))
    inputs, targets = examples(network.widths)
    starts = torch.stack([near(network, 0.5, seed) for seed in range(2)])
    _, ours = stationary.descend(network, starts, inputs, targets, 0.1, 5)
    for start, end in zip(starts, ours, strict=True):
        theirs = start.clone().requires_grad_()
        optimiser = torch.optim.SGD([theirs], lr=0.1)
        for _ in range(5):
            optimiser.zero_grad()
            (F.mse_loss(network.outputs(theirs, inputs), targets) / 2).backward()
            optimiser.step()
        torch.testing.assert_close(end, theirs.detach())


@pytest.mark.parametrize("num_hidden", [1, 2, 3])
def test_the_steepest_way_takes_the_time_of_its_equation(num_hidden):
    """The closed form is the integral of du / (rate u^H), and a network that starts so takes about as long."""
    time, _ = quad(lambda u: 1 / (1.3 * u**num_hidden), 0.02, 0.3)
    assert stationary.steepest_escape_time(num_hidden, 1.3, 0.02, 0.3) == pytest.approx(time)

    network = Network((1, *[3] * num_hidden, 1))
    inputs = torch.linspace(-math.pi, math.pi, 21, dtype=torch.double)[:, None]
    targets, size = inputs.sin(), 1e-4
    rate = float((inputs * targets).mean())
    end = (0.05 * float(targets.square().mean()) / 2 / rate) ** (1 / (num_hidden + 1))
    start = size * stationary.steepest_start(network, inputs, targets)
    expected = stationary.steepest_escape_time(num_hidden, rate, size, end)
    assert stationary.escape_time(network, start, inputs, targets) == pytest.approx(expected, rel=0.02)


def test_flow_and_descent_with_small_steps_agree():
    """The time of the flow is the number of steps times the learning rate."""
    network = Network((2, 3, 1))
    inputs, targets = examples(network.widths)
    start = near(network, 0.05)
    errors, _ = stationary.descend(network, start, inputs, targets, 0.002, 2000)
    steps = int((errors > 0.95 * targets.square().mean() / 2).sum())
    assert stationary.escape_time(network, start, inputs, targets) == pytest.approx(0.002 * steps, rel=0.01)


def test_the_origin_itself_is_never_left():
    """There is no time of escape from it, and the message says so."""
    network = Network((2, 3, 1))
    inputs, targets = examples(network.widths)
    with pytest.raises(ValueError, match="never loses 5%"):
        stationary.escape_time(network, torch.zeros(network.size).double(), inputs, targets)
