"""The one error that a user sees as a line of text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BookError(Exception):
    """Bad input or a broken book: says in one line what it is and what to do, and is shown without a traceback."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a misspelt name: '; did you mean 'epochs'?', or the known names where none is near."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
