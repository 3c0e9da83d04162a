"""`--estimate` says how long a build will take: within a factor of 2 where anything is known, else that nothing is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchbook import estimate, machine
from benchbook.estimate import Past, predict
from benchbook.project import Project
from benchbook.state import sealed


def within(factor: float, predicted: float | None, true: float) -> bool:
    return predicted is not None and true / factor <= predicted <= true * factor


def test_the_same_parameters_take_what_they_took():
    """The newest of such runs counts, whatever others there are; its seed is of no account."""
    pasts = [Past({"epochs": 4, "seed": 1}, 90), Past({"epochs": 4, "seed": 2}, 40), Past({"epochs": 5, "seed": 3}, 7)]
    assert predict({"epochs": 4, "seed": 3}, pasts) == (40, "its last run", False)


@pytest.mark.parametrize(
    ("wanted", "true"),
    [
        ({"epochs": 25, "num_train": 5000, "dataset": "horses"}, 627),
        ({"epochs": 4, "num_train": 500, "dataset": "scenes"}, 12),
        ({"epochs": 40, "num_train": 500, "dataset": "scenes"}, 102),
        ({"epochs": 2, "num_train": 20_000, "dataset": "scenes"}, 202),
    ],
)
def test_a_time_that_grows_is_followed_within_a_factor_of_two(wanted, true):
    """A run of 2 s and 5 ms for each picture and epoch, seen for a few small budgets, predicted for large ones."""
    tried = [(2, 500), (8, 500), (2, 2000), (3, 1000)]
    pasts = [Past({"epochs": e, "num_train": n, "dataset": "scenes"}, 2 + e * n * 0.005) for e, n in tried]
    seconds, basis, _ = predict(wanted, pasts)
    assert within(2, seconds, true), (seconds, basis)
    assert "time ∝" in basis


def test_what_was_kept_is_of_use_for_the_like_only():
    """A run of 10 s that found 190 s of work done: again 10 s, but 200 s from the start, and time grows as they do."""
    pasts = [Past({"epochs": 4}, 100), Past({"epochs": 8}, 10, kept=190)]
    seconds, basis, _ = predict({"epochs": 8}, pasts)
    assert seconds == 10
    assert basis == "its last run, most of whose work had been kept from before"
    assert predict({"epochs": 16}, pasts)[0] == pytest.approx(400)


def test_what_does_not_change_the_time_does_not_change_the_prediction():
    """Runs with other learning rates took as long, so a hundredth of the rate is no hundred times as long."""
    pasts = [Past({"learning_rate": rate}, seconds) for rate, seconds in ((0.1, 10.2), (0.03, 9.9), (0.01, 10.0))]
    assert within(1.1, predict({"learning_rate": 0.0001}, pasts)[0], 10)


def test_the_nearest_run_is_named_and_nothing_is_invented():
    """One other run: its time, in what it differed, and that it is a guess. None at all: no number."""
    assert predict({"epochs": 6}, [Past({"epochs": 4}, 30)]) == (30, "its last run with epochs 4", True)
    assert predict({"epochs": 6}, []) == (None, "no run of it is known", False)
    assert predict({"width": 8}, [Past({}, 30)]) == (30, "its last run with width unset", True)


def test_runs_of_one_size_show_no_growth():
    """Several runs with the same number, of other lengths by chance, say nothing of how time grows with it."""
    pasts = [Past({"rate": 0.003}, seconds) for seconds in (50, 52, 51)]
    assert estimate.growth("rate", pasts) is None
    assert predict({"rate": 0.005}, pasts) == (51, "its last run with rate 0.003", True)
    assert not predict({"rate": 0.005}, [*pasts, Past({"rate": 0.03}, 51)])[2]


def frozen(name: str, profile: str, seconds: float, epochs: int = 4, made_by: str = "far", **more) -> dict:
    """A reference result as it is read back, made where matrices are multiplied at 90 GFLOP a second."""
    environment = {"machine": made_by, "precision": "bfloat16", **more}
    content = {"experiment": name, "parameters": {"epochs": epochs}, "seconds": seconds, "date": "2026-11-21"}
    return content | {"values": {}, "matrix_rate": 9e10, "environment": environment, "reduced": profile == "quick"}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A function that predicts, on a machine of 30 GFLOP/s, a run with a reference result, by these runs made here.

    Of each the seconds, or with them those of what had been kept for it.
    """
    monkeypatch.setattr(machine, "matrix_rate", lambda: 3e10)
    monkeypatch.setattr(machine, "training_rate", lambda: 200.0)
    monkeypatch.setattr(estimate.gpus, "devices", list)

    def predicted(references: list[tuple[str, dict]], here: dict[str, Any], epochs: tuple[int, ...] = (400,)) -> Any:
        for profile, content in references:
            path = tmp_path / "reference" / profile / f"{content['experiment']}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        for name, times in here.items():
            seconds, kept = times if isinstance(times, tuple) else (times, 0.0)
            folder = tmp_path / "runs" / name / "0123"
            folder.mkdir(parents=True)
            status = {"state": "ok", "error": None, "files": {}, "ended": 1.0, "seconds": seconds, "kept_seconds": kept}
            ended = sealed(status | {"ingredients": {"parameters": {"epochs": 4}}})
            (folder / "status.json").write_text(json.dumps(ended, ensure_ascii=False))
        wanted = [
            SimpleNamespace(
                experiment=SimpleNamespace(name="long"), folder=tmp_path / f"runs/long/{n}", parameters={"epochs": n}
            )
            for n in epochs
        ]
        found = estimate.predictions(Project(tmp_path), "full", wanted)
        return found if len(found) > 1 else found[0]

    return predicted


