"""What a run depends on, and its SHA-256: code, parameters, modules reached by imports, packages, data, other runs.

Content only: no time stamp decides anything.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchbook.errors import BookError

PYTHON_MAGICS = {"time", "timeit", "capture", "prun"}  # of the %% kind, around a cell that is still Python
NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)  # a null byte, brackets without end
LENGTH = 16  # hexadecimal digits of a folder's name: 64 bits
DISTRIBUTIONS = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "mpl_toolkits": "matplotlib",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


class Snapshot:
    """Files' digests and where modules lie, each looked up once: a plan rests on one look at the disk."""

    def __init__(self) -> None:
        names = cache(_names)
        self.digest = cache(hash_file)
        self.module_path = cache(lambda name, *roots: module_path(name, *roots, names=names))


@dataclass(frozen=True)
class Closure:
    """The project's modules that some code reaches through imports, and the outside packages that they import."""

    modules: dict[str, Path]
    importers: dict[str, str]  # module → who imports it; the notebook itself is ''
    packages: frozenset[str]

    def path_to(self, module: str) -> list[str]:
        """The chain of imports from the notebook down to the module."""
        chain = [module]
        while self.importers.get(chain[0]):
            chain.insert(0, self.importers[chain[0]])
        return chain


def closure(code: Iterable[str], *roots: Path, snapshot: Snapshot | None = None) -> Closure:
    """Follows imports, breadth first, from notebook cells through the packages below the roots, the first one first."""
    snapshot = snapshot or Snapshot()
    modules: dict[str, Path] = {}
    importers: dict[str, str] = {}
    outside: set[str] = set()
    queue = deque((name, "") for cell in code for name in cell_imports(cell))
    while queue:
        name, importer = queue.popleft()
        path = snapshot.module_path(name, *roots)
        if path is None:
            # `from package import name` offers package.name, which is a module only sometimes
            if snapshot.module_path(name.split(".")[0], *roots) is None:
                outside.add(name.split(".")[0])
            continue
        if name in modules:
            continue
        modules[name], importers[name] = path, importer
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        queue.extend((found, name) for found in _file_imports(path, snapshot.digest(path), package))
    return Closure(modules, importers, frozenset(outside - set(sys.stdlib_module_names)))


def cell_imports(cell: str) -> list[str]:
    """What a notebook's cell may import; where it is no Python, which its run will tell, what its lines import."""
    for text in (cell, plain_python(cell)):
        with contextlib.suppress(*NO_PYTHON):
            return imports(text, "")
    found = []
    for line in re.findall(r"(?m)^\s*((?:from|import)\s.*)$", cell):
        with contextlib.suppress(*NO_PYTHON):
            found += imports(line, "")
    return found


def search_paths(cell: str) -> list[str]:
    """The folders that a cell adds to `sys.path`, where it names them as text: `sys.path.append("../lib")`."""
    if "sys.path" not in cell:
        return []
    for text in (cell, plain_python(cell)):
        with contextlib.suppress(*NO_PYTHON):
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.args]
            added = [c.args[-1] for c in calls if ast.unparse(c.func) in ("sys.path.append", "sys.path.insert")]
            return [str(Path(*texts)) for argument in added if (texts := _texts(argument))]
    return []


def _texts(expression: ast.expr) -> list[str]:
    """The texts in an expression, from left to right: of `os.path.join("..", "lib")` or `str(Path("..") / "lib")`."""
    found = [n for n in ast.walk(expression) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [str(node.value) for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))]


def imports(code: str, package: str) -> list[str]:
    """Every dotted name that the code may import, its parent packages before it; raises SyntaxError."""
    found: dict[str, None] = {}
    if "import" not in code:
        return []
    for node in _statements(ast.parse(code).body):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for target in targets:
            parts = target.split(".")
            found |= dict.fromkeys(".".join(parts[:i]) for i in range(1, len(parts) + 1))
    return list(found)


