"""Where the links of a built book lead, read from its files alone: its pages, its scripts' data and its PDF."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pypdf

TEMPLATES = {"webpack-macros.html", "sbt-webpack-macros.html"}  # the theme's, with names in place of addresses
RESOURCES = {"script", "img", "iframe", "source", "audio", "video", "embed", "object", "track"}
LOADED = {"stylesheet", "preload", "prefetch", "icon", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}|localhost", re.IGNORECASE)


@dataclass
class Page(HTMLParser):
    """A page's anchors, the addresses that it links to, and those that it loads."""

    text: str
    anchors: set[str] = field(default_factory=lambda: {"", "top"})
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    style: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in pairs}
        self.style = tag == "style"
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        loads = tag in RESOURCES or (tag == "link" and LOADED & {*given.get("rel", "").split()})
        to = self.loads if loads else self.links
        to += [given[name] for name in ("href", "src", "xlink:href", "data", "poster") if name in given]
        to += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            to.append(given.get("content", "").rpartition("url=")[2])
        self.loads += IN_STYLES.findall(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.style:
            self.loads += IN_STYLES.findall(data)


def wrong_links(site: Path) -> list[str]:
    """What is wrong with the links of a built site, a line each."""
    site = site.resolve()
    pages = read_pages(site)
    lines = []
    for path, page in pages.items():
        name = path.relative_to(site)
        outside = [address for address in page.loads if is_external(address)]
        lines += [f"{name} loads {address[:120]} from the network" for address in outside]
        for address in dict.fromkeys([*page.links, *page.loads]):
            lines += [f"{name}: {what}" for what in wrong_address(address, path, pages)]
    for path in site.rglob("*.css"):
        found = IN_STYLES.findall(re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))
        for address in dict.fromkeys(found):
            if is_external(address):
                lines.append(f"{path.relative_to(site)} loads {address} from the network")
            else:
                lines += [f"{path.relative_to(site)}: {what}" for what in wrong_address(address, path, pages)]
    return lines


def read_pages(site: Path) -> dict[Path, Page]:
    """Every page of a site by its path."""
    paths = [path for path in sorted(site.rglob("*.html")) if path.name not in TEMPLATES]
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in paths}


def is_external(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ftp")


def wrong_address(address: str, base: Path, pages: dict[Path, Page]) -> list[str]:
    """Why an address on the page `base` leads nowhere, if it does."""
    if is_external(address):
        return wrong_external(address)
    parts = urlsplit(address)
    if parts.scheme in ("mailto", "data", "javascript") or not address:
        return []
    if parts.scheme:
        return [f"{address[:120]} has a scheme that no other machine knows"]
    target = (base.parent / unquote(parts.path)).resolve() if parts.path else base
    if not target.is_file():
        return [f"{address} leads to no file"]
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return [f"{address} leads to no anchor of that page"]
    return []


def wrong_external(address: str) -> list[str]:
    """Why an address in the network is not well formed, if it is not."""
    try:
        parts = urlsplit(f"https:{address}" if address.startswith("//") else address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return [f"{address[:120]} is no address: {error}"]
    if parts.scheme not in ("http", "https"):
        return [f"{address[:120]} says no scheme of the web"]
    if not (HOST.fullmatch(host) or re.fullmatch(r"127\.0\.0\.1", host)) or parts.username:
        return [f"{address[:120]} names no host"]
    return [f"{address[:120]!r} has signs that no address has"] * bool(re.search(r"[\s<>\"`{}\\^|]", address))


def external_links(site: Path) -> dict[str, int]:
    """The addresses in the network that pages link to, with the number of pages that do."""
    found: dict[str, int] = {}
    for page in read_pages(site).values():
        for address in {link for link in page.links if is_external(link)}:
            found[address] = found.get(address, 0) + 1
    return dict(sorted(found.items()))


def wrong_links_of_pdf(path: Path) -> list[str]:
    """What is wrong with the links of a PDF, a line each."""
    reader = pypdf.PdfReader(path)
    names = reader.named_destinations
    pages = {page.indirect_reference.idnum for page in reader.pages if page.indirect_reference}
    lines = []
    for number, page in enumerate(reader.pages, start=1):
        for note in page.get("/Annots") or []:
            lines += [f"{path.name}, page {number}: {what}" for what in _wrong_note(note.get_object(), names, pages)]
    return list(dict.fromkeys(lines))


def _wrong_note(note: pypdf.generic.DictionaryObject, names: dict, pages: set[int]) -> list[str]:
    """Why a link of a PDF leads nowhere, if it does: to a name, to a page with a place, or into the network."""
    if note.get("/Subtype") != "/Link":
        return []
    action = note.get("/A") or {}
    if "/URI" in action:
        address = str(action["/URI"])
        return [] if address.startswith("mailto:") else wrong_external(address)
    place = (action.get("/D") or note.get("/Dest")).get_object()
    if isinstance(place, pypdf.generic.ArrayObject):
        return [] if list.__getitem__(place, 0).idnum in pages else ["a link to a page that is not there"]
    return [] if str(place) in names else [f"a link to {place!r}, which no place is called"]
