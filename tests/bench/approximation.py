"""Many small networks trained together beside the usual loop, one network after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import cycle, islice

import torch
from torch import Tensor, nn

from convnets import approximation
from convnets.polylines import TARGETS
from tests.bench.measure import Pair

WIDTH, POINTS, STEPS, SEEDS = 16, 100, 100, 8

Targets = list[Callable]
Samples = list[tuple[Tensor, Tensor]]


def pairs(quick: bool) -> list[Pair]:
    """The chapter's five functions with eight seeds each, at 100 points, the same steps of Adam on both sides."""
    torch.set_num_threads(1)  # better for both: the networks are too small to share out
    number = SEEDS * len(TARGETS)
    return [
        Pair(
            f"{number} networks of {WIDTH} hidden units, {STEPS} steps",
            lambda: together(*tasks(number)),
            "one network after another, torch.optim.Adam",
            lambda: one_after_another(*tasks(number)),
            goal=10,
        )
    ]


@cache
def tasks(number: int) -> tuple[Targets, list[int], Samples]:
    """So many functions to learn, in turns, each with a seed and its points."""
    targets = list(islice(cycle(TARGETS.values()), number))
    samples = [
        tuple(torch.tensor(a, dtype=torch.float32)[:, None] for a in approximation.samples(target, POINTS))
        for target in targets
    ]
    return targets, [index // len(TARGETS) for index in range(number)], samples


def together(targets: Targets, seeds: list[int], samples: Samples) -> None:
    """All at once."""
    rates = [0.01] * len(targets)
    approximation.train(targets, rates, seeds, width=WIDTH, activation="ReLU", steps=STEPS, num_points=POINTS)


def one_after_another(targets: Targets, seeds: list[int], samples: Samples) -> None:
    """The loop that everyone writes."""
    for (x, y), seed in zip(samples, seeds, strict=True):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(STEPS):
            optimiser.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimiser.step()
