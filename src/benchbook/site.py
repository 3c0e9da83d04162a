"""The Sphinx extension: values and claims in prose, the state of every page, and where its numbers come from.

{value}`experiment:name`   a number with its unit; a click shows its provenance
{claim}`experiment:name`   a sentence with its numbers, and whether it held in this run
{reference}`experiment:name`   the same number in the reference results
{where} experiment:name    directive: prose for runs that recorded this value or claim; `experiment:name holds`, `fails`
                           or `open`: that decided the claim so
{claims}                   directive: a table of all claims
{chapters}                 directive of `chapters_page`: a card for each chapter
{runs}                     directive of `runs_page`: the runs of each experiment side by side
{bench}                    directive of `bench_page`: what the bench of the project has measured
{faults}                   directive of `faults_page`: what was broken on purpose, and what came of it
{costs}                    directive of `costs_page`: how long each chapter's run took
{reproduced}               directive of `reproduced_page`: what came out again as the reference results have it
{brief}, {shown}           directives of `answers_page`: a course brief answered; a chapter's output shown once more
"""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Iterator
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from benchbook.conditions import OUTCOMES, is_met
from benchbook.covers import opening
from benchbook.errors import nearest
from benchbook.fingerprint import hash_text
from benchbook.foot import chapter_foot, prose_foot
from benchbook.provenance import badge, chapter_link, experiment_on, provenance_lines, state_of, table
from benchbook.record import VERDICTS, claim_sentence, show

logger = logging.getLogger(__name__)

MARKS = {True: "✓", False: "✗", None: "≈"}
NOT_YET = "—"
SPEAKER = "benchbook-speaker"
USED = "benchbook-used"  # in a page's metadata, where a notebook's own have their place too


class value(nodes.inline):
    """A number in prose, or the verdict of a claim; `experiment` and `record` say where it comes from."""


class ValueRole(SphinxRole):
    """{value}`experiment:name`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        found = look_up(self, "values")
        if found is None:
            return [_placeholder(self.text)], []
        return [value_node(*found)], []


class ClaimRole(SphinxRole):
    """{claim}`experiment:name`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        found = look_up(self, "claims")
        if found is None:
            return [_placeholder(self.text)], []
        return claim_nodes(*found), []


def value_node(experiment: str, name: str, record: dict[str, Any]) -> nodes.Node:
    """A number with its unit."""
    return value("", show(record), experiment=experiment, name=name, kind="values", verdict="")


def claim_nodes(experiment: str, name: str, record: dict[str, Any]) -> list[nodes.Node]:
    """A claim's sentence with its verdict."""
    holds = record["holds"]
    sentence = nodes.inline("", "", classes=["benchbook-claim", f"benchbook-{OUTCOMES[holds]}"])
    # As text: what a notebook prints is data, never markup.
    sentence += nodes.Text(claim_sentence(record))
    said = value("", verdict(holds), experiment=experiment, name=name, kind="claims", verdict=OUTCOMES[holds])
    sentence += [nodes.Text(" "), said]
    return [sentence]


