"""What the site and the PDF weigh: files that no page asks for are left out, and too much is said."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

LIMITS = {"site": 25, "start page": 1, "PDF": 15}  # MB
NAMED = re.compile(r"[0-9a-f]{64}\.\w+")  # a picture under the name of its content
ICON = re.compile(r"\bfa-([a-z0-9-]+)")
ICONS = re.compile(r'("[\w-]+"|\b\w+):\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\["[^\]]*\])\],?')
VERSION = re.compile(
    r'\?v=[0-9a-f]{8}"'
)  # in the address of a style or script, which Sphinx adds where an earlier build has left the file
OLD_FONT = re.compile(r",\s*url\([^)]*\.ttf\)\s*format\([\"']truetype[\"']\)")
ASKING = ("*.html", "_static/runs/*.js")  # where the names of pictures stand
# The theme's own: maps for who mends its scripts, old forms of fonts beside new ones, its words in languages of others.
UNUSED = ("_static/scripts/*.map", "_static/styles/*.map", "_static/vendor/**/*.ttf", "_static/locales")


def tidy(html: Path) -> None:
    """Removes pictures of earlier builds, and what the theme brings for nobody who reads."""
    for page in html.rglob("*.html"):
        _replace(VERSION, '"', page)
    texts = (path.read_text(encoding="utf-8") for pattern in ASKING for path in html.rglob(pattern))
    wanted = {name for text in texts for name in NAMED.findall(text)}
    for path in (html / "_images").glob("*"):
        if NAMED.fullmatch(path.name) and path.name not in wanted:
            path.unlink()
    _leave_out_icons(html)
    for style in html.glob("_static/**/*.css"):
        _replace(OLD_FONT, "", style)
    for pattern in UNUSED:
        for path in sorted(html.glob(pattern), reverse=True):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _replace(pattern: re.Pattern[str], word: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if pattern.search(text):  # else the file stays as old as it is
        path.write_text(pattern.sub(word, text), encoding="utf-8")


def _leave_out_icons(html: Path) -> None:
    """Leaves in the theme's script of two thousand icons those whose names stand in a page, a script or a style."""
    script = html / "_static" / "scripts" / "fontawesome.js"
    if script.is_file():
        asking = [path for path in html.rglob("*") if path.suffix in (".html", ".js") and path != script]
        wanted = {name for path in asking for name in ICON.findall(path.read_text(encoding="utf-8"))}
        text = script.read_text(encoding="utf-8")
        script.write_text(ICONS.sub(lambda icon: icon[0] if _names(icon) & wanted else "", text), encoding="utf-8")


def _names(icon: re.Match[str]) -> set[str]:
    return {icon[1].strip('"'), *re.findall(r'"([\w-]+)"', icon[2])}


def sizes(html: Path, start: str, pdf: Path | None) -> dict[str, float]:
    """What the site, its start page with the pictures on it, and the PDF weigh, in MB."""
    page = html / f"{start}.html"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    shown = {page.parent / unquote(picture) for picture in re.findall(r'<img [^>]*?src="([^":]+)"', text)}
    found = {"site": [*html.rglob("*")], "start page": [page, *shown], **({"PDF": [pdf]} if pdf else {})}
    return {name: sum(path.stat().st_size for path in paths if path.is_file()) / 1e6 for name, paths in found.items()}


def warnings(found: Mapping[str, float]) -> list[str]:
    """A line for each that is larger than is good for who keeps it or sends it on."""
    return [
        f"the {name} has {size:.1f} MB, more than {LIMITS[name]}: draw fewer or smaller pictures"
        for name, size in found.items()
        if size > LIMITS[name]
    ]
