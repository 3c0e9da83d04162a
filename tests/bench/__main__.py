"""`python -m tests.bench [NAME …] [--quick]`: what this project promises, measured against its peers.

The pairs come from the modules of this package, each of which has `pairs() -> list[Pair]`; a name with a leading
underscore is a helper's. Prints a table and writes JSON. The exit status is 1 where a goal is missed or a row fails.
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

from benchbook.run import _commit, _processor, cores
from tests.bench.measure import Pair, Row, measure

ROOT = Path(__file__).parents[2]
TITLES = ("module", "work", "peer", "ours s", "peer s", "ratio (min…max)", "goal", "")
FORMAT = "{:14} {:46} {:30} {:>8} {:>8} {:>20}  {:9} {}"


def main(arguments: Sequence[str] | None = None, package: str = "tests.bench") -> int:
    """Measures the chosen pairs; returns the exit status."""
    options = _parser().parse_args(arguments)
    modules = _modules(package)
    unknown = {name.partition(":")[0] for name in options.names} - set(modules)
    if unknown:
        print(f"bench: there is no {', '.join(sorted(unknown))}; known: {', '.join(modules)}", file=sys.stderr)
        return 2
    report = {**facts(), "quick": options.quick, "rows": [], "errors": []}
    print(FORMAT.format(*TITLES))
    for module, found in _pairs(package, modules, options.names):
        if isinstance(found, Pair) and not (options.quick and found.slow):
            found = _measured(found, 3 if options.quick else 5)
        if isinstance(found, Row):
            report["rows"].append({"module": module, **described(found)})
            print(line(module, found), flush=True)
        elif isinstance(found, str):
            report["errors"].append({"module": module, "error": found})
            print(f"{module:14} failed: {found}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    missed = [row["name"] for row in report["rows"] if row["met"] is False]
    return 1 if missed or report["errors"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    text = "a module of tests/bench, or MODULE:TEXT for its rows with that text in their names (default: all)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=text)
    parser.add_argument("--quick", action="store_true", help="three repetitions, and not the slow rows")
    parser.add_argument("--output", type=Path, default=ROOT / "_build" / "bench.json", help="where the JSON goes")
    return parser


def _modules(package: str) -> list[str]:
    """The modules that have pairs."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [module.name for module in found if not module.name.startswith("_") and module.name != "measure"]


def _pairs(package: str, modules: list[str], names: list[str]) -> Iterator[tuple[str, Pair | str]]:
    """The chosen pairs after their module's name; an error in words for a module that has none to give."""
    for module in modules:
        texts = [text for name, _, text in (name.partition(":") for name in names) if name == module]
        if names and not texts:
            continue
        try:
            pairs = importlib.import_module(f"{package}.{module}").pairs()
        except Exception as error:  # one module's error is told, and stops no other
            yield module, _words(error)
            continue
        yield from ((module, pair) for pair in pairs if not texts or any(text in pair.name for text in texts))


def _measured(pair: Pair, repeats: int) -> Row | str:
    try:
        return measure(pair, repeats)
    except Exception as error:  # as above
        return f"{pair.name}: {_words(error)}"


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def described(row: Row) -> dict[str, Any]:
    """A row as plain JSON, with every repetition."""
    ratios = row.ratios
    summary = {"ratio": row.ratio, "ratio_min": min(ratios, default=None), "ratio_max": max(ratios, default=None)}
    return {**vars(row), **summary, "met": row.met}


def line(module: str, row: Row) -> str:
    """A row of the table: medians, the ratio with its range, what was promised and whether it is kept."""
    ours, peer = (f"{statistics.median(times):.3g}" if times else "" for times in (row.ours, row.peer))
    ratio = f"{row.ratio:.2f} ({min(row.ratios):.2f}…{max(row.ratios):.2f})" if row.ratio is not None else ""
    promised = [f"≥{row.goal:g}"] if row.goal is not None else []
    promised += [f"≤{row.limit:g} s"] if row.limit is not None else []
    met = {True: "met", False: "MISSED", None: ""}[row.met]
    return FORMAT.format(module, row.name, row.peer_name, ours, peer, ratio, " ".join(promised), met).rstrip()


def facts() -> dict[str, Any]:
    """Where and when it was measured, and with what."""
    needed = [text for text in importlib.metadata.requires("benchbook") or () if "extra ==" not in text]
    names = sorted(re.split(r"[^\w.-]", text)[0] for text in needed)
    return {
        "machine": _processor(),
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
