"""What a build says of its runs where there is no terminal, and how long things take in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchbook import display


@pytest.mark.parametrize("often", [True, False])
def test_a_log_says_each_change_and_now_and_then_where_a_long_run_is(monkeypatch, capsys, often):
    """A running notebook's cell and time left, again only after a while; what waits or has ended is said once."""
    run = SimpleNamespace(fingerprint="0", label="unet epochs=25")
    rows = [
        ("waiting", run.label, "", "", ""),
        ("running", run.label, "cell 1 of 9", "0:00", ""),
        ("running", run.label, "cell 5 of 9, epoch 3 of 25", "10:00", "8:00"),
        ("ok", run.label, "", "18:00", ""),
        ("ok", run.label, "", "18:00", ""),
    ]
    told = iter(rows)
    monkeypatch.setattr(display, "row", lambda run, old: next(told))
    monkeypatch.setattr(display, "AGAIN", 0.0 if often else 1e9)
    seen: dict = {}
    for _ in rows:
        display._print_changes([run], {}, seen)
    between = ["running  unet epochs=25  10:00  cell 5 of 9, epoch 3 of 25, 8:00 left"] if often else []
    assert capsys.readouterr().out.splitlines() == [
        "running  unet epochs=25  0:00",
        *between,
        "ok       unet epochs=25  18:00",
    ]


def test_clocks():
    """Minutes and seconds, hours where there are some, nothing where nobody knows."""
    assert [display.clock(s) for s in (None, 4.6, 65, 3661)] == ["", "0:05", "1:05", "1:01:01"]