class ReferenceRole(SphinxRole):
    """{reference}`experiment:name`: the same value in the reference results; a dash where they do not have it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        experiment, _, name = self.text.rpartition(":")
        known = state_of(self.env)["experiments"]
        if experiment not in known:
            error(self, f"reference '{self.text}': there is no experiment '{experiment}'{nearest(experiment, known)}")
            return [], []
        use(self.env, experiment)
        reference = known[experiment]["reference"]
        record = reference.get("values", {}).get(name)
        if record is None:
            return [nodes.inline("", NOT_YET, reftitle="not among the reference results")], []
        where = f"{reference['profile']} profile, {reference['environment']['machine']}, {reference['date']}"
        return [nodes.inline("", show(record), reftitle=where, classes=["benchbook-number"])], []


class Where(SphinxDirective):
    """{where} experiment:name, or with an outcome of `conditions`: prose for runs that recorded this value or claim, or
    decided the claim so; `else` says what stands for others.
    """

    required_arguments = 1
    optional_arguments = 1
    option_spec: ClassVar = {"else": directives.unchanged_required}
    has_content = True

    def run(self) -> list[nodes.Node]:
        text, outcome = [*self.arguments, ""][:2]
        if outcome not in ("", *OUTCOMES.values()):
            error(
                self, f"where '{text} {outcome}': no claim comes out '{outcome}'{nearest(outcome, OUTCOMES.values())}"
            )
            return []
        found = entry_of(self, "where", text)
        if found is None:
            return []
        _, name, entry = found
        if entry["state"] == "ok" and is_met(entry["results"], name, outcome):
            return self.parse_content_to_nodes()
        return [nodes.paragraph("", "", *self.parse_inline(self.options["else"])[0])] if "else" in self.options else []


class Claims(SphinxDirective):
    """A table of every claim of the book, those that do not hold first."""

    def run(self) -> list[nodes.Node]:
        use(self.env, "*")
        rows = []
        for name, entry in state_of(self.env)["experiments"].items():
            for claim, record in entry["results"].get("claims", {}).items():
                link = chapter_link(self.env, name, entry["title"], f"claims-{name}-{claim}")
                rows.append((record["holds"] is not False, [verdict(record["holds"]), claim_sentence(record), link]))
        if not rows:
            return [nodes.paragraph("", "No run has decided a claim yet.")]
        return [table(["in this run", "claim", "chapter"], [row for _, row in sorted(rows, key=lambda r: r[0])])]


def verdict(holds: bool | None) -> str:
    """A claim's verdict as a reader sees it: '✓ holds'."""
    return f"{MARKS[holds]}\u00a0{VERDICTS[holds]}"


def look_up(role: SphinxRole, kind: str) -> tuple[str, str, dict[str, Any]] | None:
    """The record that a role names, or None where its run has not succeeded; a name that is nowhere is an error."""
    found = entry_of(role, kind[:-1], role.text)
    if found is None or found[2]["state"] != "ok":
        return None
    experiment, name, entry = found
    records = entry["results"][kind]
    if name not in records:
        error(role, f"experiment '{experiment}' records no {kind[:-1]} '{name}'{nearest(name, records)}")
        return None
    return experiment, name, records[name]


def entry_of(place: SphinxRole | SphinxDirective, kind: str, text: str) -> tuple[str, str, dict[str, Any]] | None:
    """The experiment and the name that `experiment:name` or `name` mean here, and what is known of the experiment."""
    experiment, colon, name = text.rpartition(":")
    if not colon:
        experiment = place.env.temp_data.get(SPEAKER) or experiment_on(place.env, place.env.docname) or ""
    known = state_of(place.env)["experiments"]
    if experiment not in known:
        error(place, f"{kind} '{text}': there is no experiment '{experiment}'{nearest(experiment, known)}")
        return None
    use(place.env, experiment)
    return experiment, name, known[experiment]


@contextlib.contextmanager
def speaking_for(env: BuildEnvironment, experiment: str) -> Iterator[None]:
    """Meanwhile roles that name no experiment mean this one, on whatever page they stand."""
    env.temp_data[SPEAKER] = experiment
    try:
        yield
    finally:
        del env.temp_data[SPEAKER]


def error(place: SphinxRole | SphinxDirective, text: str) -> None:
    logger.error(text, location=place.get_location())


def _placeholder(text: str) -> nodes.Node:
    """Stands where a number will: on the screen a button that says which run is missing."""
    return value("", NOT_YET, missing=text)


def use(env: BuildEnvironment, experiment: str) -> None:
    """Notes that the page being read depends on an experiment's results ('*': on all)."""
    used = env.metadata[env.docname].setdefault(USED, {})
    used[experiment] = digest(env, experiment)


