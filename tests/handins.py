"""What five courses want handed in, held against what `benchbook submission` writes: `python -m tests.handins`.

The lists below are read off the briefs, not off book/briefs.yml.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pypdf

from tests.links import Page, wrong_links, wrong_links_of_pdf

AUTHOR, NAME, IDENTITY = "Çağla Öz, Ada Byron", "cagla-oz-ada-byron", "CS21B1234"
LARGEST = 25 * 2**20  # bytes: what a letter may carry
# For each brief its files, a ZIP with its members; then the questions in the order in which they are asked.
FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "iith": {f"{IDENTITY}_Assign2.zip": (f"{IDENTITY}_Assign2.pdf", "README.txt", "code/", "notebooks/")},
    "cmp717": {f"{NAME}-pa3.zip": ("README.txt", "code/", "html/")},
    "csc413": {"a2-writeup.pdf": (), "a2-cnn.ipynb": ()},
    "csc321": {"cnn-writeup.pdf": ()},
    "bonn": {f"sheet06-{NAME}.zip": ("sheet06.pdf", "code/", "notebooks/")},
}
QUESTIONS = {
    "iith": "T1a T1b T2 T3 T4 1a 1b 1c 1d 1e 2a-i 2a-ii 2a-iii 2a-iv 2b-i 2b-ii 2c-i 2c-ii P1 P2 P3 P4",
    "cmp717": "1.1 1.2 1.3 1.4 1.5 2.1 2.2 3.1 3.2 3.3 4.1 4.2 5.1 5.2 5.3 6.1 6.2 6.3",
    "csc413": "A1 A2 A3 B1 B2 B3 B4 B5 C1 C2 C3 D1.1 D1.2 D1.3 D2.1 D2.2",
    "csc321": "1.1 1.2 1.3 1.4 2.1 2.2 3.1 3.2 3.3 4.1 4.2 5.1 5.2 6.1 6.2 7.1 7.2",
    "bonn": "Ta1 Ta2 Ta3 Tb1 Tb2 Tb3 Pa1 Pa2 Pa3 Pb1 Pb2 Pb3 Pb4 Pb5 Pc1 Pc2 Pc3",
}


def wrong_handin(brief: str, folder: Path) -> list[str]:
    """What is wrong with a hand-in, a line each."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    sums = files.pop("SHA256SUMS", b"").decode()
    wanted = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    lines = ["SHA256SUMS does not hold these files' sums"] * (sums != wanted)
    if set(files) != set(FILES[brief]):
        return [*lines, f"has {sorted(files)}, not {sorted(FILES[brief])}"]
    lines += [f"{name} has {len(data)} bytes" for name, data in files.items() if not 0 < len(data) <= LARGEST]
    for name, data in files.items():
        members = unpacked(data) if name.endswith(".zip") else {name: data}
        if name.endswith(".zip") and {re.sub(r"/.*", "/", path) for path in members} != set(FILES[brief][name]):
            lines.append(f"{name} holds {sorted(members)[:20]}, not {FILES[brief][name]}")
        lines += wrong_members(brief, members)
    return lines


def unpacked(data: bytes) -> dict[str, bytes]:
    """The members of a ZIP by their names, each read and checked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def wrong_members(brief: str, members: Mapping[str, bytes]) -> Iterator[str]:
    """What is wrong with the files that a hand-in is made of."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for member, data in members.items():
            (folder / member).parent.mkdir(parents=True, exist_ok=True)
            (folder / member).write_bytes(data)
        for path in sorted(folder.rglob("*")):
            member = str(path.relative_to(folder))
            if path.suffix == ".pdf":
                yield from (f"{member}: {line}" for line in wrong_writeup(brief, path))
            elif path.suffix == ".ipynb" and not {"code", "html"} & {*path.relative_to(folder).parts}:
                yield from (f"{member}: {line}" for line in wrong_notebook(path))
            elif path.suffix == ".py":
                ast.parse(path.read_text(encoding="utf-8"))
            elif path.name == "README.txt" and AUTHOR not in path.read_text(encoding="utf-8"):
                yield f"{member} does not name its author"
        if (folder / "code").is_dir():
            yield from wrong_code(folder / "code")
        if (folder / "html").is_dir():
            yield from wrong_report(brief, folder / "html")


def wrong_writeup(brief: str, path: Path) -> Iterator[str]:
    """The answers, all of them, in their order, and nothing else; whose they are; no link that leads nowhere."""
    reader = pypdf.PdfReader(path)
    outline = [entry for entry in reader.outline if isinstance(entry, list)]
    headings = [str(entry.title) for entry in (outline[0] if outline else []) if not isinstance(entry, list)]
    asked = re.split(r"[ ,]+", " ".join(headings).strip())
    if asked != QUESTIONS[brief].split():
        yield f"answers {' '.join(asked)}"
    text = " ".join(page.extract_text() for page in reader.pages)
    yield from (f"does not say {word!r}" for word in (AUTHOR, IDENTITY) if word not in text)
    yield from (f"has {word!r}" for word in ("not answered yet", "no run has", "failed, and its") if word in text)
    yield from wrong_links_of_pdf(path)


def wrong_notebook(path: Path) -> Iterator[str]:
    """A notebook that Jupyter reads, with its outputs, no error among them, and prose without this book's roles."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    if not outputs:
        yield "shows no output"
    yield from (f"an error: {output.evalue}" for output in outputs if output.output_type == "error")
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    roles = sorted(set(re.findall(r"\{(?:value|claim|eq|numref|cite)[^`]*`|```\{where\}", prose)))
    yield from (f"{role} stands in its prose" for role in roles)


def wrong_code(folder: Path) -> Iterator[str]:
    """All that `make book` needs; notebooks without outputs, nothing that is made."""
    wanted = ("_config.yml", "_toc.yml", "src", "experiments", "profiles", "book")
    yield from (f"code/ has no {name}" for name in wanted if not (folder / name).exists())
    for path in folder.rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        if any(cell.get("outputs") for cell in cells):
            yield f"code/{path.relative_to(folder)} has outputs"
    yield from (f"code/ holds {path.name}" for path in folder.rglob("__pycache__"))


def wrong_report(brief: str, folder: Path) -> Iterator[str]:
    """A report that opens alone, begins at index.html, and answers every question in its order."""
    yield from wrong_links(folder)
    (forward,) = Page((folder / "index.html").read_text(encoding="utf-8")).links
    page = (folder / forward).read_text(encoding="utf-8")
    headings = [title for title in re.findall(r"<h2>(.*?)<", page) if title.strip() != "Contents"]
    asked = re.split(r"[ ,]+", " ".join(headings))
    if asked != QUESTIONS[brief].split():
        yield f"html/{forward} answers {' '.join(asked)}"
    yield from (f"html/{forward} does not say {word!r}" for word in (AUTHOR,) if word not in page)


def main() -> int:
    """Makes all five from the runs of this book, as drafts; prints what is wrong with them, a line each."""
    wrong = 0
    for brief in FILES:
        words = ["submission", brief, "--author", AUTHOR, "--id", IDENTITY, "--quick"]
        done = subprocess.run([sys.executable, "-m", "benchbook.cli", *words], check=False)
        lines = (
            [f"exit status {done.returncode}"] if done.returncode else wrong_handin(brief, Path("_build/submission"))
        )
        print("".join(f"{brief}: {line}\n" for line in lines), end="", flush=True)
        wrong += len(lines)
    print(f"{len(FILES)} hand-ins, {wrong} problems")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
