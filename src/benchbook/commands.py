"""What each command of the command line does: prints, and returns an exit status."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchbook import built, experiments, plan
from benchbook.errors import BookError
from benchbook.experiments import Experiment
from benchbook.plan import Plan, Run
from benchbook.project import Project, forget
from benchbook.record import VERDICTS, claim_sentence, show
from benchbook.state import State, build_lock, read_results, states


def init_book(options: argparse.Namespace) -> int:
    """Writes a new book, or what an existing one lacks, and prints what was written."""
    from benchbook import scaffold

    if options.adopt:
        if options.title is not None:
            raise BookError("--title is for a new book: an adopted one has its title in _config.yml")
        said = scaffold.adopt(options.folder or Path())
    elif options.folder is None:
        raise BookError("which folder shall the new book be in? `benchbook init DIR`")
    else:
        said = scaffold.create(options.folder, options.title)
    print("\n".join(said))
    return 0


def list_experiments(project: Project, options: argparse.Namespace) -> int:
    """Prints the experiments with their parameters."""
    known = [project.experiment(name) for name in project.notebooks]
    if options.json:
        fields = ("type", "default", "help")
        return _print_json(
            {
                experiment.name: {
                    "title": experiment.title,
                    "needs": experiment.needs,
                    "parameters": {p.name: {f: getattr(p, f) for f in fields} for p in experiment.parameters.values()},
                }
                for experiment in known
            }
        )
    for experiment in known:
        print(f"{experiment.name}: {experiment.title}")
        for parameter in experiment.parameters.values():
            print(f"    {parameter.name}: {parameter.type} = {parameter.default!r}  {parameter.help}".rstrip())
    return 0


def run_experiment(project: Project, options: argparse.Namespace) -> int:
    """Runs one experiment, or a sweep of it, with parameters of the user's own and prints what it found."""
    experiment = project.experiment(options.experiment)
    points = _points(experiment, options)

    def planned() -> Plan:
        runs = plan.plan_runs(project, project.experiment(experiment.name), points, options.profile)
        return Plan(name="", title="", note="", reduced=False, runs=runs)

    if options.estimate:
        return _print_estimate(project, options, *_look(planned))
    with build_lock(project):
        made, how = _make(project, planned, options)
    runs = [run for run in made.runs if run.experiment.name == experiment.name]
    for run in runs:
        _print_run(run, how[run.folder])
    return 0 if all(how[run.folder].name == "ok" for run in runs) else 1


