"""Runs may be started by any of Snakemake's executors; one that cannot is named, with the remedy, before any starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchbook import executors


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--executor", "slrum"], "there is no executor 'slrum' here; did you mean 'slurm'?"),
        (["--executor", "kubernetes"], "-m pip install snakemake-executor-plugin-kubernetes"),
        (["--executor", "slurm"], "sbatch is not found"),
    ],
)
def test_an_executor_that_cannot_be_used_gets_one_line(book, words, says):
    """Status 2, nothing started, also where SLURM's plugin is there and SLURM is not."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    done = book.run("run", "alone", *words, PATH=os.defpath if not has_sbatch(os.defpath) else "")
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (book.root / "runs").exists()


def has_sbatch(path: str) -> bool:
    return any((Path(folder) / "sbatch").exists() for folder in path.split(":"))


def test_words_after_two_dashes_are_for_snakemake_only(book):
    """Where no Snakemake starts, they are a mistake."""
    done = book.run("status", "--", "--slurm-partition=gpu")
    assert done.returncode == 2
    assert "which only run and build start" in done.stderr


def test_without_accounting_the_queue_is_asked(tmp_path, monkeypatch):
    """SLURM's sacct fails where nothing is remembered, and squeue takes its place; what a user gives comes last."""
    sacct = tmp_path / "sacct"
    monkeypatch.setenv("PATH", str(tmp_path))
    for script, squeue in (("exit 1", True), ("exit 0", False)):
        sacct.write_text(f"#!/bin/sh\n{script}\n")
        sacct.chmod(0o755)
        assert ("squeue" in executors.options("slurm", None)) is squeue
    assert "--slurm-status-command" not in executors.options("kubernetes", 3)
    assert executors.options("kubernetes", 3)[:4] == ["--executor", "kubernetes", "--jobs", "3"]
