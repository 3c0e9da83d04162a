"""Where a page's numbers come from, as docutils nodes: state badges, provenance, tables, links to chapters."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from benchbook.record import CONFIDENCE, VERDICTS, show, show_number

DOWNLOADS = "_static/downloads"
OFFERED = {
    ".ipynb.zip": "the notebook with its outputs (ZIP)",
    "-source.ipynb": "the notebook alone",
    ".json": "values, claims, curves",
}


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
    """One line on the state of a chapter: profile, state and reason, device, time."""
    results = entry["results"]
    words = [f"{profile['title']} profile" + (" (a reduced run)" if profile["reduced"] else "")]
    words.append(f"{entry['state']}: {entry['reason']}" if entry["reason"] else entry["state"])
    if results:
        environment = results["environment"]
        words += [environment.get("device", ""), environment["machine"], duration(results["seconds"])]
    states = ["benchbook-badge", f"benchbook-state-{entry['state'].replace(' ', '-')}"]
    states += ["benchbook-reduced"] if profile["reduced"] else []
    return nodes.container("", nodes.paragraph("", " · ".join(filter(None, words))), classes=states)


def provenance(name: str, entry: dict[str, Any]) -> nodes.Node:
    """How a chapter was made: command, parameters, values and claims with their cells, machine and versions."""
    changed, results = entry["changed_parameters"], entry["results"]
    box = nodes.container("", nodes.rubric("", "How this page was made"), classes=["benchbook-provenance"])
    command = f"benchbook run {name}" + "".join(
        f" -p {shlex.quote(f'{key}={plain(given)}')}" for key, given in changed.items()
    )
    box += nodes.paragraph("", "The command that runs this page again: ", nodes.literal("", command))
    box += downloads(name, entry) if results else []
    rows = [
        [key, f"{plain(changed.get(key, default))}", "" if key in changed else "default", meaning]
        for key, (_, default, meaning) in entry["parameters"].items()
    ]
    if rows:
        box += table(["parameter", "value", "", "meaning"], rows)
    if not results:
        return box
    rows = []
    for kind in ("values", "claims"):
        for key, record in results[kind].items():
            text = nodes.inline("", key, ids=[f"{kind}-{name}-{key}"])
            said = show(record) if kind == "values" else VERDICTS[record["holds"]]
            rows.append([text, said, samples(record), _cell_link(record["cell"])])
    if rows:
        box += table(["value or claim", "in this run", "each seed, or made from", "cell"], rows)
    box += nodes.paragraph("", " · ".join(f"{key} {text}" for key, text in machine(results)))
    return box


def downloads(name: str, entry: dict[str, Any]) -> nodes.Node:
    """Links to the notebook with and without its outputs, and to the run's numbers, for the screen."""
    folder = "../" * entry["page"].count("/") + f"{DOWNLOADS}/{name}"
    links = [nodes.reference("", text, refuri=folder + suffix) for suffix, text in OFFERED.items()]
    words = [node for link in links for node in (nodes.Text(", "), link)][1:]
    return nodes.paragraph("", "", nodes.Text("To take away: "), *words, classes=["benchbook-screen-only"])


def machine(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where and with what a run took place, as pairs of key and text."""
    environment = results["environment"]
    facts = {key: environment.get(key) for key in ("device", "precision", "machine", "threads", "system", "commit")}
    versions = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    facts |= {
        "memory": f"{environment.get('memory_mb')} MB",
        "time": duration(results["seconds"]),
        "versions": versions,
    }
    facts["fingerprint"] = results["fingerprint"]
    return [(key, str(text)) for key, text in facts.items() if text]


def samples(record: dict[str, Any]) -> str:
    """Each seed's result, and what a record was made from."""
    parts = [", ".join(show_number(x) for x in record["values"])] if "values" in record else []
    parts += [f"from {', '.join(record['made_from'])}"] if record.get("made_from") else []
    return "; ".join(parts)


def _cell_link(number: int) -> nodes.Node:
    return nodes.reference("", str(number), refid=f"cell-{number}", internal=True)


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
    """Where a number comes from, as pairs of key and escaped text."""
    entry = state_of(env)["experiments"][node["experiment"]]
    results = entry["results"]
    record = results[node["kind"]][node["name"]]
    lines = [("experiment", entry["title"]), (node["kind"][:-1], f"{node['name']} (cell {record['cell']})")]
    if node["kind"] == "claims" and record["relation"]:
        lines.append(("decided by", f"{show(record['left'])} {record['relation']} {show(record['right'])}"))
    if record.get("n", 1) > 1:
        lines.append(("seeds", f"{show(record)} over {record['n']}{interval(record)}"))
    lines.append(("each", samples(record)))
    if node["kind"] == "values":
        lines.append(("reference", referred(entry, node["name"], record)))
        others = ((other["label"], other["values"].get(node["name"])) for other in entry["others"])
        lines += [("other run", f"{show(found)} ({label})") for label, found in others if found]
    lines.append(("parameters", ", ".join(f"{k} = {plain(v)}" for k, v in entry["changed_parameters"].items())))
    environment = results["environment"]
    lines += [("device", environment.get("device", "")), ("machine", environment["machine"])]
    lines += [("took", duration(results["seconds"])), ("commit", environment.get("commit", ""))]
    return [(key, html.escape(text)) for key, text in lines if text]


def interval(record: dict[str, Any]) -> str:
    """The 95 % confidence interval of a mean over seeds."""
    if not record.get("std"):
        return ""
    from scipy.special import stdtrit  # here, because a start of Sphinx needs it only with several seeds

    half = stdtrit(record["n"] - 1, 0.5 + CONFIDENCE / 2) * record["std"] / record["n"] ** 0.5
    low, high = (show_number(record["mean"] + sign * half) for sign in (-1, 1))
    return f"; 95 % interval of the mean {low} … {high}"


def referred(entry: dict[str, Any], name: str, record: dict[str, Any]) -> str:
    """The reference result of a value: from which profile, machine and day, and whether this run is far from it."""
    reference = entry["reference"]
    known = reference.get("values", {}).get(name)
    if known is None:
        return ""
    environment = reference["environment"]
    where = ", ".join(filter(None, (environment.get("device"), environment["machine"], reference["date"])))
    same = reference["parameters"] == entry["results"]["parameters"]
    far = "; further from this run than the seeds' spread" if same and differs(record, known) else ""
    return f"{show(known)} in the {reference['profile']} profile ({where}){far}"


def differs(record: dict[str, Any], reference: dict[str, Any]) -> bool | None:
    """Whether two results of the same parameters are further apart than the spreads of their seeds together.

    None where a side has a single seed, and so no spread.
    """
    if not record.get("std") or not reference.get("std"):
        return None
    return bool(abs(record["mean"] - reference["mean"]) > record["std"] + reference["std"])


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def plain(given: Any) -> str:
    return ",".join(map(str, given)) if isinstance(given, list) else str(given)
