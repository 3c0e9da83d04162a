"""A comparison laid out: as lines of text, as a plain table, and as the data of the page that compares runs."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbook.fingerprint import hash_text
from benchbook.pictures import Pictures
from benchbook.record import claim_sentence, show
from benchbook.rows import SEED, Comparison, Made, Row, plain
from benchbook.state import EXECUTED

MAIN = {"value": 4, "claim": 3}  # columns of a kind that are seen without asking
PRINTED = 50  # rows of the plain table
PICTURED = 50  # runs of an experiment, from its first row on, whose pictures the page has
POINTS = 1000  # of a curve on the page; of a longer one every second, third, … is kept
WIDEST = 40  # characters of a cell in a terminal
NOTHING = "—"
SIGNS = {"does not hold": "✗", "too close to call": "≈", "holds in ": "✓ ", "holds": "✓"}  # where room is scarce
RUNS_FILE = "runs.json"  # beside the Sphinx source: what the page says without its script


@dataclass(frozen=True)
class Column:
    """A parameter, the seeds, a value, a claim or the time; the main ones are seen without asking."""

    kind: str
    name: str
    main: bool = True
    differs: bool = True

    def cell(self, comparison: Comparison, row: Row) -> list[Any]:
        """A row's text there, what it is sorted by (None where there is nothing), and how many numbers are in it."""
        if self.kind == "seed":
            seeds = [run.parameters[SEED] for run in row.runs if SEED in run.parameters]
            return [_ranges(seeds), seeds[0]] if seeds else [NOTHING, None]
        if self.kind == "parameter":
            given = row.settings.get(self.name)
            number = isinstance(given, int | float) and not isinstance(given, bool)
            return [NOTHING, None] if given is None else [plain(given), given if number else plain(given)]
        if self.kind == "claim":
            said = row.claims.get(self.name)
            return [NOTHING, None] if said is None else [comparison.moved(row).get(self.name, said), said]
        record = row.time if self.kind == "time" else row.values.get(self.name)
        return [NOTHING, None] if record is None else [show(record), _short(record["mean"]), record["n"]]

    def title(self, comparison: Comparison) -> str:
        """The column's name with its unit."""
        units = {row.values[self.name]["unit"] for row in comparison.rows if self.name in row.values}
        unit = "s" if self.kind == "time" else ", ".join(sorted(units - {""})) if self.kind == "value" else ""
        return f"{self.name} ({unit})" if unit else self.name


def columns(comparison: Comparison) -> list[Column]:
    """All columns: the parameters that differ, the seeds, all values and claims, those that differ first, the time."""
    found = [Column("parameter", name) for name in comparison.parameters]
    if len({plain(run.parameters.get(SEED)) for run in comparison.runs}) > 1:
        found.append(Column("seed", SEED))
    repeated = {name for row in comparison.rows for name in row.settings}  # values that only print a parameter
    for kind, moving, all_names in (
        ("value", comparison.values, [name for row in comparison.rows for name in row.values]),
        ("claim", comparison.claims, [name for row in comparison.rows for name in row.claims]),
    ):
        found += [Column(kind, name, main=i < MAIN[kind]) for i, name in enumerate(moving)]
        rest = (name for name in dict.fromkeys(all_names) if name not in moving and name not in repeated)
        found += [Column(kind, name, False, False) for name in rest]
    return [*found, Column("time", "time")]


# ---- text ----------------------------------------------------------------------------------------------------------


def lines(comparison: Comparison, *, older: bool = False, width: int | None = None) -> list[str]:
    """The comparison as lines: a table of what differs, as wide as there is room for, and the claims that moved.

    Rows of older code are left out, unless there are no others.
    """
    rows = list(comparison.rows) if older else _current(comparison)
    chosen = [column for column in columns(comparison) if column.differs]
    table = [["", "run", *(column.name for column in chosen)]]
    for row in rows:
        run = row.runs[0].folder.name[:8] + (f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else "")
        table.append(["*" if row.shown else _mark(row), run, *(column.cell(comparison, row)[0] for column in chosen)])
    kept = _fitting(table, 2 + len(comparison.parameters), width)
    told = [f"{comparison.experiment}: {comparison.title}", *_aligned([line[:kept] for line in table])]
    told += [f"{comparison.label(row)}: {name} {how}" for row in rows for name, how in comparison.moved(row).items()]
    told += [f"{len(table[0]) - kept} more columns in a wider terminal, and in --json"] * (kept < len(table[0]))
    left = len(comparison.rows) - len(rows)
    told += [f"{left} more of older code: --older shows them"] * bool(left)
    return [_printable(line) for line in [*told, *_advice(comparison, rows)]]


