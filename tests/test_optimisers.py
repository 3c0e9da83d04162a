"""Optimisers held against decompositions, PyTorch's own and plain arithmetic."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convnets import optimisers, training


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4 * 36, 10))


def one_step(optimiser, model: nn.Module) -> None:
    pictures = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    optimiser.zero_grad()
    F.cross_entropy(model(pictures), torch.arange(8)).backward()
    optimiser.step()


@pytest.mark.parametrize("shape", [(8, 27), (27, 8), (16, 16)])
def test_orthogonalising_keeps_the_directions_and_evens_their_sizes(shape):
    """Beside the singular value decomposition: the same singular vectors, sizes from 0.6 to 1.3 that were 1 to 20."""
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator, dtype=torch.double), full_matrices=False)
    sizes = torch.linspace(1, 20, min(shape), dtype=torch.double)
    found = u.T @ optimisers.orthogonalise(u * sizes @ v) @ v.T
    assert found.diagonal().min() > 0.6
    assert found.diagonal().max() < 1.3
    assert (found - found.diagonal().diag()).abs().max() < 1e-6


def test_a_step_of_muon_is_momentum_orthogonalised():
    """Two steps by hand: the filters' size, Nesterov's momentum, the orthogonal direction times the rate."""
    weight = nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
    wanted, buffer = weight.detach().clone(), torch.zeros_like(weight)
    optimiser = optimisers.Muon([weight], lr=0.1, momentum=0.6)
    for step in range(2):
        gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step + 1))
        buffer = 0.6 * buffer + gradient
        direction = optimisers.orthogonalise((gradient + 0.6 * buffer).reshape(4, 27)).reshape(weight.shape)
        wanted = 2 * wanted / wanted.norm() - 0.1 * direction
        weight.grad = gradient
        optimiser.step()
    assert torch.allclose(weight, wanted, atol=1e-5)


def test_muon_takes_the_filters_and_adam_the_rest():
    """Of one network: what has four axes moves by Muon's rate, all else by Adam's; fixed filters stay."""
    model = network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    one_step(optimisers.muon(model, 0.0, filter_rate=0.1), model)
    moved = [not torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True)]
    assert moved == [True, True, False, False, False, False]
    model[0].weight.requires_grad_(False)
    fixed = model[0].weight.clone()
    one_step(optimisers.muon(model, 0.1), model)
    assert torch.equal(model[0].weight, fixed)
    assert not torch.equal(model[4].weight, before[4])


def test_weight_decay_takes_its_share_of_weights_and_leaves_biases():
    """Beside the same step without: rate × decay of each weight is gone, of biases and batch norm's scales nothing."""
    plain, decayed = network(), network()
    before = {name: parameter.detach().clone() for name, parameter in plain.named_parameters()}
    one_step(optimisers.adam(plain, 0.01, (0.9, 0.95)), plain)
    one_step(optimisers.adam(decayed, 0.01, (0.9, 0.95), weight_decay=0.5), decayed)
    for name, parameter in decayed.named_parameters():
        share = 0.01 * 0.5 if parameter.ndim > 1 else 0.0
        assert torch.allclose(dict(plain.named_parameters())[name] - parameter, share * before[name], atol=1e-6)


def test_fit_scales_every_groups_own_rate():
    """With one_cycle both of Muon's and Adam's rates follow the schedule, each from its own."""
    seen, made = [], []

    class Watched(optimisers._Together):
        def step(self):
            seen.append([group["lr"] for group in self.param_groups])
            super().step()

    def build(model, rate):
        together = optimisers.muon(model, rate, filter_rate=0.2)
        made.append(Watched(*together.optimisers))
        return made[-1]

    images = torch.randint(256, (12, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12, dtype=torch.uint8) % 10
    history = training.fit(
        network(),
        images,
        labels,
        F.cross_entropy,
        validation=(images, labels),
        epochs=5,
        batch_size=4,
        learning_rate=0.01,
        schedule="cosine",
        optimiser=build,
        device=torch.device("cpu"),
    )
    factors = [training.rate_factor("cosine", step / 15) for step in range(15)]
    assert [rates[0] for rates in seen] == pytest.approx([0.2 * factor for factor in factors])
    assert [rates[1] for rates in seen] == pytest.approx([0.01 * factor for factor in factors])
    assert history.learning_rate == pytest.approx([0.01 * factor for factor in factors[2::3]])


def test_betas_reach_adam():
    """The brief's second beta, 0.95, is what the optimiser has."""
    optimiser = partial(optimisers.adam, betas=(0.9, 0.95))(network(), 5e-4)
    assert isinstance(optimiser, torch.optim.Adam)
    assert optimiser.param_groups[0]["betas"] == (0.9, 0.95)
