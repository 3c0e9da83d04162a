"""Prose that depends on the runs: `{where} name` waits for a value or claim to be recorded, `{where} name fails` for a
claim to come out so (or `holds`, or `open`); its `:else:` stands there otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

OUTCOMES = {True: "holds", False: "fails", None: "open"}  # of a claim, as prose and style sheets name them
WHERE = re.compile(r"^(`{3,})\{where\} *(\S+)(?: +(\S+))? *\n(?::else: *(.*)\n)?((?:.*\n)*?)\1 *$", re.MULTILINE)


def is_met(results: Mapping[str, Any], name: str, outcome: str = "") -> bool:
    """Whether a run recorded this value or claim; with an outcome, whether it decided the claim so."""
    if outcome:
        return name in results["claims"] and OUTCOMES[results["claims"][name]["holds"]] == outcome
    return any(name in results[kind] for kind in ("values", "claims"))


def chosen(text: str, met: Callable[[str, str], bool]) -> str:
    """Markdown in which each {where} has given way to its prose, or to its `else` where `met(name, outcome)` is not."""
    return WHERE.sub(lambda match: match[5].rstrip("\n") if met(match[2], match[3] or "") else match[4] or "", text)


def considered(text: str, outcome: str) -> set[str]:
    """The names of the claims for whose outcome the text has prose."""
    return {match[2] for match in WHERE.finditer(text) if match[3] == outcome}
