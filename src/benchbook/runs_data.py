"""What the script of the page that compares runs reads: a script of data for each experiment."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchbook.pictures import Pictures
from benchbook.record import claim_sentence
from benchbook.rows import SEED, Comparison, Made, Row
from benchbook.sheet import Column, columns, short
from benchbook.state import EXECUTED

PICTURED = 50  # runs of an experiment, from its first row on, whose pictures the page has
ROOM = 200_000  # bytes of an experiment's pictures beside those that its chapter shows anyway
POINTS = 1000  # of a curve; of a longer one every second, third, … is kept


def publish(comparisons: Iterable[Comparison], target: Path, pictures: Pictures) -> None:
    """Puts the data of every experiment into a folder of the site, where nothing else stays."""
    scripts = {f"{c.experiment}.js": f"benchbookRuns({json.dumps(data(c, pictures))});\n" for c in comparisons}
    for path in target.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in scripts:
            path.unlink()
    for name, content in scripts.items():
        path = target / name
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
    pictures.close()


def data(comparison: Comparison, pictures: Pictures) -> dict[str, Any]:
    """All that the page's script shows of an experiment."""
    chosen = columns(comparison)
    pictured = _pictured(comparison, pictures)
    return {
        "experiment": comparison.experiment,
        "profile": comparison.profile,
        "columns": [[column.kind, column.name, column.main] for column in chosen],
        "curves": {name: [r["x"], r["y"]] for row in comparison.rows for name, r in row.curves.items()},
        "figures": {picture["place"]: picture["name"] for found in pictured.values() for picture in found},
        "rows": [
            {
                "label": comparison.label(row),
                "shown": row.shown,
                "older": row.older,
                "seeds": [run.parameters[SEED] for run in row.runs if SEED in run.parameters],
                "cells": [column.cell(comparison, row) for column in chosen],
                "curves": {name: _drawn(record) for name, record in row.curves.items()},
                "runs": [_run(comparison, row, run, chosen, pictured.get(run.folder, [])) for run in row.runs],
            }
            for row in comparison.rows
        ],
    }


def _pictured(comparison: Comparison, pictures: Pictures) -> dict[Path, list[dict[str, Any]]]:
    """The pictures of each run: all of the one that the book shows, and of others as many as there is room for.

    None where there is one run, which has nothing to be laid over.
    """
    if len(comparison.runs) < 2:
        return {}
    found: dict[Path, list[dict[str, Any]]] = {}
    files: set[str] = set()
    room = ROOM
    for run in sorted(comparison.runs[:PICTURED], key=lambda run: not run.shown):
        kept = found[run.folder] = []
        for picture in pictures.of(run.folder / EXECUTED, run.notebook) if run.notebook else ():
            size = 0 if run.shown or picture["file"] in files else picture["bytes"]
            if size <= room:
                room -= size
                files.add(picture["file"])
                kept.append(picture)
        pictures.show(run.folder / EXECUTED, kept)
    return found


def _run(
    comparison: Comparison, row: Row, run: Made, chosen: Sequence[Column], pictures: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    alone = Row((run,))
    seed = f" seed={run.parameters[SEED]}" if len(row.runs) > 1 else ""
    claims = run.results["claims"]
    return {
        "label": comparison.label(row) + seed,
        "fingerprint": run.folder.name,
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.ended)),
        "shown": run.shown,
        "line": run.line,
        "cells": [column.cell(comparison, alone) for column in chosen] if len(row.runs) > 1 else None,
        "moved": [f"{name} {how}: {claim_sentence(claims[name])}" for name, how in comparison.moved(alone).items()],
        "pictures": {picture["place"]: picture["file"] for picture in pictures},
    }


def _drawn(record: dict[str, Any]) -> dict[str, list[float]]:
    """A curve's points, its mean over the seeds, and the lowest and the highest of them."""
    every = slice(None, None, math.ceil(len(record["xs"]) / POINTS))
    points = list(zip(*record["ys"], strict=True))[every]
    found = {"xs": record["xs"][every], "mean": [math.fsum(ys) / len(ys) for ys in points]}
    if len(record["ys"]) > 1:
        found |= {"low": [min(ys) for ys in points], "high": [max(ys) for ys in points]}
    return {name: [short(number) for number in numbers] for name, numbers in found.items()}
