"""The directive {bench}: what `make bench KEEP=1` has measured, as a chart of ratios, tables, and the machine.

It reads `reference/bench.json`, or the file of that folder which its argument names. A ratio is how many times as long
the peer took for the same work; rows of one group share a bar and a line of the table.
"""

from __future__ import annotations

import html
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchbook.pictures import put
from benchbook.provenance import table
from benchbook.reference import FOLDER

WIDTH, LABELS, PLOT, ROW, TOP = 760, 380, 300, 36, 26  # of the chart, its texts, its bars, a row, the axis: pixels
MOST = 12  # bars of a chart: as many as a printed page shows with words that can be read
TICKS = (1, 2, 5)
AHEAD, BEHIND, INK, PALE, GOAL = "#0072b2", "#d55e00", "#222", "#bbb", "#009e73"  # Okabe & Ito's, for all eyes
NONE_YET = "No bench is kept yet: make bench KEEP=1 writes one."


@dataclass(frozen=True)
class Bar:
    """A ratio with the least and the largest of its repetitions, and what was promised."""

    name: str
    peer: str
    ratio: float
    least: float
    most: float
    goal: float | None = None


class Bench(SphinxDirective):
    """{bench}, or {bench} NAME for reference/NAME.json."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, FOLDER, f"{self.arguments[0] if self.arguments else 'bench'}.json")
        self.env.note_dependency(str(path))  # also while it is not there: it may come
        if not path.is_file():
            return [nodes.paragraph("", NONE_YET)]
        report = json.loads(path.read_text(encoding="utf-8"))
        drawn = bars(report["rows"])
        found: list[nodes.Node] = [nodes.paragraph("", machine(report)), *self.pictures(drawn)]
        found.append(table(["work", "ours", "peer", "it takes", "ratio (least … most)", "goal"], rows(report["rows"])))
        if report["growth"]:
            found.append(nodes.paragraph("", "Growth: the slope of the time over the size, both on logarithmic axes."))
            found.append(table(["size", "from … to", "ours", "peer", "its slope"], slopes(report["growth"])))
        return [*found, *(nodes.paragraph("", text) for text in missing(report))]

    def pictures(self, drawn: Sequence[Bar]) -> list[nodes.Node]:
        """A chart for every `MOST` bars, all on one axis."""
        folder = Path(self.env.app.outdir).parent / "shown"
        folder.mkdir(exist_ok=True)
        page = Path(self.env.srcdir, self.env.docname).parent
        found: list[nodes.Node] = []
        axis = limits(drawn)
        for first in range(0, len(drawn), MOST):
            shown = drawn[first : first + MOST]
            ahead = sum(bar.ratio >= 1 for bar in shown)
            text = (
                f"{len(shown)} bars on a logarithmic axis: this project is faster than its peer in {ahead}; the table"
            )
            uri = os.path.relpath(put(folder, "svg", chart(shown, axis).encode()), page)
            found.append(nodes.image("", uri=uri, alt=f"{text} below has the numbers."))
        return found


def machine(report: Mapping[str, Any]) -> str:
    """Where, when, how and with what it was measured."""
    threads = f"OMP_NUM_THREADS={report['threads']}"
    versions = ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    return (
        f"Measured on {report['date'][:10]} by {report['command']} at commit {report['commit'] or 'unknown'}: "
        f"{report['machine']}, {report['cores']} cores, {report['system']}, {threads}, load {report['load']:.1f} at "
        f"first; medians of {report['repeats']} repetitions, in turns, after a warm-up. Python {report['python']}, "
        f"{versions}."
    )


def groups(measured: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The rows that stand together: those of one group, any other by itself."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in measured:
        found.setdefault((title(row), row["peer_name"]), []).append(row)
    return list(found.values())


def title(row: Mapping[str, Any]) -> str:
    """What the reader sees of a row: its group, where it has one."""
    return str(row["group"] or row["name"])


def bars(measured: Iterable[Mapping[str, Any]]) -> list[Bar]:
    """A bar for each row with a peer, one for the rows of a group together."""
    return [bar(group) for group in groups(measured) if group[0]["ratio"] is not None]


def bar(group: Sequence[Mapping[str, Any]]) -> Bar:
    """The median of the ratios of a group, with the least and the largest of all repetitions."""
    return Bar(
        title(group[0]),
        group[0]["peer_name"],
        statistics.median(row["ratio"] for row in group),
        min(row["ratio_min"] for row in group),
        max(row["ratio_max"] for row in group),
        group[0]["goal"],
    )


def rows(measured: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The table's rows: a line for each bar, and for what has no peer."""
    found = []
    for group in groups(measured):
        first = group[0]
        drawn = bar(group) if first["peer"] else None
        ratio = f"{drawn.ratio:.3g} ({spread(drawn.least, drawn.most)})" if drawn else ""
        goal = [f"≥\xa0{first['goal']:g}"] if first["goal"] else []
        goal += [f"≤\xa0{first['limit']:g}\xa0s"] if first["limit"] else []
        met = [row["met"] for row in group]
        kept = "\xa0✗" if False in met else "\xa0✓" if True in met else ""
        sides = [took(group, "ours"), first["peer_name"], took(group, "peer")]
        found.append([title(first), *sides, ratio, ", ".join(goal) + kept])
    return found


