"""The command line."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from benchbook import plan
from benchbook.commands import (
    build_book,
    compare_runs,
    freeze_results,
    init_book,
    list_experiments,
    make_submission,
    prune_runs,
    run_experiment,
    serve_book,
    show_changes,
    show_log,
    show_status,
    show_why,
)
from benchbook.errors import FULL, BookError, full_disk
from benchbook.project import Project, find_root


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 well, 1 a run has failed, 2 bad input, 130 stopped."""
    parser = _parser()
    words = sys.argv[1:] if arguments is None else arguments
    ours = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:ours], argparse.Namespace(words=words[ours + 1 :]))
    if options.words and not hasattr(options, "executor"):
        parser.error("words after -- are for Snakemake, which only run and build start")
    signal.signal(signal.SIGTERM, _stop)  # a polite kill ends like Ctrl-C: workers go first
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    try:
        if options.command == init_book:  # there is no book yet
            return init_book(options)
        return int(options.command(Project(find_root(Path.cwd())), options))
    except BookError as error:
        print(f"benchbook: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `benchbook status | head`
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in FULL:
            raise
        print(f"benchbook: {full_disk(Path(str(error.filename or Path.cwd())))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchbook: stopped; what had finished is kept", file=sys.stderr)
        return 130


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        line = "".join(sign if sign.isprintable() else " " for sign in message)
        self.exit(2, f"{self.prog}: {line} (`{self.prog} --help` explains)\n")


def _stop(*_: object) -> None:
    """Ends the command once: whoever presses Ctrl-C again does not keep it from clearing up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="benchbook", description="Books from executable experiments.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, function: object, text: str, *, json: bool = False, profile: bool = True
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        if json:
            command.add_argument("--json", action="store_true", help="as JSON, for programs")
        if profile:
            default = plan.DEFAULT_PROFILE
            command.add_argument("--profile", default=default, help=f"a file of profiles/ (default: {default})")
        return command

    init = add("init", init_book, "write a small new book, or take an existing Jupyter Book", profile=False)
    init.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="a new folder, or the existing book's")
    init.add_argument("--title", help="of the new book (default: the folder's name)")
    text = "take the Jupyter Book 1 in DIR (default: here): write what is missing and change nothing else"
    init.add_argument("--adopt", action="store_true", help=text)

    add(
        "list",
        list_experiments,
        "the experiments with their parameters, defaults and meanings",
        json=True,
        profile=False,
    )

    run = add("run", run_experiment, "run one experiment with parameters of your own")
    run.add_argument("experiment", help="the notebook's name, as `benchbook list` shows it")
    text = "may be repeated; several values, NAME=1,2,3, make a sweep"
    run.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help=text)
    run.add_argument("--seeds", type=int, metavar="N", help="repeat with N values of the parameter `seed`")

    build = add("build", build_book, "run what is missing, then make the HTML and the PDF")
    for command in (run, build):
        text = "runs at once (default: one for each core, on a cluster 50)"
        command.add_argument("--jobs", type=int, metavar="N", help=text)
        text = "one of Snakemake's, such as slurm (default: local); words after -- go to Snakemake as they are"
        command.add_argument("--executor", default="local", metavar="NAME", help=text)
        text = "run nothing, but say how long it would take, and on what grounds"
        command.add_argument("--estimate", action="store_true", help=text)
    build.add_argument("--no-run", action="store_true", help="make the book from the runs that are there")
    build.add_argument("--no-pdf", action="store_true", help="make only the HTML")

    submission = add("submission", make_submission, "check and write what a course wants handed in: _build/submission/")
    submission.add_argument("brief", help="its name in book/briefs.yml")
    submission.add_argument("--author", default="", metavar="NAME", help="whose work it is; several with commas")
    submission.add_argument(
        "--id", default="", metavar="NUMBER", help="the author's number, where files are named by it"
    )
    submission.add_argument("--quick", action="store_true", help="a draft from a reduced profile, which says so")

    freeze = add(
        "freeze", freeze_results, "keep the numbers of a profile's runs in reference/, to be shown beside others"
    )
    freeze.add_argument("experiments", nargs="*", metavar="NAME", help="of these experiments (default: all)")

    add("status", show_status, "how each run of the profile stands, and why", json=True)
    for name, function, text in (
        ("why", show_why, "everything in which stale runs differ from what they replace"),
        ("log", show_log, "what runs printed outside their notebooks, and the traceback of a failed one"),
    ):
        command = add(name, function, text, json=True)
        command.add_argument("run", help="an experiment's name, or the first digits of a fingerprint")
    compare = add(
        "compare", compare_runs, "the runs of one experiment side by side: what differs, what moved", json=True
    )
    compare.add_argument("experiment", help="the notebook's name, as `benchbook list` shows it")
    compare.add_argument("--older", action="store_true", help="runs of older code too")
    changes = add("changes", show_changes, "the sentences whose numbers or claims moved since the last look", json=True)
    changes.add_argument("--keep", action="store_true", help="do not count this as a look")
    prune = add("prune", prune_runs, "remove the runs that no profile names", json=True, profile=False)
    prune.add_argument("--yes", action="store_true", help="do not ask")
    serve = add("serve", serve_book, "show the built book in a browser, on a free port", profile=False)
    serve.add_argument("--port", type=int, default=0, metavar="N", help="default: any free one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