def _points(experiment: Experiment, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The grid that the command line's parameters span."""
    given: dict[str, list[Any]] = {}
    for text in options.parameter:
        name, equals, words = text.partition("=")
        if not equals:
            raise BookError(f"{text!r} is no parameter: write NAME=VALUE")
        if name in given:
            raise BookError(f"parameter '{name}' is given twice: keep one")
        given[name] = experiment.parameter(name).parse(words)
    if options.seeds is not None:
        if "seed" in given:
            raise BookError("--seeds counts up the parameter 'seed', which is given too: keep one")
        given["seed"] = experiments.seeds(experiment, options.seeds)
    return experiments.grid(experiment, given)


def _print_run(run: Run, how: State) -> None:
    print(f"{run.folder.relative_to(run.project.root)}: {how}")
    if how.name == "ok":
        results = read_results(run.folder)
        for name, record in results["values"].items():
            print(f"    {name} = {show(record)}")
        for name, record in results["claims"].items():
            print(f"    {name} {VERDICTS[record['holds']]}: {claim_sentence(record)}")


def build_book(project: Project, options: argparse.Namespace) -> int:
    """Runs what is missing and makes the book; 1 where any run is not ok."""
    if options.estimate:
        book, how, missing = _look(lambda: plan.load(project, options.profile))
        _print_estimate(project, options, book, how, [] if options.no_run else missing)
        return _print_pages(built.expected_seconds(project, book, how, pdf=not options.no_pdf), bool(missing))
    with build_lock(project):
        if options.no_run:
            book, how = _load(project, options)
        else:
            book, how = _make(project, lambda: plan.load(project, options.profile), options)
        digest = built.digest(project, book, how)
        if built.is_current(project, built.read(project), digest, not options.no_pdf):
            done = "nothing has changed"
        else:
            from benchbook import book as pages  # here, because it takes long to load

            done = pages.build(project, book, how, digest, pdf=not options.no_pdf)
    print(f"{book.title} book: {done}")
    failed = [(run, how[run.folder]) for run in book.runs if how[run.folder].name != "ok"]
    for run, found in failed:
        print(f"benchbook: {run.label}: {found}", file=sys.stderr)
    return 1 if failed else 0


def _print_estimate(
    project: Project, options: argparse.Namespace, book: Plan, how: dict[Path, State], missing: list[Run]
) -> int:
    """Prints how long each missing run will take, on what grounds, and all of them together."""
    from benchbook import display, estimate

    _check_jobs(options)
    found = estimate.predictions(project, options.profile, missing)
    workers = estimate.workers(len(missing), options.jobs, options.executor)
    for prediction in found:
        clock = (display.clock(prediction.seconds) or "unknown") + "?" * prediction.is_guess
        print(f"{clock:>8}  {prediction.run.label}: {prediction.basis}")
    unknown = sum(prediction.seconds is None for prediction in found)
    words = f"{len(missing)} of {len(book.runs)} runs to make, {workers} at once" if missing else "no run to make"
    words += f": about {display.clock(estimate.total(found, workers))}" if len(found) > unknown else ""
    guesses = sum(prediction.is_guess for prediction in found)
    words += f", {guesses} guessed (?): nothing here shows how their time grows" if guesses else ""
    print(words + (f", and {unknown} of which nothing is known" if unknown else ""))
    if found and estimate.is_busy():
        print("this machine is busy: while it is, expect more")
    return 0


def _print_pages(seconds: float | None, missing: bool) -> int:
    from benchbook.display import clock

    if seconds is None:
        print("then the pages: unknown, for no build of theirs has ended here")
    elif missing or seconds:
        print(f"then the pages: about {clock(seconds)}, as in the last build")
    return 0


def make_submission(project: Project, options: argparse.Namespace) -> int:
    """Checks and writes what a brief wants handed in."""
    from benchbook.submission import submit

    with build_lock(project):
        book, how = _load(project, options)
        said = submit(project, book, how, options.brief, options.author, options.id, quick=options.quick)
    print("".join(f"✓ {line}\n" for line in said), end="")
    print(f"in {(project.build / 'submission').relative_to(project.root)}/, with SHA256SUMS")
    return 0


def freeze_results(project: Project, options: argparse.Namespace) -> int:
    """Writes reference results and prints their files."""
    from benchbook.reference import freeze

    for path in freeze(project, *_load(project, options), options.experiments):
        print(path.relative_to(project.root))
    return 0


def show_status(project: Project, options: argparse.Namespace) -> int:
    """Prints a line for each run of the profile."""
    from benchbook.reports import describe

    book, how = _load(project, options)
    if options.json:
        return _print_json([describe(run, how[run.folder]) for run in book.runs])
    for run in book.runs:
        found = how[run.folder]
        print(f"{found.name:8} {run.label} ({run.fingerprint[:8]}){': ' if found.reason else ''}{found.reason}")
    return 0


def show_why(project: Project, options: argparse.Namespace) -> int:
    """Prints the whole difference between runs and what they replace."""
    from benchbook.reports import describe, select, why

    book, how = _load(project, options)
    chosen = select(book, options.run)
    if options.json:
        return _print_json([{**describe(r, how[r.folder]), "why": why(r, how[r.folder])} for r in chosen])
    for run in chosen:
        print(f"{run.label} ({run.fingerprint[:8]})")
        print("".join(f"    {line}\n" for line in why(run, how[run.folder])), end="")
    return 0


def show_log(project: Project, options: argparse.Namespace) -> int:
    """Prints the logs of runs."""
    from benchbook.reports import log, select

    chosen = select(plan.load(project, options.profile), options.run)
    if options.json:
        return _print_json(
            [{"experiment": r.experiment.name, "fingerprint": r.fingerprint, "log": log(r)} for r in chosen]
        )
    for run in chosen:
        print(f"{run.label} ({run.fingerprint[:8]})\n{log(run) or 'no log'}")
    return 0


def show_changes(project: Project, options: argparse.Namespace) -> int:
    """Prints the sentences that read otherwise than at the last look."""
    from benchbook.changes import look

    book, how = _load(project, options)
    found = look(project, book, how, keep=options.keep)
    if options.json:
        return _print_json(None if found is None else [vars(change) for change in found])
    if found is None:
        print("this is the first look: from now on, what moves is shown")
    elif not found:
        print("nothing has moved since the last look")
    for change in found or ():
        print(f"{change.page}\n  - {change.old}\n  + {change.new}")
    return 0


def compare_runs(project: Project, options: argparse.Namespace) -> int:
    """Prints the runs of one experiment as the rows of a table."""
    from benchbook.compare import compare
    from benchbook.sheet import lines

    found = compare(project, options.experiment, plan.load(project, options.profile))
    if not found.rows:
        name = options.experiment
        raise BookError(f"no successful run of '{name}' is there to compare: `benchbook run {name}` makes one")
    if options.json:
        return _print_json(found.describe())
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(lines(found, older=options.older, width=width)))
    return 0


