"""Every page of a built book in headless Chromium, from its files, without a network: `python -m tests.pages FOLDER`.

A page is opened once. It must load without an error, with its mathematics set and whole; axe-core must find nothing
serious, its contrast must hold in dark mode, too; its text must fit a screen 360 pixels wide; its sliders must obey the
keyboard.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.links import TEMPLATES, external_links, wrong_links, wrong_links_of_pdf

SERIOUS = {"serious", "critical"}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]

TYPESET = """async () => {
  const formulas = [...document.querySelectorAll('.math')].filter(box => box.textContent.trim());
  if (!formulas.length) return [];
  if (!window.MathJax?.startup) return ['mathematics without MathJax'];
  await MathJax.startup.promise;
  const bare = formulas.filter(box => !box.querySelector('mjx-container svg'));
  const wrong = [...document.querySelectorAll('[data-mjx-error], mjx-merror')];
  return [...bare.map(box => `formula not set: ${box.textContent.slice(0, 60)}`),
          ...wrong.map(box => `formula with an error: ${box.getAttribute('data-mjx-error') ?? box.textContent}`)];
}"""

# What is wider than the screen, but for what scrolls in a box of its own.
TOO_WIDE = """width => {
  const boxed = box => box && box !== document.documentElement
    && (['auto', 'scroll'].includes(getComputedStyle(box).overflowX) || boxed(box.parentElement));
  const sideways = document.scrollingElement.scrollWidth;
  const inside = [...document.querySelectorAll('main *')].filter(box => {
    const place = box.getBoundingClientRect();
    return place.width > 1 && place.height > 1 && place.right > width + 2 && place.left < width
      && box.checkVisibility({visibilityProperty: true}) && !boxed(box);
  });
  const innermost = inside.filter(box => !inside.some(other => other !== box && box.contains(other)));
  return [...(sideways > width ? [`scrolls sideways to ${sideways} pixels`] : []),
          ...innermost.map(box => `${box.outerHTML.slice(0, 100)} ends at ${box.getBoundingClientRect().right}`)];
}"""

# On a screen of usual width no formula may need scrolling: what is cut off looks like the whole.
CUT = """() => [...document.querySelectorAll('div.math mjx-container')]
  .filter(box => box.clientWidth && box.scrollWidth > box.clientWidth + 1)
  .map(box => `formula ${box.closest('.math').id} is ${box.scrollWidth} pixels wide and has ${box.clientWidth}`)"""

# Outlines of letters have nothing that axe-core asks about, and are most of a page.
EMPTY = "() => document.querySelectorAll('mjx-container > *').forEach(box => box.replaceChildren())"

# Texts below the same tags and classes have the same colours, but in the stripes of tables: one of each is enough.
SAMPLE = """() => {
  const name = box => `${box.localName}.${box.className}${box.localName === 'tr' ? box.rowIndex % 2 : ''}`;
  const path = box => box ? `${path(box.parentElement)}>${name(box)}` : '';
  const seen = new Set();
  for (const box of document.body.querySelectorAll('*')) {
    const text = [...box.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!text || !box.checkVisibility() || seen.has(path(box))) continue;
    seen.add(path(box));
    box.setAttribute('data-sample', '');
  }
}"""

VIOLATIONS = """([context, options]) =>
  axe.run(context, {resultTypes: ['violations'], preload: false, ...options}).then(found => found.violations.map(
    ({id, impact, nodes}) => ({id, impact, places: nodes.map(({html, any}) => [html, any[0]?.message ?? ''])})))"""
STRUCTURE = [{"include": [["html"]]}, {"rules": {"color-contrast": {"enabled": False}}}]
CONTRAST = [{"include": [["[data-sample]"]]}, {"runOnly": ["color-contrast"]}]


def chromium() -> str | None:
    """The program, where there is one."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A page of headless Chromium without a network, that keeps every console error and failed request."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-quic", *QUIET])
        page = running.new_context(offline=True, reduced_motion="reduce", viewport=WIDE).new_page()
        page.set_default_timeout(120_000)  # a busy machine is no fault of a page
        page.problems = []
        page.on("console", lambda said: said.type == "error" and page.problems.append(said.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("requestfailed", lambda request: page.problems.append(request.url))
        page.open = lambda path, query="": page.goto(f"file://{path}{query}")
        yield page
        running.close()


def wrong_page(page: Any, path: Path) -> list[str]:
    """What is wrong with a page, a line each."""
    page.problems.clear()
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)
    page.open(path)
    lines = page.evaluate(TYPESET) + page.evaluate(CUT)
    lines += wrong_sliders(page)
    lines += inaccessible(page)
    page.set_viewport_size(NARROW)
    lines += [f"on a narrow screen: {line}" for line in page.evaluate(TOO_WIDE, NARROW["width"])]
    return [*page.problems, *lines]


def inaccessible(page: Any) -> list[str]:
    """axe-core's serious and critical violations on the open page, of contrast in light and in dark."""
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate(EMPTY)
    page.evaluate(SAMPLE)
    page.evaluate(Axe().axe_script)
    lines = violations(page, STRUCTURE) + violations(page, CONTRAST)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    lines += [f"in dark mode: {line}" for line in violations(page, CONTRAST)]
    page.emulate_media(color_scheme="light")
    return lines


def violations(page: Any, what: list[dict[str, Any]]) -> list[str]:
    """axe-core's serious and critical violations, a line for each kind with its first places."""
    lines = []
    for found in page.evaluate(VIOLATIONS, what):
        if found["impact"] in SERIOUS:
            places = "; ".join(f"{html[:160]} {why[:200]}".strip() for html, why in found["places"][:3])
            lines.append(f"{found['id']} ({found['impact']}, {len(found['places'])} places): {places}")
    return lines


def wrong_sliders(page: Any) -> list[str]:
    """Sliders that an arrow key does not move, or whose place is not told in words."""
    lines = []
    for slider in page.locator("input[type=range]:visible").all():
        before = slider.input_value(), slider.get_attribute("aria-valuetext")
        slider.press("ArrowLeft" if before[0] == slider.get_attribute("max") else "ArrowRight")
        after = slider.input_value(), slider.get_attribute("aria-valuetext")
        if after[0] == before[0] or (before[1] and after[1] == before[1]):
            lines.append(f"a slider stays at {before} when an arrow key is pressed")
    return lines


def wrong_search(page: Any, site: Path, words: str) -> list[str]:
    """Why the search page does not find these words on any page of the book, if it does not."""
    page.problems.clear()
    page.open(site / "search.html", f"?q={words.replace(' ', '+')}")
    try:
        page.wait_for_selector("#search-results li a[href]", timeout=60_000)
    except Exception:  # whatever it waited in vain for
        return [*page.problems, f"search does not find '{words}'"]
    return [*page.problems]


def pages_of(site: Path) -> list[Path]:
    """The pages that a reader can open, in the order of their names, but those that only lead on."""
    paths = [path for path in sorted(site.rglob("*.html")) if path.name not in TEMPLATES]
    return [path for path in paths if 'http-equiv="Refresh"' not in path.read_text(encoding="utf-8")]


def check(page: Any, site: Path, words: str, say: Callable[[str], Any] = str) -> list[str]:
    """What is wrong with the pages of a built book, each told to `say` at once."""
    lines = []
    for path in pages_of(site.resolve()):
        for line in wrong_page(page, path):
            lines.append(f"{path.relative_to(site.resolve())}: {line}")
            say(lines[-1])
    return lines + wrong_search(page, site.resolve(), words)


def main() -> int:
    """Checks a built book; prints what is wrong, a line each, and where its links into the network lead."""
    parser = argparse.ArgumentParser(description="check every page of a built book, and its links")
    parser.add_argument("site", type=Path, help="the folder with the pages, such as _build/html")
    parser.add_argument("--pdf", type=Path, help="the same book as a PDF")
    parser.add_argument("--search", default="transposed convolution", help="words that the search must find")
    given = parser.parse_args()
    start = time.monotonic()
    lines = wrong_links(given.site) + (wrong_links_of_pdf(given.pdf) if given.pdf else [])
    print("".join(f"{line}\n" for line in lines), end="", flush=True)
    with browser() as page:
        lines += check(page, given.site, given.search, lambda line: print(line, flush=True))
    outside = external_links(given.site)
    print(f"{len(outside)} links into the network:", *(f"  {address} ({n} pages)" for address, n in outside.items()),
          sep="\n")  # fmt: skip
    print(f"{len(pages_of(given.site))} pages, {len(lines)} problems, {time.monotonic() - start:.0f} s")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