LONG = ("full", frozen("long", "full", 2000, epochs=400))
SHORT = [("quick", frozen(name, "quick", 10)) for name in ("a", "b", "c", "d")]


def test_a_reference_is_scaled_by_what_both_machines_ran(elsewhere):
    """Runs of 10 s there took 19 and 20 s here, and one, which had to share the cores, 60 s."""
    found = elsewhere([LONG, *SHORT], {"a": 19, "b": 60, "c": 20, "d": 20})
    assert found.seconds == pytest.approx(4000)
    assert found.basis == "the reference of 2026-11-21, × 2.00 by 4 other runs that were made there and here"


@pytest.mark.parametrize(
    ("others", "here"),
    [
        ([], {}),
        (SHORT, {"a": 19, "b": 20}),
        (SHORT, {"a": 0, "b": 20, "c": 20}),
        ([("quick", frozen(n, "quick", 10, made_by="near")) for n in "abc"], {"a": 20, "b": 20, "c": 20}),
        ([("quick", frozen(n, "quick", 10, precision="float32")) for n in "abc"], {"a": 20, "b": 20, "c": 20}),
        ([("quick", frozen(n, "quick", 10, epochs=8)) for n in "abc"], {"a": 20, "b": 20, "c": 20}),
    ],
    ids=["none", "too few", "came from elsewhere", "another machine", "another precision", "other parameters"],
)
def test_else_by_the_machines_rates(elsewhere, others, here):
    """Made where matrices are multiplied three times as fast, a run takes three times as long here."""
    found = elsewhere([LONG, *others], here)
    assert found.seconds == pytest.approx(6000)
    assert found.basis == "the reference of 2026-11-21, × 3.00 by this machine's rate of matrix products"


@pytest.mark.parametrize(
    ("precision", "seconds", "what"),
    [("torch.bfloat16", 1000, "training steps"), ("float64", 6000, "matrix products")],
)
def test_trainings_go_by_the_rate_of_training_steps(elsewhere, precision, seconds, what):
    """Made where products are three times as fast, but steps half as fast as here."""
    reference = frozen("long", "full", 2000, epochs=400, precision=precision) | {"training_rate": 100.0}
    found = elsewhere([("full", reference)], {})
    assert found.seconds == pytest.approx(seconds)
    assert found.basis.endswith(f"by this machine's rate of {what}")


def test_what_was_kept_elsewhere_is_not_here(elsewhere):
    """The long run took 2,000 s after 1,000 s of an earlier one; of three short ones here two found something kept."""
    _, long = LONG
    found = elsewhere([("full", long | {"kept_seconds": 1000}), *SHORT], {"a": 20, "b": (5, 15), "c": (0.5, 19.5)})
    assert found.seconds == pytest.approx(6000)


