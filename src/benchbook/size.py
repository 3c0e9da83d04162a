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
READ = (".html", ".js", ".css")
# What Sphinx adds to the address of a style or script that an earlier build has left, and old forms of fonts.
REPLACED = {
    ".html": (re.compile(r'\?v=[0-9a-f]{8}"'), '"'),
    ".css": (re.compile(r",\s*url\([^)]*\.ttf\)\s*format\([\"']truetype[\"']\)"), ""),
}
# The theme's own: maps for who mends its scripts, old forms of fonts beside new ones, its words in languages of others.
UNUSED = ("_static/scripts/*.map", "_static/styles/*.map", "_static/vendor/**/*.ttf", "_static/locales")


def tidy(html: Path) -> None:
    """Removes pictures of earlier builds, and what the theme brings for nobody who reads."""
    texts = {path: path.read_text(encoding="utf-8") for path in html.rglob("*") if path.suffix in READ}
    for path, text in texts.items():
        pattern, word = REPLACED.get(path.suffix, (None, ""))
        if pattern and pattern.search(text):  # else the file stays as old as it is
            path.write_text(pattern.sub(word, text), encoding="utf-8")
    runs = html / "_static" / "runs"
    asking = [text for path, text in texts.items() if path.suffix == ".html" or path.parent == runs]
    wanted = {name for text in asking for name in NAMED.findall(text)}
    for path in (html / "_images").glob("*"):
        if NAMED.fullmatch(path.name) and path.name not in wanted:
            path.unlink()
    _leave_out_icons(html / "_static" / "scripts" / "fontawesome.js", texts)
    for names in UNUSED:
        for path in sorted(html.glob(names), reverse=True):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _leave_out_icons(script: Path, texts: Mapping[Path, str]) -> None:
    """Leaves in the theme's script of two thousand icons those whose names stand in a page, or in another script."""
    if script in texts:
        asking = [text for path, text in texts.items() if path.suffix in (".html", ".js") and path != script]
        wanted = {name for text in asking if "fa-" in text for name in ICON.findall(text)}
        left = ICONS.sub(lambda icon: icon[0] if _names(icon) & wanted else "", texts[script])
        script.write_text(left, encoding="utf-8")


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
