"""The appendix of a printed book: every value and claim that its text cites, with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from bs4 import BeautifulSoup

from benchbook.mend import Node
from benchbook.provenance import interval, plain, samples, took
from benchbook.record import VERDICTS, claim_sentence, show

TITLE = "Values and claims"
WORDS = """Every number in the text that comes from a run, and every claim that a run has decided: with its spread over
the seeds and the 95 % interval of its mean, each seed's own result, and the cell that made it."""


def append_values(article: Node, experiments: Mapping[str, Any]) -> None:
    """Adds an entry for each value and each claim cited in the page, and lets what cites it lead there.

    `experiments` is what the state file says of them. A page that cites nothing gets no appendix.
    """
    links: dict[str, list[Node]] = {}
    for link in article.select("a.benchbook-value[href^='#']"):
        links.setdefault(link["href"][1:], []).append(link)
    parts = "".join(_of_experiment(name, entry, links) for name, entry in experiments.items() if entry["results"])
    if not parts:
        return
    text = f'<section data-document="benchbook-appendix"><h1>{TITLE}</h1><p>{WORDS}</p>'
    article.append(BeautifulSoup(f"{text}{parts}</section>", "html.parser").section)
    there = {entry["id"] for entry in article.select("[data-document=benchbook-appendix] p[id]")}
    for anchor, found in links.items():
        for link in found if f"cited-{anchor}" in there else ():
            link["href"] = f"#cited-{anchor}"


def _of_experiment(name: str, entry: Mapping[str, Any], links: Mapping[str, Any]) -> str:
    entries = "".join(
        f'<p id="cited-{anchor}"><a href="#{anchor}"><code>{escape(key)}</code></a> {"; ".join(map(escape, parts))}</p>'
        for kind in ("values", "claims")
        for key, record in entry["results"][kind].items()
        if (anchor := f"{kind}-{name}-{key}") in links
        for parts in [list(filter(None, _parts(kind, record)))]
    )
    made = "; ".join(escape(fact) for fact in _made(name, entry))
    if not entries:
        return ""
    body = f'<div class="benchbook-small"><p class="benchbook-made">{made}.</p>{entries}</div>'
    return f"<section><h2>{escape(entry['title'])}</h2>{body}</section>"


def _parts(kind: str, record: Mapping[str, Any]) -> Iterator[str]:
    """What is said of a record, in the order of its weight."""
    if kind == "claims":
        yield f"{VERDICTS[record['holds']]}: {claim_sentence(dict(record)).rstrip('.')}"
        if record["relation"]:
            yield f"decided by {show(record['left'])} {record['relation']} {show(record['right'])}"
    else:
        yield show(dict(record))
    if record.get("n", 1) > 1:
        yield f"{record['n']} seeds{interval(dict(record))}"
    yield samples(dict(record))
    yield f"cell {record['cell']}"


def _made(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """How the run was made that all numbers of an experiment come from."""
    results = entry["results"]
    environment = results["environment"]
    yield f"Experiment {name}"
    yield from filter(None, (environment.get("device"), environment["machine"], took(results)))
    seeds = {key: given for key, given in results["parameters"].items() if key in ("seed", "seeds")}
    changed = {**seeds, **entry["changed_parameters"]}
    if changed:
        yield ", ".join(f"{key} = {plain(given)}" for key, given in changed.items())
    yield f"commit {environment.get('commit') or 'unknown'}"
