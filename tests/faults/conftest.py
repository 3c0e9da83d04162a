"""`make faults`: what is done wrong to the project on purpose, how often, and what came of it, as a table.

Each test causes one fault. In the ordinary suite it does so a few times, with `--faults` as often as the table says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FORMAT = "{:76} {:>6} {:>24} {:>14}"
TITLES = ("fault", "tries", "wrong results published", "not recovered")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", action="store_true", help="cause each fault as often as the table of faults says")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--faults", default=False) and not hasattr(config, "workerinput"):  # one table for all workers
        config.pluginmanager.register(Table())


@pytest.fixture
def tries(request: pytest.FixtureRequest) -> Callable[..., int]:
    """How often to cause a fault: `tries(few=2, many=20)`, many with `--faults`."""

    def number(few: int = 2, many: int = 20) -> int:
        return many if request.config.getoption("--faults", default=False) else few

    return number


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Enters a row into the table: `fault("Kernel killed (SIGKILL)", tries=20, wrong=0, lost=0)`.

    wrong: how often a wrong result was published; lost: how often the next attempt did not recover by itself. Rows of
    one name are added up. A test asserts as well that both are 0.
    """

    def enter(name: str, *, tries: int, wrong: int = 0, lost: int = 0) -> None:
        request.node.user_properties.append(("fault", {"fault": name, "tries": tries, "wrong": wrong, "lost": lost}))

    return enter


class Table:
    """Collects the rows from the tests' reports, wherever the tests ran, and writes them at the end."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], dict[str, Any]] = {}
        self.failed: list[str] = []

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows, by the test's file and by name, whichever worker was first."""
        return [row for _, row in sorted(self.found.items())]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        for row in (row for key, row in report.user_properties if key == "fault" and report.when == "call"):
            where = report.nodeid.partition("::")[0], row["fault"]
            known = self.found.setdefault(where, {"fault": row["fault"], "tries": 0, "wrong": 0, "lost": 0})
            for count in ("tries", "wrong", "lost"):
                known[count] += row[count]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Writes _build/faults.json; a row that is not clean makes the exit status 1."""
        from tests.bench.__main__ import facts

        if any(row["wrong"] or row["lost"] for row in self.rows):
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
        text = json.dumps({**facts(), "failed": self.failed, "rows": self.rows}, indent=1, ensure_ascii=False)
        target = ROOT / "_build" / "faults.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("faults")
        for cells in (TITLES, *((row["fault"], row["tries"], row["wrong"], row["lost"]) for row in self.rows)):
            terminalreporter.write_line(FORMAT.format(*cells))
