"""Where a page's numbers come from, as docutils nodes: state badges, provenance, tables, links to chapters."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from benchbook.record import CONFIDENCE, VERDICTS, show, show_number

LISTED = 12  # results of seeds


def state_of(env: BuildEnvironment) -> dict[str, Any]:
    """The state file that the engine wrote beside the source, read once a build."""
    path = Path(env.srcdir, env.config.benchbook_state)
    text = path.read_text(encoding="utf-8")
    held = getattr(env, "benchbook_text", None)
    if held is None or held[0] != text:
        env.benchbook_text = (text, json.loads(text))  # type: ignore[attr-defined]
    state: dict[str, Any] = env.benchbook_text[1]  # type: ignore[attr-defined]
    return state


def experiment_on(env: BuildEnvironment, page: str) -> str | None:
    """The experiment whose chapter a page is; None for prose."""
    return next((name for name, entry in state_of(env)["experiments"].items() if entry["page"] == page), None)


def badge(profile: dict[str, Any], entry: dict[str, Any]) -> nodes.Node:
    """One line on the state of a chapter: profile, state and reason, device, time, seeds, commit."""
    results = entry["results"]
    words = [f"{profile['title']} profile" + (" (a reduced run)" if profile["reduced"] else "")]
    words.append(f"{entry['state']}: {entry['reason']}" if entry["reason"] else entry["state"])
    if results:
        environment = results["environment"]
        words += [environment.get("device", ""), environment["machine"], took(results)]
        words += [*seeds(results["parameters"]), f"commit {environment['commit']}" if environment.get("commit") else ""]
    states = ["benchbook-badge", f"benchbook-state-{entry['state'].replace(' ', '-')}"]
    states += ["benchbook-reduced"] if profile["reduced"] else []
    return nodes.container("", nodes.paragraph("", " · ".join(filter(None, words))), classes=states)


def seeds(parameters: dict[str, Any]) -> list[str]:
    """The parameters that seed random numbers, as a reader sees them: 'seed 0', '3 seeds'."""
    found = {"seed": "seed {}", "seeds": "seeds {}", "num_seeds": "{} seeds"}
    return [text.format(plain(parameters[name])) for name, text in found.items() if name in parameters]


def machine(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where and with what a run took place, as pairs of key and text."""
    environment = results["environment"]
    facts = {key: environment.get(key) for key in ("device", "precision", "machine", "threads", "system", "commit")}
    versions = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    facts |= {
        "memory": f"{environment.get('memory_mb')} MB",
        "time": took(results),
        "versions": versions,
    }
    facts["fingerprint"] = results["fingerprint"]
    return [(key, str(text)) for key, text in facts.items() if text]


def every(record: dict[str, Any]) -> str:
    """Each seed's result; of more than `LISTED` the first, and how many there are: the JSON file has them all."""
    values = record["values"]
    more = f", … ({len(values)} in all)" if len(values) > LISTED else ""
    return ", ".join(map(show_number, values[:LISTED])) + more


def samples(record: dict[str, Any]) -> str:
    """Each seed's result, and what a record was made from."""
    parts = [every(record)] if "values" in record else []
    parts += [f"from {', '.join(record['made_from'])}"] if record.get("made_from") else []
    return "; ".join(parts)


def chapter_link(env: BuildEnvironment, name: str, title: str, target: str = "") -> nodes.Node:
    """A link to a chapter, or its title alone where the toc leaves it out."""
    page = state_of(env)["experiments"][name]["page"]
    if page not in env.found_docs:
        return nodes.inline("", title)
    return nodes.inline("", "", make_refnode(env.app.builder, env.docname, page, target, nodes.Text(title)))


def table(titles: Sequence[str | nodes.Node], rows: Iterable[list[Any]]) -> nodes.table:
    """A docutils table of texts and inline nodes."""

    def entry(cell: Any) -> nodes.entry:
        return nodes.entry("", nodes.paragraph("", "", cell if isinstance(cell, nodes.Node) else nodes.Text(cell)))

    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in titles), cols=len(titles))
    group += nodes.thead("", nodes.row("", *(entry(title) for title in titles)))
    group += nodes.tbody("", *(nodes.row("", *(entry(cell) for cell in row)) for row in rows))
    return nodes.table("", group, classes=["benchbook-table"])


