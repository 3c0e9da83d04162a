"""Reads an experiment, which is a notebook: its title, its typed parameters, what it needs, its code."""

from __future__ import annotations

import ast
import io
import itertools
import json
import keyword
import math
import re
import tokenize
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchbook import toc
from benchbook.errors import BookError, nearest

SCALARS = {"bool": bool, "int": int, "float": float, "str": str}
TYPES = (*SCALARS, *(f"list[{name}]" for name in SCALARS))
LISTS = re.compile(r"\[[^\[\]]*\](\s*,\s*\[[^\[\]]*\])*")
BROKEN = re.compile("[\x00\ud800-\udfff]")  # what no file and no command can hold
MOST = 10_000  # runs of one experiment
LOOKS = ("cover", "headline")  # of a chapter's card: the name of a figure, and of a claim
RESOURCES = ("gpu", "memory_mb", "minutes")  # what one run asks of a cluster, in the notebook's metadata


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `epochs: int = 25  # passes over the training set`."""

    name: str
    type: str
    default: Any
    help: str

    def check(self, given: Any) -> Any:
        """The given value in this parameter's type; raises BookError for any other type, NaN and infinity."""
        if self.type.startswith("list["):
            if not isinstance(given, list | tuple):
                raise self._wrong(given)
            return [self._scalar(item, self.type[5:-1]) for item in given]
        return self._scalar(given, self.type)

    def parse(self, text: str) -> list[Any]:
        """The values that the text of a command line means: `32,64` is a sweep of two, of lists `[1,2],[3]`.

        A text parameter keeps its commas where the text stands in quotes of its own.
        """
        if self.type.startswith("list["):
            lists = [text]
            if text.startswith("["):
                if not LISTS.fullmatch(text):
                    raise self._wrong(text)
                lists = re.findall(r"\[([^\[\]]*)\]", text)
            return [
                [self._parse_scalar(part.strip(), self.type[5:-1]) for part in one.split(",") if part.strip()]
                for one in lists
            ]
        if self.type == "str" and len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            return [text[1:-1]]
        return [self._parse_scalar(part, self.type) for part in text.split(",")]

    def _parse_scalar(self, text: str, kind: str) -> Any:
        if kind == "str":
            return text
        if kind == "bool":
            truth = {"true": True, "false": False}.get(text.lower())
            if truth is None:
                raise self._wrong(text)
            return truth
        try:
            return self._scalar(SCALARS[kind](text), kind)
        except ValueError:
            raise self._wrong(text) from None

    def _scalar(self, given: Any, kind: str) -> Any:
        if kind == "float" and type(given) is int and abs(given) < 1e308:
            given = float(given)
        if type(given) is not SCALARS[kind]:
            raise self._wrong(given)
        if isinstance(given, str) and BROKEN.search(given):
            raise BookError(f"parameter '{self.name}' is {given!r}: leave out null bytes and half characters")
        if isinstance(given, float) and not math.isfinite(given):
            raise BookError(f"parameter '{self.name}' is {given}: give a finite number (default {self.default})")
        return given

    def _wrong(self, given: Any) -> BookError:
        return BookError(f"parameter '{self.name}' takes {self.type}, not {given!r} (default {self.default!r})")


@dataclass(frozen=True)
class Experiment:
    """A notebook of `experiments/`, read but not run; `code` is its code cells without the parameters cell."""

    name: str
    path: Path
    title: str
    parameters: dict[str, Parameter]
    code: tuple[str, ...]
    needs: tuple[str, ...] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    looks: Mapping[str, str] = field(default_factory=dict)
    language: str = "python"

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with their values: the given ones, checked, over the defaults."""
        for name in given:
            self.parameter(name)
        return {p.name: p.check(given[p.name]) if p.name in given else p.default for p in self.parameters.values()}

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; raises BookError, with the nearest name, where there is none."""
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise BookError(f"{name!r} is no parameter name: a name is letters, digits and underscores")
        if name not in self.parameters:
            raise BookError(f"experiment '{self.name}' has no parameter '{name}'{nearest(name, self.parameters)}")
        return self.parameters[name]