def digest(env: BuildEnvironment, experiment: str) -> str:
    """The digest of what a page shows of an experiment ('*': of all)."""
    state = state_of(env)
    return hash_text(
        json.dumps(state if experiment == "*" else [state["profile"], state["experiments"].get(experiment)])
    )


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages to read again: those that use results which have changed."""
    return [
        page
        for page, metadata in env.metadata.items()
        if any(digest(env, name) != seen for name, seen in metadata.get(USED, {}).items())
    ]


def add_states(app: Sphinx, doctree: nodes.document) -> None:
    """Puts the state above a chapter and its provenance below; the start page says what has failed."""
    env, page = app.env, app.env.docname
    section = next(iter(doctree.findall(nodes.section)), None)
    if section is None:
        return
    if page == app.config.root_doc:
        use(env, "*")
        _mark_start_page(app, section)
    name = experiment_on(env, page)
    if name is None:
        section.append(prose_foot(env, env.metadata[page].get(USED, {})))
        return
    entry = state_of(env)["experiments"][name]
    use(env, name)
    opening(doctree, section, entry["cover"])
    section.insert(1, badge(state_of(env)["profile"], entry))
    section.append(chapter_foot(env, name))


def _mark_start_page(app: Sphinx, section: nodes.section) -> None:
    known = state_of(app.env)["experiments"]
    for name, entry in reversed(known.items()):
        if entry["state"] == "failed":
            text = nodes.paragraph("", "", chapter_link(app.env, name, entry["title"]))
            text += nodes.Text(f" failed, and its numbers are missing from this book: {entry['reason']}")
            section.insert(1, nodes.container("", text, classes=["benchbook-badge", "benchbook-state-failed"]))


def visit_value(self: Any, node: value) -> None:
    """A button that opens its provenance; a plain link in print."""
    text = html.escape(node.astext())
    if "missing" in node:
        _visit_missing(self, node["missing"])
    anchor = html.escape(f"{node['kind']}-{node['experiment']}-{node['name']}")
    classes = f"benchbook-value benchbook-{node['verdict'] or 'number'}"
    entry = state_of(self.builder.env)["experiments"][node["experiment"]]
    there = entry["page"] in self.builder.env.found_docs
    if self.builder.name == "singlehtml":
        tag, href = ("a", f' href="#{anchor}"') if there else ("span", "")
        self.body.append(f'<{tag} class="{classes}"{href}>{text}</{tag}>')
        raise nodes.SkipNode
    lines = provenance_lines(self.builder.env, node)
    if there:
        page = self.builder.get_relative_uri(self.builder.current_docname, entry["page"])
        cell = entry["results"][node["kind"]][node["name"]]["cell"]
        links = {f"cell-{cell}": f"cell {cell}", anchor: "in the chapter's list"}
        lines.append(("made in", ", ".join(f'<a href="{page}#{place}">{text}</a>' for place, text in links.items())))
    body = "".join(f'<span class="benchbook-line"><b>{key}</b> {line}</span>' for key, line in lines)
    _popover(self, classes, text, body)
    raise nodes.SkipNode


def _visit_missing(self: Any, name: str) -> None:
    said = f"no run has produced {html.escape(name)} yet"
    if self.builder.name == "singlehtml":
        self.body.append(f'<span class="benchbook-missing">{NOT_YET}</span>')
    else:
        _popover(self, "benchbook-missing", f'{NOT_YET}<span class="visually-hidden"> {said}</span>', said)
    raise nodes.SkipNode


def _popover(self: Any, classes: str, text: str, body: str) -> None:
    """A button that opens a box by the browser's own popover, with no script; a page has every box once."""
    known = self.__dict__.setdefault("benchbook_popovers", {})
    is_new = body not in known
    identity = known.setdefault(body, f"benchbook-{len(known) + 1}")
    self.body.append(f'<button class="{classes}" popovertarget="{identity}">{text}</button>')
    if is_new:
        self.body.append(f'<span class="benchbook-popover" popover id="{identity}">{body}</span>')


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all this with Sphinx."""

    def unreachable(self: Any, node: value) -> None:
        pass

    app.add_config_value("benchbook_state", "benchbook.json", "env")
    app.add_config_value("benchbook_front", {}, "")
    app.add_config_value("benchbook_pdf", False, "env")
    app.add_node(value, html=(visit_value, unreachable))
    app.add_role("value", ValueRole())
    app.add_role("claim", ClaimRole())
    app.add_role("reference", ReferenceRole())
    app.add_directive("where", Where)
    app.add_directive("claims", Claims)
    app.setup_extension("benchbook.theme")
    app.setup_extension("benchbook.downloads")
    app.setup_extension("benchbook.runs_page")
    app.setup_extension("benchbook.answers_page")
    app.setup_extension("benchbook.bench_page")
    app.setup_extension("benchbook.chapters_page")
    app.setup_extension("benchbook.costs_page")
    app.setup_extension("benchbook.drawings")
    app.setup_extension("benchbook.cells")
    app.setup_extension("benchbook.faults_page")
    app.setup_extension("benchbook.reproduced_page")
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", add_states)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
