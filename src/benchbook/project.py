"""A book's folder: its notebooks, sources and data sets, and where what is made of them lies."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from benchbook import experiments, fingerprint
from benchbook.errors import BookError, check_keys, nearest
from benchbook.experiments import Experiment

DATA_KEYS = {"files", "also", "prepare"}
FAULTS = "faults.json"  # what `make faults` leaves in _build/, and with KEEP=1 in reference/


@dataclass(frozen=True)
class Project:
    """A book's folder: notebooks, sources, profiles, and what was made of them."""

    root: Path

    @property
    def sources(self) -> Path:
        return self.root / "src"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def build(self) -> Path:
        return self.root / "_build"

    @cached_property
    def notebooks(self) -> dict[str, Path]:
        """The experiments' notebooks by name."""
        return experiments.notebooks(self.root)

    def experiment(self, name: str) -> Experiment:
        """The experiment of that name; raises BookError, with the nearest name, where there is none."""
        if name not in self.notebooks:
            raise BookError(f"there is no experiment {name!r}{nearest(name, self.notebooks)}")
        return read_experiment(self.notebooks[name], name)

    def source_roots(self, experiment: Experiment) -> tuple[Path, ...]:
        """Where the modules live that a fingerprint follows, in the order in which the notebook's kernel looks."""
        folder = self.working_folder(experiment)
        # What the notebook itself adds to sys.path counts where it lies in the book.
        added = ((folder / text).resolve() for cell in experiment.code for text in fingerprint.search_paths(cell))
        below = (path for path in added if path.is_relative_to(self.root) and path.is_dir())
        return tuple(dict.fromkeys([folder, self.sources, self.root, *below]))

    def working_folder(self, experiment: Experiment) -> Path:
        """Where a notebook runs: at the book's root, or, outside `experiments/`, in its own folder as in Jupyter."""
        parent = experiment.path.parent
        return self.root if parent == self.root / "experiments" else parent

    @property
    def data_root(self) -> Path:
        return self.root / os.environ.get("DATA_ROOT", "data")

    @cached_property
    def data_sets(self) -> dict[str, dict[str, Any]]:
        """[tool.benchbook.data] of pyproject.toml: the files behind each value of a parameter named `dataset`."""
        path = self.root / "pyproject.toml"
        if not path.is_file():
            return {}
        try:
            sets: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BookError(f"{path} is not TOML ({error})") from None
        for key in ("tool", "benchbook", "data"):
            sets = sets.get(key, {})
            if not isinstance(sets, dict):
                raise BookError(f"{path}: '{key}' of [tool.benchbook.data] is {sets!r}: a table is wanted here")
        for name, entry in sets.items():
            _check_data_set(entry, f"{path}, data set '{name}'")
        return dict(sets)

    def data_digests(self, data_set: str) -> dict[str, str]:
        """The digests of the files of a data set that are there: the first of `files`, and all of `also`."""
        entry = self.data_sets.get(data_set, {})
        first = [name for name in entry.get("files", ()) if (self.data_root / name).exists()][:1]
        also = [name for name in entry.get("also", ()) if (self.data_root / name).exists()]
        return {name: _digest(self.data_root / name) for name in [*first, *also]}


def find_root(start: Path) -> Path:
    """The nearest folder upwards that holds a book; raises BookError where there is none."""
    for folder in (start, *start.parents):
        if (folder / "_toc.yml").is_file() and ((folder / "profiles").is_dir() or (folder / "experiments").is_dir()):
            return folder
    raise BookError(
        f"{start} is not inside a book (no folder above it has _toc.yml and profiles/): change there, or make one by "
        "`benchbook init DIR`; `benchbook init --adopt DIR` takes an existing Jupyter Book"
    )


def _check_data_set(entry: Any, where: str) -> None:
    check_keys(entry, DATA_KEYS, where)
    for key, given in entry.items():
        if key == "prepare" and not isinstance(given, str):
            raise BookError(f"{where}: 'prepare' is {given!r}: give a module and its words, as after python -m")
        if key != "prepare" and not (isinstance(given, list) and all(isinstance(name, str) for name in given)):
            raise BookError(f"{where}: '{key}' is {given!r}: give a list of files' names")


read_experiment = cache(experiments.read)
_digest = cache(fingerprint.hash_tree)


def forget() -> None:
    """Has the next plan read notebooks and data again, which may have changed since the last one."""
    read_experiment.cache_clear()
    _digest.cache_clear()
