"""The book as a PDF: Sphinx's single page, mended for paper, its formulas through pandoc, set by Typst.

`mend` reads the page and makes it ready, `typeset` writes its structure as Typst, `book.typ` says what everything
looks like. Nothing is fetched, and the same page and settings give the same bytes.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from benchbook import atomic
from benchbook.errors import BookError
from benchbook.mend import HEADINGS, Node, font_folder, log, mend, plain, read
from benchbook.object_streams import packed
from benchbook.typeset import chapter, string

T = TypeVar("T")
STANDARDS: list[Any] = ["a-2a", "ua-1"]  # to be kept for long, and to be read aloud
DEFAULTS = {"language": "en-GB", "paper": "a4"}


def make_pdf(
    singlehtml: Path,
    destination: Path,
    settings: Mapping[str, Any],
    append: Callable[[Node], None] = lambda article: None,
) -> Path:
    """Write the Sphinx `singlehtml` build in `singlehtml` as a PDF book at `destination`, whole or not at all.

    `settings` may hold title, subtitle, author, course, date (ISO, or any text), language, paper and watermark;
    `append` may add to the page what only paper has. What is lost on the way (a link without a target, a formula that
    does not convert) is logged as a warning.

    Raises:
        BookError: there is no page, an image is missing, or Typst refuses; one line, with the chapter.
    """
    settings = DEFAULTS | {key: value for key, value in settings.items() if value not in (None, "")}
    article, macros = read(Path(singlehtml))
    append(article)
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = destination.with_name(f".{destination.name}.typst")
    shutil.rmtree(folder, ignore_errors=True)  # of a build that was killed
    folder.mkdir()
    try:
        mend(article, macros, Path(singlehtml), folder)
        pdf = packed(compiled(written(article, settings), folder, timestamp(settings.get("date"))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    atomic.write(destination, pdf)
    return destination


def written(article: Node, settings: Mapping[str, Any]) -> str:
    """The Typst document: the start page, then every document directly under it, in the order of the contents."""
    language, _, region = settings["language"].replace("_", "-").partition("-")
    front = {key: settings.get(key) for key in ("title", "subtitle", "author", "course", "paper", "watermark")}
    front |= {"title": front["title"] or plain(article.find(HEADINGS)) or "Untitled"}
    front |= {"language": language, "region": region, "date": printed(settings.get("date"))}
    arguments = ", ".join(f"{key}: {string(str(value))}" for key, value in front.items() if value)
    inside = {"data-document": True}
    parts = [part for part in article.find_all("section", attrs=inside) if part.find_parent(attrs=inside) is article]
    chapters = [part.extract() for part in parts]
    body = chapter(article, counted=False)
    uncounted = ".citation, .benchbook-small"
    body += "".join(chapter(part, counted=not part.select(uncounted)) for part in chapters)
    return f'#import "book.typ": *\n#show: book.with({arguments})\n{sound(body)}'


def sound(markup: str) -> str:
    """The markup without links to what was left out on the way, which Typst would refuse."""
    quoted = r'("(?:[^"\\]|\\.)*")'
    wanted = set(re.findall(rf"#link\(label\({quoted}\)\)", markup))
    for label in sorted(wanted - set(re.findall(rf"#(?:anchor|label)\({quoted}\)", markup))):
        log.warning("PDF: what the links to %s lead to is not printed", label)
        markup = markup.replace(f"#link(label({label}))", "#text")
    return markup


def printed(date: Any) -> str:
    """21 November 2026; what is no ISO date is printed as it stands."""
    try:
        day = datetime.date.fromisoformat(str(date))
    except ValueError:
        return str(date or "")
    return f"{day.day} {day:%B %Y}"


def timestamp(date: Any) -> int:
    """The file's own date, for the archive standard asks for one: the book's, SOURCE_DATE_EPOCH, or a constant."""
    try:
        return int(datetime.datetime.fromisoformat(str(date)).replace(tzinfo=datetime.UTC).timestamp())
    except ValueError:
        return int(os.environ.get("SOURCE_DATE_EPOCH", 315_532_800))


def compiled(source: str, folder: Path, seconds: int) -> bytes:
    """The PDF of a Typst document whose pictures lie in `folder`."""
    import typst

    main = folder / "main.typ"
    main.write_text(source, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("book.typ"), folder)
    options: dict[str, Any] = {"root": folder, "pdf_standards": STANDARDS, "timestamp": seconds}
    options |= {"ignore_system_fonts": True, "font_paths": [path for path in [font_folder()] if path]}
    try:
        return bytes(_aside(lambda: typst.compile(main, **options)))
    except typst.TypstError as error:
        place = re.search(r"main\.typ:(\d+)", error.diagnostic)
        before = source.splitlines()[: int(place[1]) if place else 0]
        titles = [f"“{line.removeprefix('// chapter: ')}”" for line in before if line.startswith("// chapter: ")]
        near = f" (near: {before[-1].strip()[:160]})" if before else ""
        raise BookError(f"PDF: Typst refuses {titles[-1] if titles else 'the book'}: {error.message}{near}") from error


def _aside(work: Callable[[], T]) -> T:
    """What the work returns or raises, done in a thread: Ctrl-C need not wait for what does not listen to it."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result()
