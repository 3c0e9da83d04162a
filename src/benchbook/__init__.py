"""Books from executable experiments: what a notebook records while it runs."""

from benchbook import lines
from benchbook.artefacts import artefact, needed
from benchbook.record import Value, claim, curve, environment, progress, value

__all__ = ["Value", "artefact", "claim", "curve", "environment", "needed", "progress", "value"]

lines.watch()
