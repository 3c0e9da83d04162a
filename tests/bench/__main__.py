"""`python -m tests.bench [NAME …] [--quick]`: what this project promises, measured against its peers.

The pairs come from the modules of this package, each of which has `pairs(quick) -> list[Pair | Growth]`; a name with a
leading underscore is a helper's. Prints a table and writes JSON. The exit status is 1 where a goal is missed or a row
fails.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import pkgutil
import platform
import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchbook.machine import cores, processor
from benchbook.run import _commit
from tests.bench.measure import Growth, Pair, Row, Slopes, measure, measure_growth

ROOT = Path(__file__).parents[2]
TITLES = ("module", "work", "peer", "ours s", "peer s", "ratio (min…max)", "goal", "")
FORMAT = "{:16} {:52} {:38} {:>8} {:>8} {:>20}  {:12} {}"


def main(arguments: Sequence[str] | None = None, package: str = "tests.bench") -> int:
    """Measures the chosen pairs; returns the exit status."""
    options = _parser().parse_args(arguments)
    modules = _modules(package)
    unknown = {name.partition(":")[0] for name in options.names} - set(modules)
    if unknown:
        print(f"bench: there is no {', '.join(sorted(unknown))}; known: {', '.join(modules)}", file=sys.stderr)
        return 2
    if options.keep and options.names:
        print("bench: --keep keeps a whole bench: name no module", file=sys.stderr)
        return 2
    report: dict[str, Any] = {**facts(), "command": _command(options), "quick": options.quick}
    report |= {"repeats": options.repeats, "rows": [], "growth": [], "left_out": [], "errors": []}
    print(FORMAT.format(*TITLES))
    for module, found in _pairs(package, modules, options.names, options.quick):
        if not isinstance(found, str) and options.quick and found.slow:
            report["left_out"].append({"module": module, "name": found.name, "peer_name": found.peer_name})
            continue
        _note(report, module, found if isinstance(found, str) else _measured(found, options.repeats))
    _write(options.output, report)
    if options.keep:
        _write(ROOT / "reference" / "bench.json", report)
    missed = [row["name"] for row in report["rows"] if row["met"] is False]
    return 1 if missed or report["errors"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    text = "a module of tests/bench, or MODULE:TEXT for its rows with that text in their names (default: all)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=text)
    parser.add_argument("--quick", action="store_true", help="smaller work, and not the slow rows")
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="of each side, after a warm-up (default: 5)"
    )
    text = "write reference/bench.json too, which the page on performance shows"
    parser.add_argument("--keep", action="store_true", help=text)
    parser.add_argument("--output", type=Path, default=ROOT / "_build" / "bench.json", help="where the JSON goes")
    return parser


def _command(options: argparse.Namespace) -> str:
    words = ["make bench"] + ["QUICK=1"] * options.quick + ["KEEP=1"] * options.keep
    return " ".join(words + [f'NAME="{" ".join(options.names)}"'] * bool(options.names))


def _modules(package: str) -> list[str]:
    """The modules that have pairs."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [module.name for module in found if not module.name.startswith("_") and module.name != "measure"]


def _pairs(
    package: str, modules: list[str], names: list[str], quick: bool = False
) -> Iterator[tuple[str, Pair | Growth | str]]:
    """The chosen pairs after their module's name; an error in words for a module that has none to give."""
    for module in modules:
        texts = [text for name, _, text in (name.partition(":") for name in names) if name == module]
        if names and not texts:
            continue
        try:
            pairs = importlib.import_module(f"{package}.{module}").pairs(quick)
        except Exception as error:  # one module's error is told, and stops no other
            yield module, _words(error)
            continue
        yield from ((module, pair) for pair in pairs if not texts or any(text in pair.name for text in texts))


def _measured(found: Pair | Growth, repeats: int) -> Row | Slopes | str:
    try:
        return measure(found, repeats) if isinstance(found, Pair) else measure_growth(found, repeats)
    except Exception as error:  # as above
        return f"{found.name}: {_words(error)}"


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _note(report: dict[str, Any], module: str, found: Row | Slopes | str) -> None:
    """Puts a result, or what went wrong, into the report, and prints it."""
    if isinstance(found, Row):
        report["rows"].append({"module": module, **described(found)})
        print(line(module, found), flush=True)
    elif isinstance(found, Slopes):
        report["growth"].append({"module": module, **described_growth(found)})
        print(growth_line(module, found), flush=True)
    else:
        report["errors"].append({"module": module, "error": found})
        print(f"{module:16} failed: {found}", flush=True)


def _write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def described(row: Row) -> dict[str, Any]:
    """A row as plain JSON, with every repetition."""
    ratios = row.ratios
    summary = {"ratio": row.ratio, "ratio_min": min(ratios, default=None), "ratio_max": max(ratios, default=None)}
    return {**vars(row), **summary, "met": row.met}


def described_growth(found: Slopes) -> dict[str, Any]:
    """The slopes of both sides as plain JSON, with every repetition."""
    summary = {}
    for name, side in (("slope", found.ours), ("peer_slope", found.peer)):
        slopes = found.of(side)
        summary[name] = statistics.median(slopes) if slopes else None
        summary |= {f"{name}_min": min(slopes, default=None), f"{name}_max": max(slopes, default=None)}
    return {**vars(found), **summary}


def line(module: str, row: Row) -> str:
    """A row of the table: medians, the ratio with its range, what was promised and whether it is kept."""
    ours, peer = (f"{statistics.median(times):.3g}" if times else "" for times in (row.ours, row.peer))
    ratio = f"{row.ratio:.2f} ({min(row.ratios):.2f}…{max(row.ratios):.2f})" if row.ratio is not None else ""
    promised = [f"≥{row.goal:g}"] if row.goal is not None else []
    promised += [f"≤{row.limit:g} s"] if row.limit is not None else []
    met = {True: "met", False: "MISSED", None: ""}[row.met]
    return FORMAT.format(module, row.name, row.peer_name, ours, peer, ratio, " ".join(promised), met).rstrip()


def growth_line(module: str, found: Slopes) -> str:
    """A row of the table: the sizes, and the median slopes with their ranges."""
    sides = [found.of(side) for side in (found.ours, found.peer)]
    slopes = [f"{statistics.median(s):.2f} ({min(s):.2f}…{max(s):.2f})" if s else "" for s in sides]
    sizes = ", ".join(f"{size:,}" for size in found.sizes)
    words = f"slope {slopes[0]}" + (f", of {found.peer_name} {slopes[1]}" if slopes[1] else "")
    return f"{module:16} {found.name}: {sizes}: {words}"


def facts() -> dict[str, Any]:
    """Where and when it was measured, and with what."""
    needed = [text for text in importlib.metadata.requires("benchbook") or () if "extra ==" not in text]
    names = sorted(re.split(r"[^\w.-]", text)[0] for text in needed)
    return {
        "machine": processor(),
        "system": platform.platform(terse=True),
        "cores": cores(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in names},
        "commit": _commit(ROOT),
        "load": os.getloadavg()[0],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


if __name__ == "__main__":
    sys.exit(main())