def prune_runs(project: Project, options: argparse.Namespace) -> int:
    """Removes the runs that no profile names, after asking."""
    from benchbook.reports import remove, size, unnamed

    with build_lock(project):
        sizes = {folder: size(folder) for folder in unnamed(project)}
        if options.json:
            _print_json({str(folder.relative_to(project.root)): number for folder, number in sizes.items()})
        else:
            for folder, number in sizes.items():
                print(f"{number / 1e6:8.1f} MB  {folder.relative_to(project.root)}")
            print(f"{len(sizes)} runs that no profile names hold {sum(sizes.values()) / 1e6:.1f} MB")
        if not sizes or not (options.yes or _agreed("Remove them?")):
            return 0
        remove(list(sizes))
    if not options.json:
        print("removed")
    return 0


def _agreed(question: str) -> bool:
    """Whether the user says yes; where nobody can be asked, nobody has."""
    if not sys.stdin.isatty():
        print("benchbook: not removed: add --yes where nobody can be asked", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def serve_book(project: Project, options: argparse.Namespace) -> int:
    """Serves the built book on this machine until it is stopped."""
    import functools
    import http.server

    html = project.build / "html"
    if not (html / "index.html").is_file():
        raise BookError(f"there is no book in {html} yet: run `make book` first")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            """The file for an address: the site's, or the PDF beside it."""
            return str(project.build / "book.pdf") if path == "/book.pdf" else super().translate_path(path)

    handler = functools.partial(Handler, directory=html)
    try:
        opened = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BookError(
            f"--port {options.port} cannot be had ({reason}): give another, or none for a free one"
        ) from None
    with opened as server:
        print(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C ends)", flush=True)
        server.serve_forever()
    return 0


def _load(project: Project, options: argparse.Namespace) -> tuple[Plan, dict[Path, State]]:
    book = plan.load(project, options.profile)
    return book, states(book.runs)


def _make(project: Project, planned: Callable[[], Plan], options: argparse.Namespace) -> tuple[Plan, dict[Path, State]]:
    """Makes the data sets and the runs that are missing, a failed one again; returns the plan and how it stands then.

    What the plan rests on may change meanwhile, so it is made again, but not where nothing was done.
    """
    _check_jobs(options)
    book, how, missing = _look(planned)
    if not missing:
        return book, how
    from benchbook import schedule

    where = schedule.Where(options.jobs, options.executor, tuple(options.words), book.gpu_slots)
    if schedule.prepare_data(project, missing):  # data are part of a run's fingerprint
        book, how, missing = _look(planned)
    tried: set[Path] = set()
    while missing:
        schedule.make(project, missing, book.name, where)
        tried |= {run.folder for run in missing}
        book, how, missing = _look(planned)
        # What was damaged has been made again, perhaps differently, and others need it.
        missing = [run for run in missing if run.folder not in tried]
    return book, how


def _check_jobs(options: argparse.Namespace) -> None:
    if options.jobs is not None and options.jobs < 1:
        raise BookError(f"--jobs is {options.jobs}: give a number of at least 1")


def _look(planned: Callable[[], Plan]) -> tuple[Plan, dict[Path, State], list[Run]]:
    forget()
    book = planned()
    how = states(book.runs)
    return book, how, [run for run in book.runs if how[run.folder].name != "ok"]


def _print_json(content: Any) -> int:
    print(json.dumps(content, indent=2, ensure_ascii=False, default=list))
    return 0