def grid(experiment: Experiment, values: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values; raises BookError for more of them than anybody means."""
    number = math.prod(map(len, values.values()))
    if number > MOST:
        raise BookError(f"the sweep of '{experiment.name}' spans {number:,} runs: {MOST:,} are the most")
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def seeds(experiment: Experiment, number: Any) -> list[int]:
    """The seeds of a repeated experiment: its own default and the numbers after it."""
    if type(number) is not int or not 1 <= number <= MOST:
        raise BookError(f"'seeds' of '{experiment.name}' is {number!r}: give how often to repeat it, 1 to {MOST:,}")
    if "seed" not in experiment.parameters or experiment.parameters["seed"].type != "int":
        raise BookError(f"experiment '{experiment.name}' has no parameter 'seed: int', which 'seeds' would count up")
    first = experiment.parameters["seed"].default
    return list(range(first, first + number))


def notebooks(root: Path) -> dict[str, Path]:
    """The experiments by name: the notebooks of `experiments/`, or, in a plain Jupyter Book, those of the toc.

    A name is the file's; where several folders have a notebook of that name, theirs come before it: 'chapter1-intro'.
    """
    if not toc.is_plain(root):
        return {path.stem: path for path in sorted((root / "experiments").glob("[!.]*.ipynb"))}
    paths = [path for page in toc.pages(root) if (path := root / f"{page}.ipynb").is_file()]
    times = Counter(path.stem for path in paths)
    found: dict[str, Path] = {}
    for path in paths:
        name = path.stem if times[path.stem] == 1 else toc.page_of(path, root).replace("/", "-")
        if name in found:
            raise BookError(f"two notebooks are named '{name}': {found[name]} and {path}: rename one")
        found[name] = path
    return found


def read(path: Path, name: str = "") -> Experiment:
    """Reads a notebook; raises BookError where it is no notebook or its parameters cell is not plain."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        _check_shape(notebook)
        cells = [(cell["cell_type"], source(cell), tags(cell)) for cell in notebook["cells"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BookError(f"{path} is not a notebook that can be read ({error}): save it again from Jupyter") from None
    parameter_cells = [text for kind, text, cell_tags in cells if kind == "code" and "parameters" in cell_tags]
    if len(parameter_cells) > 1:
        raise BookError(f"{path} has {len(parameter_cells)} cells tagged 'parameters': keep one")
    metadata = notebook.get("metadata", {})
    needs, resources, looks = _settings(metadata.get("benchbook", {}), path)
    return Experiment(
        name=name or path.stem,
        path=path,
        title=_title(text for kind, text, _ in cells if kind == "markdown") or path.stem,
        parameters=parse_parameters(parameter_cells[0], path) if parameter_cells else {},
        code=tuple(text for kind, text, cell_tags in cells if kind == "code" and "parameters" not in cell_tags),
        needs=needs,
        resources=resources,
        looks=looks,
        language=_language(metadata),
    )


def _check_shape(notebook: Any) -> None:
    """Raises TypeError where mappings, lists and texts are not where every notebook has them."""
    if not isinstance(notebook, dict) or not isinstance(notebook["cells"], list):
        raise TypeError("it has no list of cells")
    holders = [
        (notebook, ("kernelspec", "language_info")),
        *((cell, ("mystnb", "benchbook")) for cell in notebook["cells"]),
    ]
    for holder, names in holders:
        metadata = holder.get("metadata", {}) if isinstance(holder, dict) else None
        if not isinstance(metadata, dict) or not all(isinstance(metadata.get(name, {}), dict) for name in names):
            raise TypeError(f"metadata that are no mapping: {str(holder)[:60]!r}")
        inner = metadata.get("mystnb", {})
        if not all(isinstance(inner.get(name, {}), dict) for name in ("figure", "image")):
            raise TypeError(f"'mystnb' with a figure or an image that is no mapping: {str(inner)[:60]!r}")
        if not isinstance(found := metadata.get("tags", []), list) or not all(isinstance(tag, str) for tag in found):
            raise TypeError(f"tags that are no list of texts: {str(found)[:60]!r}")


def _language(metadata: Mapping[str, Any]) -> str:
    """The language of a notebook's kernel, in lower case; Python where it does not say."""
    said = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name")
    return str(said or "python").lower()


def _settings(settings: Any, path: Path) -> tuple[tuple[str, ...], dict[str, int], dict[str, str]]:
    """What the notebook's metadata say under `benchbook`: what it needs, the resources of a run, a card's looks."""
    where = f"{path}, metadata 'benchbook'"
    if not isinstance(settings, dict):
        raise BookError(f"{where}: a mapping is wanted here, not {type(settings).__name__}")
    for key in settings:
        if key not in ("needs", *RESOURCES, *LOOKS):
            raise BookError(f"{where}: unknown key {str(key)!r}{nearest(str(key), ('needs', *RESOURCES, *LOOKS))}")
    needs = settings.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(name, str) for name in needs):
        raise BookError(f"{where}: 'needs' is a list of experiments' names")
    resources = {key: settings[key] for key in RESOURCES if key in settings}
    for key, number in resources.items():
        if type(number) is not int or number < 0:
            raise BookError(f"{where}: '{key}' is {number!r}: give a whole number, 0 or more")
    looks = {key: settings[key] for key in LOOKS if key in settings}
    for key, name in looks.items():
        if not isinstance(name, str):
            raise BookError(f"{where}: '{key}' is {name!r}: give a name")
    return tuple(dict.fromkeys(needs)), resources, looks


def source(cell: Mapping[str, Any]) -> str:
    text = cell["source"]
    return text if isinstance(text, str) else "".join(text)


def tags(cell: Mapping[str, Any]) -> list[str]:
    found: list[str] = cell.get("metadata", {}).get("tags", [])
    return found


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The code cells of a notebook, executed or not, without the one that papermill adds for its parameters."""
    return [c for c in notebook["cells"] if c["cell_type"] == "code" and "injected-parameters" not in tags(c)]


def parse_parameters(cell: str, path: Path) -> dict[str, Parameter]:
    """The parameters of a cell of lines `name: type = literal  # meaning`; raises BookError for anything else."""
    try:
        lines = ast.parse(cell).body
    except SyntaxError as error:
        raise BookError(f"{path}: the parameters cell is not Python (line {error.lineno}: {error.msg})") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; brackets without end
        raise BookError(f"{path}: the parameters cell is not Python ({error})") from None
    comments = _comments(cell)
    found = {}
    for line in lines:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value):
            text = ast.unparse(line).splitlines()[0]
            raise BookError(f"{path}: '{text}' is no parameter: write name: type = value  # meaning")
        name, kind = line.target.id, ast.unparse(line.annotation)
        if kind not in TYPES:
            raise BookError(f"{path}: parameter '{name}' has type {kind}: use one of {', '.join(TYPES)}")
        try:
            default = ast.literal_eval(line.value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            raise BookError(f"{path}: parameter '{name}' is derived: give it a plain value") from None
        if name in found:
            raise BookError(f"{path}: parameter '{name}' stands twice in the parameters cell: keep one")
        parameter = Parameter(name, kind, default, comments.get(line.end_lineno or 0, ""))
        try:
            found[name] = replace(parameter, default=parameter.check(default))
        except BookError as error:
            raise BookError(f"{path}: {error}") from None
    return found


def _comments(cell: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(cell).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _title(markdown: Any) -> str:
    for text in markdown:
        for line in text.splitlines():
            if line.startswith("# "):
                return str(line[2:].strip())
    return ""
