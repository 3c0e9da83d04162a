"""The bench judges by the median of ratios of interleaved repetitions, and one error in it stops nothing else."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tests.bench import __main__ as frame
from tests.bench import measure
from tests.bench.measure import Pair, Row

GOOD = """
from tests.bench.measure import Pair

def pairs(quick):
    return [
        Pair("kept", lambda: 1.0, "a peer", lambda: 3.0, goal=2, limit=1.5),
        Pair("told only", lambda: 2.0, "a peer", lambda: 1.0),
        Pair("alone", lambda: 0.5, limit=1, slow=True),
    ]
"""
MISSED = """
from tests.bench.measure import Pair

def pairs(quick):
    return [Pair("too slow", lambda: 1.0, "a peer", lambda: 1.5, goal=2)]
"""
RAISING = """
from tests.bench.measure import Pair

def pairs(quick):
    return [Pair("raises", lambda: 1 / 0, limit=1), Pair("the next one", lambda: 1.0, limit=2)]
"""

GROWING = """
from tests.bench.measure import Growth

calls = []

def peer(size):
    calls.append(size)
    return 1.0 if len(calls) <= 3 else float(size ** 2)

def pairs(quick):
    return [Growth("runs", (1, 4, 16), lambda size: size ** 0.5, "a peer", peer)]
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A package of pairs whose works say themselves how long they take, and its JSON after a bench of it."""
    monkeypatch.setattr(measure, "seconds", lambda work: work())
    monkeypatch.syspath_prepend(tmp_path)
    package = f"pairs_of_{abs(hash(tmp_path))}"  # imported once, so a name for each test
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()

    def run(*words: str, **modules: str) -> tuple[int, dict]:
        for name, text in modules.items():
            (tmp_path / package / f"{name}.py").write_text(text)
        output = tmp_path / "new" / "bench.json"
        status = frame.main([*words, "--output", str(output)], package)
        return status, json.loads(output.read_text()) if output.is_file() else {}

    return run


def test_repetitions_interleave_and_warm_ups_do_not_count():
    """Prepared, ours, peer, in turns; what came first is not among the results."""
    done: list[str] = []
    pair = Pair("work", lambda: done.append("o"), "peer", lambda: done.append("p"), prepare=lambda: done.append(" "))
    row = measure.measure(pair, repeats=3, warm_ups=2)
    assert "".join(done) == " op op op op op"
    assert len(row.ours) == len(row.peer) == 3


def test_preparing_is_not_timed_and_work_is(monkeypatch):
    """On a clock that only the works move, each side takes what it takes."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def takes(seconds: float):
        return lambda: setattr(clock, "now", clock.now + seconds)

    row = measure.measure(Pair("work", takes(2), "peer", takes(6), prepare=takes(100)), repeats=2)
    assert (row.ours, row.peer) == ((2, 2), (6, 6))


def test_the_ratio_is_the_median_of_ratios():
    """Where the machine slows down half-way, both sides of a repetition do: 2, not the ratio of medians, 3 / 10."""
    row = Row("work", "peer", ours=(1, 10, 10), peer=(2, 20, 3))
    assert row.ratios == (2, 2, 0.3)
    assert row.ratio == 2


@pytest.mark.parametrize(
    ("ours", "peer", "goal", "limit", "met"),
    [
        ((1, 1, 1), (2, 2, 2), 2, None, True),
        ((1, 1, 1), (1.9, 1.9, 3), 2, None, False),
        ((0.2, 0.2, 9), (), None, 0.25, True),
        ((0.3, 0.3, 0.1), (), None, 0.25, False),
        ((0.3, 0.3, 0.3), (3, 3, 3), 2, 0.25, False),
        ((0.2, 0.2, 0.2), (0.1, 0.1, 0.1), 2, 0.25, False),
        ((1, 1, 1), (2, 2, 2), None, None, None),
        ((1, 1, 1), (), None, None, None),
    ],
)
def test_goals_and_limits_are_judged_by_medians(ours, peer, goal, limit, met):
    """Both must be kept where both are given; where nothing was promised, nothing is judged."""
    assert Row("work", "peer", ours, peer, goal, limit).met is met


def test_a_ratio_needs_a_peer():
    """A goal without a peer is refused, with the remedy."""
    with pytest.raises(ValueError, match="'alone' has a goal, which is a ratio, and no peer"):
        Pair("alone", lambda: None, goal=2)