def took(group: Sequence[Mapping[str, Any]], side: str) -> str:
    """The median of the seconds that one side took; of several rows the least and the largest."""
    medians = [statistics.median(row[side]) for row in group if row[side]]
    if not medians:
        return ""
    ends = [min(medians), max(medians)] if len(medians) > 1 else medians
    return "\xa0… ".join(f"{end:.3g}" for end in ends) + "\xa0s"  # broken there, as the table is as wide as the page


def spread(least: float, most: float) -> str:
    """The least and the largest, which stay on one line."""
    return f"{least:.3g}\xa0…\xa0{most:.3g}"


def slopes(measured: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The rows of the table of growth."""

    def said(row: Mapping[str, Any], name: str) -> str:
        if row[name] is None:
            return ""
        return f"{row[name]:.2f}, {spread(row[f'{name}_min'], row[f'{name}_max'])}"

    return [
        [
            row["name"],
            f"{min(row['sizes']):,} … {max(row['sizes']):,}",
            said(row, "slope"),
            row["peer_name"],
            said(row, "peer_slope"),
        ]
        for row in measured
    ]


def missing(report: Mapping[str, Any]) -> list[str]:
    """What was not measured, in words."""
    left = "; ".join(f"{row['name']} ({row['peer_name'] or 'alone'})" for row in report["left_out"])
    failed = [f"Failed: {row['module']}: {row['error']}." for row in report["errors"]]
    return [f"Left out of this quick bench: {left}."] * bool(left) + failed


def limits(drawn: Sequence[Bar]) -> tuple[float, float]:
    """The ratios between which the axis of these bars runs."""
    edges = [edge for bar in drawn for edge in (bar.least, bar.most, bar.goal or 1.0)]
    return min(0.5, *edges), max(2.0, *edges)


def chart(drawn: Sequence[Bar], axis: tuple[float, float]) -> str:
    """The bars as SVG, from a line at 1 on a logarithmic axis, with their ranges and goals."""
    low, high = axis

    def place(ratio: float) -> float:
        return round(LABELS + PLOT * math.log(ratio / low) / math.log(high / low), 1)

    height = TOP + ROW * len(drawn) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="DejaVu Sans, sans-serif" font-size="11" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for tick in _ticks(low, high):
        x = place(tick)
        colour, width = (INK, 1.5) if tick == 1 else (PALE, 0.5)
        parts.append(_line(x, TOP - 6, x, height - 24, colour, width))
        parts.append(_text(x, TOP - 11, f"{tick:g}", 'text-anchor="middle"'))
    for number, bar in enumerate(drawn):
        parts += _drawn(bar, TOP + ROW * number, place)
    parts.append(
        _text(4, height - 8, "How many times as long the peer takes. Thin line: all repetitions; green mark: the goal.")
    )
    return "\n".join([*parts, "</svg>\n"])


def _ticks(low: float, high: float) -> list[float]:
    steps = TICKS if high / low < 200 else TICKS[:1]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for decade in decades for step in steps if low <= (tick := float(f"{step}e{decade}")) <= high]


def _drawn(bar: Bar, top: float, place: Any) -> list[str]:
    middle, start, end = top + ROW / 2, place(1), place(bar.ratio)
    colour = AHEAD if bar.ratio >= 1 else BEHIND
    x, width = min(start, end), round(abs(end - start), 1)
    parts = [
        _text(4, top + 15, _cut(bar.name, 58)),
        _text(4, top + 28, _cut(f"against {bar.peer}", 66), 'font-size="10" fill="#666"'),
        f'<rect x="{x}" y="{middle - 6}" width="{width}" height="12" fill="{colour}"/>',
        _line(place(bar.least), middle, place(bar.most), middle, INK, 1.5),
        _text(LABELS + PLOT + 12, middle + 4, f"{bar.ratio:.3g}", 'font-weight="bold"'),
    ]
    goal = [_line(place(bar.goal), middle - 10, place(bar.goal), middle + 10, GOAL, 3)] if bar.goal else []
    return parts + goal


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}" {attributes}>{html.escape(text)}</text>'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""
    app.add_directive("bench", Bench)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
