"""What stands below every page: how it was made and can be made again, and what there is to take away."""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from sphinx.environment import BuildEnvironment

from benchbook.plan import DEFAULT_PROFILE
from benchbook.provenance import duration, kept, machine, plain, samples, state_of, table
from benchbook.record import VERDICTS, show
from benchbook.rendering import DOWNLOADS

BOOK = "book.pdf"  # beside the folder of the site
OFFERED = {
    ".ipynb.zip": "the notebook with its outputs (ZIP)",
    "-source.ipynb": "the notebook alone",
    ".json": "values, claims, curves",
}
TITLE = "How this page was made"
GITHUB = "https://github.com/"


def chapter_foot(env: BuildEnvironment, name: str) -> nodes.Node:
    """How a chapter was made: command, parameters, values and claims with their cells, machine and versions."""
    state = state_of(env)
    entry, profile = state["experiments"][name], state["profile"]["name"]
    changed, results = entry["changed_parameters"], entry["results"]
    command = f"benchbook run {name}" + "".join(
        f" -p {shlex.quote(f'{key}={plain(given)}')}" for key, given in changed.items()
    )
    if profile != DEFAULT_PROFILE:  # it decides which runs are needed
        command += f" --profile {shlex.quote(profile)}"
    box = _box(command)
    offered = {f"{name}{suffix}": text for suffix, text in OFFERED.items()} if results else {}
    box += _links(env, entry["page"], offered)
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
            cell = nodes.reference("", str(record["cell"]), refid=f"cell-{record['cell']}", internal=True)
            rows.append([text, said, samples(record), cell])
    if rows:
        box += table(["value or claim", "in this run", "each seed, or made from", "cell"], rows)
    box += nodes.paragraph("", " · ".join(f"{key} {text}" for key, text in machine(results)))
    return box


def prose_foot(env: BuildEnvironment, used: Container[str]) -> nodes.Node:
    """How a page of prose was made, from the runs of these experiments ('*': of all); for the screen alone."""
    state = state_of(env)
    profile, known = state["profile"], state["experiments"]
    names = [name for name in known if name in used or "*" in used]
    box = _box(f"benchbook build --profile {profile['name']}")
    box["classes"].append("benchbook-screen-only")
    box += _links(env, env.docname, {})
    words = [f"{profile['title']} profile" + (" (a reduced run)" if profile["reduced"] else "")]
    if names:
        words += [standing([known[name] for name in names])]
        words += facts([known[name]["results"] for name in names if known[name]["results"]])
    else:
        words += ["no number on this page comes from a run"]
    box += nodes.paragraph("", " · ".join(words))
    return box


def standing(entries: list[dict[str, Any]]) -> str:
    """How the runs behind a page stand: '18 runs: 17 ok, 1 failed'."""
    states = [entry["state"] for entry in entries]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"numbers of {len(states)} run{'s' * (len(states) > 1)}: {counts}"


def facts(results: list[dict[str, Any]]) -> list[str]:
    """What these runs have in common or between them: devices, machines, time, commits, versions."""
    if not results:
        return []
    environments = [result["environment"] for result in results]
    found = [_all(environment.get(key, "") for environment in environments) for key in ("device", "machine")]
    found += [f"{duration(sum(result['seconds'] for result in results))} of running{kept(results)}"]
    found += [f"commit {_all(environment.get('commit', '') for environment in environments)}"]
    packages = (
        f"{name} {version}" for environment in environments for name, version in environment["packages"].items()
    )
    return [text for text in [*found, _all(packages)] if text and text != "commit "]


def _all(texts: Iterable[str]) -> str:
    return ", ".join(filter(None, dict.fromkeys(texts)))


def _box(command: str) -> nodes.container:
    box = nodes.container("", nodes.rubric("", TITLE), classes=["benchbook-provenance"])
    box += nodes.paragraph("", "The command that makes this page again: ", nodes.literal("", command))
    return box


def _links(env: BuildEnvironment, page: str, offered: dict[str, str]) -> nodes.Node:
    """Links for the screen: files of the site, the book as a PDF where one is made, the source in its repository."""
    up = "../" * page.count("/")
    links = [nodes.reference("", text, refuri=f"{up}{DOWNLOADS}/{quote(file)}") for file, text in offered.items()]
    if env.config.benchbook_pdf:
        links.append(nodes.reference("", "the book as a PDF", refuri=f"{up}../{BOOK}"))
    links += [nodes.reference("", text, refuri=address) for text, address in repository(env, page).items()]
    words = [node for link in links for node in (nodes.Text(", "), link)][1:]
    words = [nodes.Text("To take away: "), *words, nodes.Text(".")] if words else []
    return nodes.paragraph("", "", *words, classes=["benchbook-screen-only"])


def repository(env: BuildEnvironment, page: str) -> dict[str, str]:
    """The page's source in the repository that _config.yml names, and a notebook in Colab; nothing without one."""
    url, branch, folder = env.config.benchbook_repository or ("", "", "")
    if not url:
        return {}
    file = Path(folder, Path(env.doc2path(page)).relative_to(env.srcdir)).as_posix()
    part = "-/blob" if "gitlab" in url else "src" if "bitbucket" in url else "blob"
    found = {"view source": f"{url}/{part}/{quote(branch)}/{quote(file)}"}
    if file.endswith(".ipynb") and url.startswith(GITHUB):
        where = url.removeprefix(GITHUB)
        found["open in Colab"] = f"https://colab.research.google.com/github/{where}/blob/{quote(branch)}/{quote(file)}"
    return found