def _current(comparison: Comparison) -> list[Row]:
    """The rows of today's code, or all where there are none."""
    return [row for row in comparison.rows if not row.older] or list(comparison.rows)


def _advice(comparison: Comparison, rows: Sequence[Row]) -> list[str]:
    """What is the book's, and how another run becomes it."""
    other = next((row.runs[0].line for row in rows if not row.shown), "")
    place = f"the book shows another by one line in profiles/{comparison.profile}.yml, such as: {other}"
    return ["* the book shows this run"] * any(row.shown for row in rows) + [place] * bool(other)


def _fitting(table: list[list[str]], least: int, width: int | None) -> int:
    """How many columns the width has room for, and no fewer than the least."""
    room, kept = width or math.inf, 0
    for column in zip(*table, strict=True):
        room -= min(WIDEST, max(map(len, column))) + 2
        if room < -2 and kept >= least:
            break
        kept += 1
    return kept


def _aligned(table: list[list[str]]) -> list[str]:
    cells = [[cell if len(cell) <= WIDEST else cell[: WIDEST - 1] + "…" for cell in line] for line in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _printable(line: str) -> str:
    """A line that does nothing to a terminal, whatever text a run has left."""
    return "".join(sign if sign.isprintable() else "�" for sign in line.replace("\u00a0", " "))


# ---- the page ------------------------------------------------------------------------------------------------------


def plain_sheet(comparison: Comparison) -> dict[str, Any]:
    """What the page says of an experiment without its script: a table of today's runs, and what it leaves out."""
    rows = _current(comparison)
    chosen = [column for column in columns(comparison) if column.main]
    texts = [[_narrow(column.cell(comparison, row)[0], column.kind) for column in chosen] for row in rows[:PRINTED]]
    differing = {"value": len(comparison.values), "claim": len(comparison.claims)}
    more = {"more rows": len(rows) - PRINTED, "rows of older code": len(comparison.rows) - len(rows)}
    more |= {f"more {kind}s that differ": number - MAIN[kind] for kind, number in differing.items()}
    return {
        "titles": ["", *(column.title(comparison) for column in chosen)],
        "signs": any(column.kind == "claim" for column in chosen),
        "rows": [[_mark(row), *line] for row, line in zip(rows, texts, strict=False)],
        "left_out": [f"{number} {what}" for what, number in more.items() if number > 0],
        "runs": len(comparison.runs),
        "version": hash_text(repr([(r.folder, r.ended, r.shown, r.older, r.line) for r in comparison.runs]))[:8],
    }


def _mark(row: Row) -> str:
    return "shown" if row.shown else "older code" if row.older else ""


def _narrow(text: str, kind: str) -> str:
    """A cell of the plain table, which must fit a sheet of paper: a verdict as a sign, a number without its unit."""
    for words, sign in SIGNS.items() if kind == "claim" else ():
        text = text.replace(words, sign)
    return text if kind == "parameter" else re.sub(" ([→±]) ", r"\1", text.partition("\u00a0")[0])


def publish(comparisons: Iterable[Comparison], target: Path) -> None:
    """Puts into a folder of the site what the page's script reads: a script of data each, and the pictures of runs."""
    (target / "pictures").mkdir(parents=True, exist_ok=True)
    pictures = Pictures(target / "pictures")
    scripts = {f"{c.experiment}.js": f"benchbookRuns({json.dumps(data(c, pictures))});\n" for c in comparisons}
    for path in target.glob("*.js"):
        if path.name not in scripts:
            path.unlink()
    for name, content in scripts.items():
        path = target / name
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
    pictures.close()


def data(comparison: Comparison, pictures: Pictures) -> dict[str, Any]:
    """All that the page's script shows of an experiment."""
    chosen = columns(comparison)
    pictured = {
        run.folder: pictures.of(run.folder / EXECUTED, run.notebook)
        for run in comparison.runs[:PICTURED]
        if run.notebook
    }
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


def _run(
    comparison: Comparison, row: Row, run: Made, chosen: Sequence[Column], pictures: Iterable[dict[str, str]]
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
    return {name: [_short(number) for number in numbers] for name, numbers in found.items()}


def _short(number: float) -> float:
    """Six digits of a number: more are not read off a page."""
    return number if isinstance(number, int) else float(f"{number:.6g}")


def _ranges(seeds: Sequence[Any]) -> str:
    """Seeds 0, 1, 2, 5 as '0–2, 5'."""
    runs: list[list[Any]] = []
    for seed in seeds:
        if runs and type(seed) is int and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