@pytest.mark.parametrize("epochs", [(4, 400), (400, 4)])
def test_whether_a_reference_counts_is_decided_for_each_run(elsewhere, epochs):
    """Of the run with 4 epochs there is one from here, 30 s; the one with 400 has the reference, whichever is first."""
    found = {run.run.parameters["epochs"]: run for run in elsewhere([LONG], {"long": 30}, epochs)}
    assert (found[4].seconds, found[4].basis) == (30, "its last run")
    assert found[400].seconds == pytest.approx(6000)
    assert found[400].basis.startswith("the reference of 2026-11-21")


def test_a_graphics_card_says_nothing_of_a_processor(elsewhere):
    assert elsewhere([("full", frozen("long", "full", 20, device="cuda"))], {}).seconds is None


def test_the_rate_is_one_that_a_processor_can_have():
    """Between a tenth of and ten thousand GFLOP a second, on one thread."""
    assert 1e8 < machine.matrix_rate(0.1) < 1e13


def test_a_training_step_is_no_faster_than_its_products():
    """Its 3 times 2 · 64 · 30² · 32² · 9 operations, forward and backward, at a rate that a processor can have."""
    operations = 3 * 2 * 64 * 30**2 * 32**2 * 9
    assert 1e8 < machine.training_rate(0.2) * operations < 1e13


@pytest.mark.parametrize(("workers", "seconds"), [(1, 19), (2, 10), (3, 9)])
def test_runs_at_once_end_when_the_last_one_does(workers, seconds):
    """d needs b, which needs a: 2 + 3 + 4 s one after the other; c, e and f take 5, 1 and 4 s beside them."""
    a, b, c, d, e, f = map(Path, "abcdef")
    took = {a: 2.0, b: 3.0, c: 5.0, d: 4.0, e: 1.0, f: 4.0}
    needs = {a: [], b: [a, Path("there already")], c: [], d: [b], e: [], f: []}
    assert estimate.makespan(took, needs, workers) == seconds


@pytest.mark.slow
def test_an_estimate_runs_nothing_and_says_what_it_rests_on(book):
    """Nothing known; then a history; then other parameters; then only a reference result, on this very machine."""
    asked = book.run("build", "--estimate")
    assert asked.returncode == 0, asked.stderr
    assert [line for line in asked.stdout.splitlines() if "busy" not in line] == [
        " unknown  double number=4: no run of it is known",
        " unknown  alone: no run of it is known",
        f"2 of 2 runs to make, {min(2, machine.cores())} at once, and 2 of which nothing is known",
        "then the pages: unknown, for no build of theirs has ended here",
    ]
    assert not (book.root / "runs").exists()
    assert not (book.root / "_build").exists()

    assert book.run("build", "--no-pdf").returncode == 0
    assert book.run("build", "--estimate", "--no-pdf").stdout == "no run to make\n"
    book.write("src/toy/b.py", "def times(number):\n    return number + number\n")
    lines = [line for line in book.run("build", "--estimate", "--no-pdf").stdout.splitlines() if "busy" not in line]
    assert [line.split("  ")[-1] for line in lines[:1]] == ["double number=4: its last run"]
    assert lines[1].startswith("1 of 2 runs to make, 1 at once: about 0:0")
    assert lines[2].startswith("then the pages: about 0:")
    said = book.run("run", "double", "-p", "number=5", "--estimate").stdout
    assert "?  double number=5: its last run with number 4" in said
    assert "1 guessed (?)" in said
    assert book.run("build", "--estimate", "--jobs", "0").returncode == 2

    book.write("src/toy/b.py", "def times(number):\n    return 2 * number\n")
    assert book.run("freeze", "double").returncode == 0
    assert json.loads((book.root / "reference/quick/double.json").read_text())["matrix_rate"] > 1e8
    shutil.rmtree(book.root / "runs")
    said = book.run("build", "--estimate").stdout
    assert "double number=4: the reference of 20" in said
    assert "and 1 of which nothing is known" in said
