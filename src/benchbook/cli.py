"""The command line: list, run, build, status, serve."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchbook import experiments, plan
from benchbook.errors import BookError
from benchbook.plan import Project, Run
from benchbook.record import VERDICTS, claim_sentence, show


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 well, 1 a run has failed, 2 bad input, 130 stopped."""
    parser = _parser()
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill ends like Ctrl-C: workers go first
    try:
        return int(options.command(Project(plan.find_root(Path.cwd())), options))
    except BookError as error:
        print(f"benchbook: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchbook: stopped; what had finished is kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchbook", description="Books from executable experiments.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    add("list", list_experiments, "the experiments with their parameters, defaults and meanings")

    run = add("run", run_experiment, "run one experiment with parameters of your own")
    run.add_argument("experiment", help="the notebook's name, as `benchbook list` shows it")
    run.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")

    build = add("build", build_book, "run what is missing, then make the HTML and the PDF")
    build.add_argument("--jobs", type=int, metavar="N", help="runs at once (default: one for each core)")
    build.add_argument("--no-run", action="store_true", help="make the book from the runs that are there")
    build.add_argument("--no-pdf", action="store_true", help="make only the HTML")

    status = add("status", show_status, "how each run of the profile stands, and why")
    serve = add("serve", serve_book, "show the built book in a browser, on a free port")
    serve.add_argument("--port", type=int, default=0, metavar="N", help="default: any free one")
    for command in (build, status):
        command.add_argument("--profile", default="quick", help="a file of profiles/ (default: quick)")
    return parser


def list_experiments(project: Project, options: argparse.Namespace) -> int:
    """Prints the experiments with their parameters."""
    for name in experiments.names(project.root):
        experiment = plan.read_experiment(experiments.find(project.root, name))
        print(f"{name}: {experiment.title}")
        for parameter in experiment.parameters.values():
            print(f"    {parameter.name}: {parameter.type} = {parameter.default!r}  {parameter.help}".rstrip())
    return 0


def run_experiment(project: Project, options: argparse.Namespace) -> int:
    """Runs one experiment with parameters of the user's own and prints what it found."""
    experiment = plan.read_experiment(experiments.find(project.root, options.experiment))
    given = {}
    for text in options.parameter:
        name, equals, words = text.partition("=")
        if not equals:
            raise BookError(f"'{text}' is no parameter: write NAME=VALUE")
        if name in given:
            raise BookError(f"parameter '{name}' is given twice: keep one")
        given[name] = experiment.parameter(name).parse(words)
    from benchbook.schedule import build_lock

    with build_lock(project):
        _make(project, [plan.plan_run(project, experiment, given)], "", None)
    run = plan.plan_run(project, experiment, given)  # again: data may have been made
    state = plan.state(run)
    print(f"{run.folder.relative_to(project.root)}: {state}")
    if state.name == "ok":
        results = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
        for name, record in results["values"].items():
            print(f"    {name} = {show(record)}")
        for name, record in results["claims"].items():
            print(f"    {name} {VERDICTS[record['holds']]}: {claim_sentence(record)}")
    return 0 if state.name == "ok" else 1


def build_book(project: Project, options: argparse.Namespace) -> int:
    """Runs what is missing and makes the book; 1 where any run is not ok."""
    from benchbook import book as pages
    from benchbook.schedule import build_lock

    if options.jobs is not None and options.jobs < 1:
        raise BookError(f"--jobs is {options.jobs}: give a number of at least 1")
    with build_lock(project):
        book = plan.load(project, options.profile)
        if not options.no_run:
            _make(project, book.runs, book.name, options.jobs)
            book = plan.load(project, options.profile)
        states = {run.folder: plan.state(run) for run in book.runs}
        shown = {name: states[run.folder] for name, run in book.shown().items()}
        done = pages.build(project, book, shown, pdf=not options.no_pdf)
    print(f"{book.title} book: {done}")
    failed = [(run, states[run.folder]) for run in book.runs if states[run.folder].name != "ok"]
    for run, state in failed:
        print(f"benchbook: {run.label}: {state}", file=sys.stderr)
    return 1 if failed else 0


def show_status(project: Project, options: argparse.Namespace) -> int:
    """Prints a line for each run of the profile."""
    book = plan.load(project, options.profile)
    for run in book.runs:
        state = plan.state(run)
        print(f"{state.name:8} {run.label}{': ' if state.reason else ''}{state.reason}")
    return 0


def serve_book(project: Project, options: argparse.Namespace) -> int:
    """Serves the built book on this machine until it is stopped."""
    import functools
    import http.server

    html = project.build / "html"
    if not (html / "index.html").is_file():
        raise BookError(f"there is no book in {html} yet: run `make book` first")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", options.port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C ends)", flush=True)
        server.serve_forever()
    return 0


def _make(project: Project, runs: Sequence[Run], profile: str, jobs: int | None) -> None:
    """Makes the data sets and the runs that are missing; a failed run is tried again."""
    missing = [run for run in runs if plan.state(run).name != "ok"]
    if not missing:
        return
    from benchbook import schedule

    if schedule.prepare_data(project, missing):
        runs = [plan.plan_run(project, run.experiment, run.parameters, run.shown) for run in runs]
        missing = [run for run in runs if plan.state(run).name != "ok"]
    if missing:
        schedule.make(project, missing, profile, jobs)


if __name__ == "__main__":
    sys.exit(main())
