"""Parameters are typed, and what does not fit is refused in one line before anything runs."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from conftest import code, markdown, write_notebook
from hypothesis import given
from hypothesis import strategies as st

from benchbook import experiments
from benchbook.errors import BookError

CELL = """epochs: int = 25  # passes over the training set
learning_rate: float = 0.001
flip: bool = False
dataset: str = "scenes"  # which images
widths: list[int] = [2, 4]
"""


@pytest.fixture
def experiment(tmp_path: Path) -> experiments.Experiment:
    path = tmp_path / "train.ipynb"
    write_notebook(path, markdown("# Train a network\n\nWhy?"), code(CELL, tags=("parameters",)), code("x = 1"))
    return experiments.read(path)


def test_a_notebook_says_its_title_parameters_and_code(experiment):
    """Title, types, defaults and the comments that explain them come from the notebook itself."""
    assert experiment.title == "Train a network"
    assert experiment.code == ("x = 1",)
    assert experiment.parameters["epochs"] == experiments.Parameter("epochs", "int", 25, "passes over the training set")
    assert experiment.bind({})["widths"] == [2, 4]


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("epochs", "50", [50]),
        ("epochs", "32,64", [32, 64]),
        ("learning_rate", "1e-2", [0.01]),
        ("learning_rate", "1", [1.0]),
        ("flip", "false", [False]),
        ("flip", "True,false", [True, False]),
        ("dataset", "a'; import os", ["a'; import os"]),
        ("dataset", "scenes,horses", ["scenes", "horses"]),
        ("dataset", '"a,b"', ["a,b"]),
        ("widths", "8,16", [[8, 16]]),
        ("widths", "[8,16],[2]", [[8, 16], [2]]),
        ("widths", "", [[]]),
    ],
)
def test_text_becomes_the_parameters_type(experiment, name, text, meant):
    """A command line's text is read in the parameter's type, several values as a sweep: 'false' is false, no string."""
    parsed = experiment.parameter(name).parse(text)
    assert parsed == meant
    assert [type(one) for one in parsed] == [type(one) for one in meant]


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("ephocs", 3, "did you mean 'epochs'"),
        ("epochs", 2.5, "takes int"),
        ("epochs", True, "takes int"),
        ("epochs", "3", "takes int"),
        ("learning_rate", math.nan, "finite"),
        ("learning_rate", math.inf, "finite"),
        ("widths", [1, "2"], "takes list"),
        ("widths", 3, "takes list"),
        ("x y", 1, "no parameter name"),
        ("import", 1, "no parameter name"),
        ("epochs=1;import os;x", 1, "no parameter name"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(experiment, name, given, says):
    """Unknown names, wrong types, NaN and names that are no identifiers never reach a kernel."""
    with pytest.raises(BookError, match=says) as caught:
        experiment.bind({name: given})
    assert "\n" not in str(caught.value)


@given(
    name=st.text(max_size=20),
    given_value=st.one_of(st.text(), st.floats(), st.none(), st.integers(), st.lists(st.text())),
)
def test_any_name_and_value_is_bound_or_refused(name, given_value):
    """Whatever comes in: a value of the declared type, or a BookError; never another exception."""
    parameters = experiments.parse_parameters(CELL, Path("x"))
    experiment = experiments.Experiment("e", Path("x"), "", parameters, (), ())
    for key in (name, "epochs", "learning_rate", "flip", "dataset", "widths"):
        with contextlib.suppress(BookError):
            bound = experiment.bind({key: given_value})
            assert type(bound["epochs"]) is int
            assert math.isfinite(bound["learning_rate"])


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("epochs = 3", "write name: type = value"),
        ("epochs: int = 3 * 2", "is derived"),
        ("epochs: int = 'a'", "takes int"),
        ("model: torch.nn.Module = None", "use one of"),
        ("import os", "is no parameter"),
        ("epochs: int = 1\nepochs: int = 2", "stands twice"),
        ("epochs: int =", "not Python"),
    ],
)
def test_a_parameters_cell_holds_only_plain_parameters(cell, says):
    """Nothing derived, nothing untyped, nothing that runs; the notebook is named."""
    with pytest.raises(BookError, match=rf"n\.ipynb: .*{says}"):
        experiments.parse_parameters(cell, Path("n.ipynb"))


def test_a_hidden_file_is_no_experiment(book):
    """Such as macOS leaves beside every file of a foreign disk."""
    (book.root / "experiments" / "._double.ipynb").write_bytes(b"\x00\x05\x16\x07")
    assert sorted(experiments.notebooks(book.root)) == ["alone", "double"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}', "\x00"])
def test_a_file_that_is_no_notebook_is_named(tmp_path, text):
    """A truncated or foreign file gives one line with its path."""
    path = tmp_path / "broken.ipynb"
    path.write_text(text)
    with pytest.raises(BookError, match=r"broken\.ipynb is not a notebook"):
        experiments.read(path)
