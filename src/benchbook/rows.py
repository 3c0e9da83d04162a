"""Runs of one experiment as the rows of a table: pooled over their seeds, with what differs among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchbook.record import VERDICTS, Value, claim_sentence, show

SEED = "seed"


@dataclass(frozen=True)
class Made:
    """A successful run that is there.

    notebook: the SHA-256 of its executed notebook; needs: the fingerprints of the runs that it needed; older: in what
    its sources differ from today's, nothing where they agree; line: what makes a profile show it.
    """

    folder: Path
    ended: float
    notebook: str
    results: dict[str, Any]
    needs: dict[str, str]
    older: tuple[str, ...]
    shown: bool
    line: str

    @property
    def parameters(self) -> dict[str, Any]:
        given: dict[str, Any] = self.results["parameters"]
        return given

    def describe(self) -> dict[str, Any]:
        """The run as plain JSON, its claims as sentences."""
        kept = ("fingerprint", "profile", "parameters", "seconds", "values")
        claims = {name: {**r, "sentence": claim_sentence(r)} for name, r in self.results["claims"].items()}
        found = {**{key: self.results.get(key) for key in kept}, "claims": claims}
        return {**found, "shown": self.shown, "ended": self.ended, "line": self.line}


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed alone, and what they found together."""

    runs: tuple[Made, ...]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The parameters without the seed, and the fingerprints of the runs that were needed."""
        first = self.runs[0]
        given = {name: given for name, given in first.parameters.items() if name != SEED}
        return given | {f"run of {name}": fingerprint[:8] for name, fingerprint in first.needs.items()}

    @property
    def older(self) -> tuple[str, ...]:
        return self.runs[0].older

    @property
    def shown(self) -> bool:
        return any(run.shown for run in self.runs)

    @cached_property
    def values(self) -> dict[str, dict[str, Any]]:
        """Every value's record, its samples those of all runs."""
        return {
            name: Value([x for r in records for x in r.get("values", [r.get("value")])], records[0]["unit"]).record()
            for name, records in self._records("values").items()
        }

    @cached_property
    def claims(self) -> dict[str, str]:
        """Every claim's verdict, or in how many runs it holds where they do not agree."""
        verdicts = {name: [r["holds"] for r in records] for name, records in self._records("claims").items()}
        return {
            name: VERDICTS[found[0]] if len(set(found)) == 1 else f"holds in {found.count(True)} of {len(found)}"
            for name, found in verdicts.items()
        }

    @cached_property
    def curves(self) -> dict[str, dict[str, Any]]:
        """Every curve's record, of the runs whose points are those of the first one."""
        return {
            name: {**records[0], "ys": [ys for r in records if r["xs"] == records[0]["xs"] for ys in r["ys"]]}
            for name, records in self._records("curves").items()
        }

    @cached_property
    def time(self) -> dict[str, Any]:
        """How long the runs took, as a value's record."""
        return Value([run.results["seconds"] for run in self.runs], "s").record()

    def _records(self, kind: str) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for run in self.runs:
            for name, record in run.results.get(kind, {}).items():
                found.setdefault(name, []).append(record)
        return found


@dataclass(frozen=True)
class Comparison:
    """The rows of one experiment: the one that the book shows first, those of older code last."""

    experiment: str
    title: str
    profile: str
    rows: tuple[Row, ...]

    @cached_property
    def runs(self) -> list[Made]:
        return [run for row in self.rows for run in row.runs]

    @cached_property
    def shown(self) -> Row | None:
        """The run that the book shows, as a row of its own."""
        return next((Row((run,)) for run in self.runs if run.shown), None)

    @cached_property
    def parameters(self) -> list[str]:
        """The settings that differ."""
        return differing(row.settings for row in self.rows)

    @cached_property
    def values(self) -> list[str]:
        """The values that differ, those that decide a claim first; none that only repeats a parameter."""
        claims = (record for run in self.runs for record in run.results["claims"].values())
        deciding = list(dict.fromkeys(name for record in claims for name in record.get("made_from", ())))
        found = differing({name: record["mean"] for name, record in row.values.items()} for row in self.rows)
        found = [name for name in found if not any(name in row.settings for row in self.rows)]
        return sorted(found, key=lambda name: deciding.index(name) if name in deciding else len(deciding))

    @cached_property
    def claims(self) -> list[str]:
        """The claims whose verdict differs among the runs."""
        return differing(Row((run,)).claims for run in self.runs)

    def moved(self, row: Row) -> dict[str, str]:
        """The claims whose verdict is not that of the run that the book shows: 'holds → does not hold'."""
        before = self.shown.claims if self.shown else {}
        return {name: f"{before[name]} → {now}" for name, now in row.claims.items() if before.get(name, now) != now}

    def label(self, row: Row) -> str:
        """A row's name: the parameters that differ, and for older code its fingerprint."""
        words = [f"{name}={plain(row.settings[name])}" for name in self.parameters if name in row.settings]
        words += [f"(older code {row.runs[0].folder.name[:8]})"] if row.older else []
        return " ".join(words) or "all runs"

    def describe(self) -> dict[str, Any]:
        """The whole as plain JSON."""
        return {
            "experiment": self.experiment,
            "title": self.title,
            "profile": self.profile,
            "differing": {"parameters": self.parameters, "values": self.values, "claims": self.claims},
            "rows": [
                {
                    "label": self.label(row),
                    "shown": row.shown,
                    "older": row.older,
                    "settings": row.settings,
                    "values": {name: {**record, "text": show(record)} for name, record in row.values.items()},
                    "claims": row.claims,
                    "moved": self.moved(row),
                    "curves": row.curves,
                    "runs": [run.describe() for run in row.runs],
                }
                for row in self.rows
            ],
        }


def differing(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names whose values are not the same in all rows, in the order in which the rows have them."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if any(row.get(name) != rows[0].get(name) for row in rows)]


def plain(given: Any) -> str:
    """A parameter as a reader sees it."""
    return (",".join(map(str, given)) if isinstance(given, list) else str(given)) or "''"