def _statements(block: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every statement of a block, the inner ones too; `ast.walk` would visit each expression as well."""
    for node in block:
        yield node
        for inner in ("body", "orelse", "handlers", "finalbody", "cases"):
            yield from _statements(getattr(node, inner, ()))


@cache
def _file_imports(path: Path, digest: str, package: str) -> list[str]:
    try:
        return imports(path.read_text(encoding="utf-8"), package)
    except SyntaxError as error:
        raise BookError(f"{path}, line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise BookError(f"{path} is no Python that can be read: {error}") from None


def plain_python(cell: str) -> str:
    """A cell without IPython's own lines (%magic, !command), which ast cannot read; '' for one in another language."""
    magic = re.match(r"\s*%%(\w+)[^\n]*", cell)
    if magic:
        cell = cell[magic.end() :] if magic[1] in PYTHON_MAGICS else ""
    return re.sub(r"(?m)^(\s*)(?:[\w, ]+=\s*)?[%!].*$", r"\1pass", cell)


def _names(folder: str) -> frozenset[str]:
    """What lies in a folder; nothing where it is none."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def module_path(name: str, *roots: Path, names: Callable[[str], frozenset[str]] = _names) -> Path | None:
    """The file of a module or package below the first of the roots that has it; None where none has."""
    return next(filter(None, (_module_below(root, name.split("."), names) for root in roots)), None)


def _module_below(root: Path, parts: list[str], names: Callable[[str], frozenset[str]]) -> Path | None:
    *packages, last = parts
    folder = str(root)
    for package in packages:
        if package not in names(folder):
            return None
        folder = f"{folder}{os.sep}{package}"
    if last in names(folder) and "__init__.py" in names(f"{folder}{os.sep}{last}"):
        return Path(folder, last, "__init__.py")
    return Path(folder, f"{last}.py") if f"{last}.py" in names(folder) else None


def static_ingredients(code: Iterable[str], *roots: Path, snapshot: Snapshot | None = None) -> dict[str, Any]:
    """What decides a result before any parameter is known: digests of code and modules, versions of packages."""
    code = list(code)
    snapshot = snapshot or Snapshot()
    reached = closure(code, *roots, snapshot=snapshot)
    return {
        "code": hash_code(code),
        "modules": {name: snapshot.digest(path) for name, path in sorted(reached.modules.items())},
        "packages": {"python": ".".join(map(str, sys.version_info[:2])), **_versions(reached.packages)},
    }


def fingerprint(parts: Mapping[str, Any]) -> str:
    return hash_text(json.dumps(parts, sort_keys=True, separators=(",", ":")))[:LENGTH]


def differences(now: Mapping[str, Any], then: Mapping[str, Any], reached: Closure, root: Path) -> list[str]:
    """Why a run of `then` is stale: one line for each thing that differs, a module with its path of imports."""
    lines = ["the notebook's code"] if now["code"] != then["code"] else []
    for kind in ("parameters", "modules", "packages", "data", "needs"):
        for name in sorted(now[kind].keys() | then[kind].keys()):
            old, new = then[kind].get(name), now[kind].get(name)
            if json.dumps(old) == json.dumps(new):  # 25 and 25.0 are two, as in the fingerprint
                continue
            if kind == "modules" and name in reached.modules:
                lines.append(
                    f"{reached.modules[name].relative_to(root)} ({' → '.join(['notebook', *reached.path_to(name)])})"
                )
            elif kind == "modules":
                lines.append(f"{name} (no longer imported)")
            elif kind in ("parameters", "packages"):
                texts = ["none" if given is None else str(given) for given in (old, new)]
                old_text, new_text = texts if texts[0] != texts[1] else map(repr, (old, new))  # 25 and '25'
                lines.append(f"{kind[:-1]} {name} {old_text} → {new_text}")
            else:
                lines.append(f"{kind} {name}")
    return lines


def hash_code(cells: Iterable[str]) -> str:
    """The digest of a notebook's code cells, which knows where one ends."""
    return hash_text("\0".join(cells))


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tree(path: Path) -> str:
    """The digest of a file, or of all files below a folder with their names."""
    if path.is_file():
        return hash_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return hash_text("\n".join(f"{file.relative_to(path).as_posix()} {hash_file(file)}" for file in files))


@cache
def version(package: str) -> str:
    """The installed version of a package, by the name it is imported or distributed under; 'none' without one."""
    known = _distributions().get(_normal(DISTRIBUTIONS.get(package, package)))
    if known:
        return known
    import importlib.metadata  # here, because it reads all there is, and takes long to load

    owners = importlib.metadata.packages_distributions().get(package, [])
    return importlib.metadata.version(owners[0]) if owners else "none"


@cache
def _distributions() -> dict[str, str]:
    """The version of every distribution by its name: the folder of its metadata is named by both."""
    folders = [name for path in reversed(sys.path) for name in _names(path) if name.endswith(".dist-info")]
    return {_normal(name): number for name, _, number in (f[: -len(".dist-info")].rpartition("-") for f in folders)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _versions(packages: Iterable[str]) -> dict[str, str]:
    return {name: version(name) for name in sorted(packages)}