def test_all_that_was_measured_is_written_down(bench, capsys):
    """Every repetition, the summary, and where it was measured; the table says the same."""
    status, report = bench(good=GOOD)
    assert status == 0
    assert [row["name"] for row in report["rows"]] == ["kept", "told only", "alone"]
    kept, told, alone = report["rows"]
    assert (kept["ours"], kept["peer"], kept["ratio"], kept["met"]) == ([1.0] * 5, [3.0] * 5, 3.0, True)
    assert (kept["module"], kept["peer_name"], kept["ratio_min"], kept["ratio_max"]) == ("good", "a peer", 3, 3)
    assert (told["ratio"], told["met"]) == (0.5, None)
    assert (alone["peer"], alone["ratio"], alone["met"]) == ([], None, True)
    facts = {"machine", "cores", "threads", "python", "packages", "commit", "load", "date"}
    assert report.keys() > facts
    assert report["packages"].keys() >= {"torch", "jupyter-book", "papermill", "snakemake"}
    line = next(line for line in capsys.readouterr().out.splitlines() if "kept" in line)
    assert line.split() == ["good", "kept", "a", "peer", "1", "3", "3.00", "(3.00…3.00)", "≥2", "≤1.5", "s", "met"]


def test_a_missed_goal_is_told_by_the_exit_status(bench, capsys):
    """The other modules' rows are there all the same."""
    status, report = bench(good=GOOD, missed=MISSED)
    assert status == 1
    assert [row["met"] for row in report["rows"]] == [True, None, True, False]
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def pairs(quick):\n    raise ValueError('no\\ndata')", "ValueError: no data"),
        ("", "AttributeError"),
        (RAISING, "raises: ZeroDivisionError"),
    ],
)
def test_an_error_is_told_and_stops_no_other_row(bench, capsys, broken, says):
    """A module that cannot be imported, that has no pairs, a pair that raises: a line each, and the status."""
    status, report = bench(broken=broken, good=GOOD)
    assert status == 1
    assert [error["module"] for error in report["errors"]] == ["broken"]
    assert says in report["errors"][0]["error"]
    assert says in capsys.readouterr().out
    names = [row["name"] for row in report["rows"] if row["module"] == "good"]
    assert names == ["kept", "told only", "alone"]
    assert [row["name"] for row in report["rows"] if row["module"] == "broken"] == ["the next one"] * (
        broken == RAISING
    )


def test_a_quick_bench_leaves_out_the_slow_rows_and_says_so(bench):
    """As many repetitions of what is not slow."""
    _, report = bench("--quick", good=GOOD)
    assert [(row["name"], len(row["ours"])) for row in report["rows"]] == [("kept", 5), ("told only", 5)]
    assert [row["name"] for row in report["left_out"]] == ["alone"]
    assert report["quick"] is True


def test_only_a_whole_bench_is_kept(bench, tmp_path, monkeypatch, capsys):
    """It is what the book's page shows; some of its rows beside older ones would be another machine's, or day's."""
    monkeypatch.setattr(frame, "ROOT", tmp_path)
    monkeypatch.setattr(frame, "facts", dict)
    assert bench("--keep", "good", good=GOOD)[0] == 2
    assert "name no module" in capsys.readouterr().err
    status, report = bench("--keep")
    assert (status, json.loads((tmp_path / "reference" / "bench.json").read_text())) == (0, report)
    assert report["command"] == "make bench KEEP=1"


def test_growth_is_the_slope_on_logarithmic_axes(bench, capsys):
    """Ours takes the square root of the size, the peer its square; the peer's warm-up would have said otherwise."""
    status, report = bench(growing=GROWING)
    assert status == 0
    (row,) = report["growth"]
    assert (row["sizes"], len(row["ours"]), len(row["peer"])) == ([1, 4, 16], 5, 5)
    assert row["slope"] == pytest.approx(0.5)
    assert (row["peer_slope"], row["peer_slope_min"], row["peer_slope_max"]) == pytest.approx((2, 2, 2))
    assert "runs: 1, 4, 16: slope 0.50 (0.50…0.50), of a peer 2.00 (2.00…2.00)" in capsys.readouterr().out


def test_only_what_is_named_is_measured(bench, capsys):
    """A module, or some of its rows; helpers are no modules; a name that is nowhere is told with those there are."""
    modules = {"good": GOOD, "missed": MISSED, "_helper": "1 / 0", "measure": "1 / 0"}
    status, report = bench("good:al", **modules)
    assert (status, [row["name"] for row in report["rows"]]) == (0, ["alone"])
    assert bench("missed")[0] == 1
    assert bench("god")[0] == 2
    assert "no god; known: good, missed" in capsys.readouterr().err


@pytest.mark.slow
def test_the_benches_of_this_project_can_be_listed():
    """Each module of the real package offers pairs, no two alike, without doing the work."""
    found = list(frame._pairs("tests.bench", frame._modules("tests.bench"), []))
    assert {module for module, _ in found} >= {"engine", "building", "training", "growth"}
    assert [said for _, said in found if isinstance(said, str)] == []
    assert len({(pair.name, pair.peer_name) for _, pair in found}) == len(found)
