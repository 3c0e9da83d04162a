"""How cost grows with pictures, models, runs and pages: the slope on logarithmic axes, ours beside a peer's.

1 is in proportion to the size, less is better, and 0 is a cost that does not grow at all.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import torch

from convnets import models
from tests.bench import _books, approximation, engine, training
from tests.bench._books import command, scratch
from tests.bench.measure import Growth

FILTERS = 8


def pairs(quick: bool) -> list[Growth]:
    """Each with three sizes or more; pages are left out of a quick bench, which would take minutes for them alone."""
    return [
        Growth(
            "pictures of an epoch of UNet with 8 filters",
            (100, 200, 400) if quick else (100, 200, 400, 800, 1600),
            lambda size: epoch(training.fit, size),
            "DataLoader, float32",
            lambda size: epoch(training.usual_loop, size),
        ),
        Growth(
            "networks of 16 hidden units",
            (5, 10, 20) if quick else (5, 10, 20, 40, 80, 160),
            lambda size: approximation.together(*approximation.tasks(size)),
            "one after another",
            lambda size: approximation.one_after_another(*approximation.tasks(size)),
        ),
        Growth("status of runs", (10, 100, 1000), status, "snakemake --dry-run", dry_run),
        Growth("pages of HTML", (4, 8, 16, 32), pages, "jupyter-book", peer_pages, remove_pages, slow=True),
    ]


def epoch(way: training.Way, size: int) -> None:
    """One epoch over so many pictures, and a few to judge by."""
    train, validation, colours = training.pictures(1600)
    torch.manual_seed(0)
    way(models.UNet(num_filters=FILTERS), train[:size], validation[:20], colours, 1, 50)


@cache
def runs(size: int) -> Path:
    """So many pretended runs of ten chapters."""
    root = _books.write_book(scratch() / f"runs-{size}", 10, size // 10, pictures=1)
    _books.pretend_runs(root)
    return root


def status(size: int) -> None:
    """`benchbook status`."""
    command("benchbook", "status", cwd=runs(size))


def dry_run(size: int) -> None:
    """Snakemake's own answer."""
    command("snakemake", "--dry-run", "--quiet", "all", "--cores", "1", cwd=engine.workflow(size))


@cache
def book(size: int) -> tuple[Path, Path]:
    """A book of so many chapters whose runs are there, and the peer's, which executes nothing."""
    root = _books.write_book(scratch() / f"pages-{size}", size, 1)
    _books.pretend_runs(root)
    peer = _books.write_peer(scratch() / f"pages-{size}-peer", size, execute="off")
    return root, peer


def remove_pages(size: int) -> None:
    """No page is there."""
    for root in book(size):
        shutil.rmtree(root / "_build", ignore_errors=True)


def pages(size: int) -> None:
    """`benchbook build` of HTML."""
    command("benchbook", "build", "--no-pdf", cwd=book(size)[0])


def peer_pages(size: int) -> None:
    """`jupyter-book build` of the same chapters, their outputs left away."""
    command("jupyter-book", "build", ".", cwd=book(size)[1])