def provenance_lines(env: BuildEnvironment, node: nodes.Element) -> list[tuple[str, str]]:
    """Where a number or a verdict comes from, as pairs of key and escaped text."""
    state = state_of(env)
    entry, profile, kind, name = state["experiments"][node["experiment"]], state["profile"], node["kind"], node["name"]
    record, environment = entry["results"][kind][name], entry["results"]["environment"]
    changed = ", ".join(f"{key} = {plain(given)}" for key, given in entry["changed_parameters"].items())
    others = ((other["label"], other[kind].get(name)) for other in entry["others"])
    lines = [
        ("experiment", entry["title"]),
        (kind[:-1], name),
        *_decided(record, kind),
        ("made from", ", ".join(record.get("made_from", ()))),
        *(("reference", referred(entry[which], entry["results"], kind, name)) for which in ("reference", "repeated")),
        *(("other run", f"{found if kind == 'claims' else show(found)} ({label})") for label, found in others if found),
        ("parameters", f"{changed}; all others as by default" if changed else "all as by default"),
        ("profile", profile["title"] + (" (a reduced run)" if profile["reduced"] else "")),
        ("device", environment.get("device", "")),
        ("machine", environment["machine"]),
        ("took", took(entry["results"])),
        ("commit", environment.get("commit", "")),
    ]
    return [(key, html.escape(text)) for key, text in lines if text]


def _decided(record: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """What a claim compares; of numbers over several seeds mean, spread, interval and each seed's result."""
    compared = kind == "claims" and record["relation"]
    if compared:
        yield "decided by", f"{show(record['left'])} {record['relation']} {show(record['right'])}"
    for numbers in (record["left"], record["right"]) if compared else (record,):
        if numbers.get("n", 1) > 1:
            yield "seeds", f"{show(numbers)} over {numbers['n']}{interval(numbers)}"
            yield "each seed", every(numbers)


def interval(record: dict[str, Any]) -> str:
    """The 95 % confidence interval of a mean over seeds."""
    if not record.get("std"):
        return ""
    from scipy.special import stdtrit  # here, because a start of Sphinx needs it only with several seeds

    half = stdtrit(record["n"] - 1, 0.5 + CONFIDENCE / 2) * record["std"] / record["n"] ** 0.5
    low, high = (show_number(record["mean"] + sign * half) for sign in (-1, 1))
    return f"; 95 % interval of the mean {low} … {high}"


def referred(reference: dict[str, Any], results: dict[str, Any], kind: str, name: str) -> str:
    """The reference result of a value or a claim: from which profile, machine and day, and whether a value is far."""
    known = reference.get(kind, {}).get(name)
    if known is None:
        return ""
    environment = reference["environment"]
    where = ", ".join(filter(None, (environment.get("device"), environment["machine"], reference["date"])))
    if kind == "claims":
        return f"{VERDICTS[known['holds']]} in the {reference['profile']} profile ({where})"
    same = reference["parameters"] == results["parameters"]
    far = "; further from this run than the seeds' spread" if same and differs(results[kind][name], known) else ""
    return f"{show(known)} in the {reference['profile']} profile ({where}){far}"


def differs(record: dict[str, Any], reference: dict[str, Any]) -> bool | None:
    """Whether two results of the same parameters are further apart than the spreads of their seeds together.

    None where a side has a single seed, and so no spread.
    """
    if not record.get("std") or not reference.get("std"):
        return None
    return bool(abs(record["mean"] - reference["mean"]) > record["std"] + reference["std"])


def took(results: dict[str, Any]) -> str:
    """How long a run took: '1.9 min; work of 19.8 h had been kept'."""
    return duration(results["seconds"]) + kept([results])


def kept(runs: Sequence[dict[str, Any]]) -> str:
    """What earlier runs spent on results that these used; '' where there were none."""
    seconds = sum(results.get("kept_seconds", 0.0) for results in runs)
    return f"; work of {duration(seconds)} had been kept" if seconds else ""


def duration(seconds: float) -> str:
    unit, size = ("s", 1) if seconds < 100 else ("min", 60) if seconds < 6000 else ("h", 3600)
    return f"{seconds / size:.1f}\u00a0{unit}"


def plain(given: Any) -> str:
    return ",".join(map(str, given)) if isinstance(given, list) else str(given)
