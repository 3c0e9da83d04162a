"""Books from executable experiments: what a notebook records while it runs."""

from benchbook.record import Value, artefact, claim, environment, progress, value

__all__ = ["Value", "artefact", "claim", "environment", "progress", "value"]
