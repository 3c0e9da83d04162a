"""A comparison laid out in columns: as lines of text, and as the plain table of the page that compares runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchbook.fingerprint import hash_text
from benchbook.record import show
from benchbook.rows import SEED, Comparison, Row, plain

MAIN = {"value": 4, "claim": 3}  # columns of a kind that are seen without asking
PRINTED = 50  # rows of the plain table
NAMED = 3  # rows that are named where many have the same news
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
        return [NOTHING, None] if record is None else [show(record), short(record["mean"]), record["n"]]

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
    told += _moves(comparison, rows)
    told += [f"{len(table[0]) - kept} more columns in a wider terminal, and in --json"] * (kept < len(table[0]))
    left = len(comparison.rows) - len(rows)
    told += [f"{left} more of older code: --older shows them"] * bool(left)
    return [_printable(line) for line in [*told, *_advice(comparison, rows)]]


def _moves(comparison: Comparison, rows: Sequence[Row]) -> Iterator[str]:
    """A line for each way in which a claim moved against the run that the book shows, with the rows where it did."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, how in comparison.moved(row).items():
            found.setdefault((name, how), []).append(comparison.label(row))
    for (name, how), labels in found.items():
        more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
        yield f"{name} {how}: {'; '.join(labels[:NAMED])}{more}"


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


# ---- the plain table -----------------------------------------------------------------------------------------------


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


def short(number: float) -> float:
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
