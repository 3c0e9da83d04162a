"""Many small networks trained together beside the usual loop, one network after another."""

from __future__ import annotations

import torch
from torch import nn

from convnets import approximation
from convnets.polylines import TARGETS
from tests.bench.measure import Pair

WIDTH, POINTS, STEPS, SEEDS = 16, 100, 100, 8


def pairs() -> list[Pair]:
    """The chapter's five functions with eight seeds each, at 100 points, the same steps of Adam on both sides."""
    torch.set_num_threads(1)  # better for both: the networks are too small to share out
    targets = [target for target in TARGETS.values() for _ in range(SEEDS)]
    seeds = list(range(SEEDS)) * len(TARGETS)
    samples = [
        tuple(torch.tensor(a, dtype=torch.float32)[:, None] for a in approximation.samples(target, POINTS))
        for target in targets
    ]

    def together() -> None:
        approximation.train(
            targets, [0.01] * len(targets), seeds, width=WIDTH, activation="ReLU", steps=STEPS, num_points=POINTS
        )

    def one_after_another() -> None:
        for (x, y), seed in zip(samples, seeds, strict=True):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Linear(1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
            optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
            for _ in range(STEPS):
                optimiser.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimiser.step()

    name = f"{len(targets)} networks of {WIDTH} hidden units, {POINTS} points, {STEPS} steps, together"
    return [Pair(name, together, "one after another, torch.optim.Adam", one_after_another, goal=10)]
