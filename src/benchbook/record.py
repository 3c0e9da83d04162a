"""Values, claims and curves: the records that a run leaves in its notebook's own output.

The executed notebook is their only source, so they are there too when plain papermill or Jupyter ran it. Nothing
here knows of profiles, folders or Sphinx; the engine tells a running notebook where it is by environment variables.
"""

from __future__ import annotations

import json
import math
import numbers
import operator
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

VALUE = "application/vnd.benchbook.value+json"
CLAIM = "application/vnd.benchbook.claim+json"
CURVE = "application/vnd.benchbook.curve+json"
ENVIRONMENT = "application/vnd.benchbook.environment+json"
PROGRESS_FILE = "BENCHBOOK_PROGRESS"
CONFIDENCE = 0.95
kept_seconds: list[float] = []  # what earlier runs spent on steps whose results they kept; read when the run has ended

NAME = re.compile(r"[a-z][a-z0-9_]*")
VERDICTS = {True: "holds", False: "does not hold", None: "too close to call"}


class Value:
    """One measured number, or the same number from several seeds, that remembers what it was made from.

    Differences, ratios, products and sums of values are values; comparing two gives a `Comparison` for a claim.
    """

    def __init__(self, samples: Iterable[float], unit: str = "", name: str = "", made_from: Iterable[str] = ()) -> None:
        self.samples = tuple(_number(sample, name) for sample in samples)
        if not self.samples:
            raise ValueError(f"value '{name}' has no samples: give a number or a sequence of numbers, one a seed")
        self.unit = unit
        self.name = name
        self.made_from = tuple(dict.fromkeys(made_from))

    @property
    def mean(self) -> float:
        return math.fsum(self.samples) / len(self.samples)

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1); None for a single sample."""
        n = len(self.samples)
        return math.sqrt(math.fsum((x - self.mean) ** 2 for x in self.samples) / (n - 1)) if n > 1 else None

    def record(self) -> dict[str, Any]:
        """What results.json holds of this value."""
        single = len(self.samples) == 1
        fields: dict[str, Any] = {"value": self.samples[0]} if single else {"values": list(self.samples)}
        fields |= {"unit": self.unit, "mean": self.mean, "std": self.std, "n": len(self.samples)}
        return fields | ({"made_from": list(self.made_from)} if self.made_from else {})

    def __float__(self) -> float:
        return self.mean

    def __str__(self) -> str:
        return show(self.record())

    __repr__ = __str__

    def _ipython_display_(self) -> None:
        """Shows nothing: `value` has displayed the record already."""

    def _with(self, other: Value | float, operation: Callable[[Any, Any], Any], unit: str) -> Value:
        second = _as_value(other)
        left, right = self.samples, second.samples
        if len(left) != len(right):
            if 1 not in (len(left), len(right)):
                raise ValueError(
                    f"'{self.name}' has {len(left)} seeds and '{second.name}' {len(right)}: give equal numbers"
                )
            left, right = left * max(1, len(right) // len(left)), right * max(1, len(left) // len(right))
        sources = [n for v in (self, second) for n in ([v.name] if v.name else v.made_from)]
        return Value((operation(a, b) for a, b in zip(left, right, strict=True)), unit, made_from=sources)

    def __add__(self, other: Value | float) -> Value:
        return self._with(other, operator.add, self.unit)

    def __sub__(self, other: Value | float) -> Value:
        return self._with(other, operator.sub, self.unit)

    def __mul__(self, other: Value | float) -> Value:
        return self._with(other, operator.mul, self.unit)

    def __truediv__(self, other: Value | float) -> Value:
        return self._with(other, operator.truediv, "" if isinstance(other, Value) else self.unit)

    def __lt__(self, other: Value | float) -> Comparison:
        return Comparison(self, "<", _as_value(other))

    def __le__(self, other: Value | float) -> Comparison:
        return Comparison(self, "<=", _as_value(other))

    def __gt__(self, other: Value | float) -> Comparison:
        return Comparison(self, ">", _as_value(other))

    def __ge__(self, other: Value | float) -> Comparison:
        return Comparison(self, ">=", _as_value(other))


class Comparison:
    """left < right (or <=, >, >=), decided by the seeds' interval: True, False, or None where it is too close to call.

    With several seeds on a side the difference of means must lie outside its 95 % interval (Welch's for two samples;
    a side with one sample counts as a constant). Two single numbers are compared as they are.
    """

    OPERATIONS: ClassVar = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

    def __init__(self, left: Value, relation: str, right: Value) -> None:
        self.left, self.relation, self.right = left, relation, right

    @property
    def holds(self) -> bool | None:
        difference = self.left.mean - self.right.mean
        if abs(difference) < self.margin():
            return None
        return bool(self.OPERATIONS[self.relation](difference, 0.0))

    def margin(self) -> float:
        """Half the width of the 95 % confidence interval of the difference of the two means; 0 without spread."""
        parts = [(v.std**2 / len(v.samples), len(v.samples)) for v in (self.left, self.right) if v.std]
        variance = sum(part for part, _ in parts)
        if not variance:
            return 0.0
        from scipy.special import stdtrit  # here, because most notebooks never need it

        freedom = variance**2 / sum(part**2 / (n - 1) for part, n in parts)  # Welch-Satterthwaite
        return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2) * math.sqrt(variance))

    def __bool__(self) -> bool:
        return self.holds is True


def value(name: str, samples: Any, unit: str = "") -> Value:
    """Records a number under a name and returns it as a `Value`.

    samples: a number, a `Value` made from others, or a sequence of numbers, one a seed. Raises ValueError for a name
    that is not lower_case and for a number that is not finite.
    """
    _check_name(name)
    if isinstance(samples, Value):
        result = Value(samples.samples, unit or samples.unit, name, samples.made_from)
    else:
        many = isinstance(samples, Sequence) or (hasattr(samples, "__len__") and getattr(samples, "ndim", 1) > 0)
        result = Value(samples if many else [samples], unit, name)
    _publish(VALUE, {"name": name, **result.record()}, f"{name} = {result}")
    return result


def claim(name: str, holds: Comparison | bool, text: str, *, must: bool = False) -> None:
    """Records whether a sentence held in this run: it does, it does not, or it is too close to call.

    text: the sentence; `{left}` and `{right}` in it stand for the two sides of the comparison, with their units.
    must: a theorem's check: the run fails with AssertionError if it does not hold.
    """
    _check_name(name)
    record: dict[str, Any] = {"name": name, "text": text}
    if isinstance(holds, Comparison):
        left, right = holds.left, holds.right
        record |= {"holds": holds.holds, "left": left.record(), "relation": holds.relation, "right": right.record()}
        record["made_from"] = [n for v in (left, right) for n in ([v.name] if v.name else v.made_from)]
    else:
        record |= {"holds": bool(holds), "left": None, "relation": None, "right": None}
    if must:
        record["must"] = True
    sentence = claim_sentence(record)
    verdict: bool | None = record["holds"]
    _publish(CLAIM, record, f"{name} {VERDICTS[verdict]}: {sentence}")
    if must and verdict is not True:
        raise AssertionError(f"claim '{name}' must hold and {VERDICTS[verdict]}: {sentence}")


def curve(name: str, ys: Any, xs: Any = None, *, x: str = "epoch", y: str = "") -> None:
    """Records a curve, or the same curve from several seeds, for the pages that lay runs over one another.

    ys: numbers [points], or [seeds, points]; xs: numbers [points], 1, 2, … where none are given; x and y: the axes'
    labels. Raises ValueError for numbers that are not finite and for lengths that differ.
    """
    _check_name(name)
    rows = [list(row) for row in (ys if len(ys) and hasattr(ys[0], "__len__") else [ys])]
    points = [_number(number, name) for number in (xs if xs is not None else range(1, len(rows[0]) + 1))]
    if not points or any(len(row) != len(points) for row in rows):
        raise ValueError(
            f"curve '{name}' has {[len(row) for row in rows]} numbers over {len(points)} points: make them equal"
        )
    record = {"xs": points, "ys": [[_number(number, name) for number in row] for row in rows], "x": x, "y": y or name}
    _publish(
        CURVE, {"name": name, **record}, f"{name}: {len(points)} points" + f" of {len(rows)} seeds" * (len(rows) > 1)
    )


def environment(**facts: Any) -> None:
    """Records where the run took place, in words: `environment(device="cpu", precision="bfloat16")`."""
    text = {key: str(fact) for key, fact in facts.items()}
    _publish(ENVIRONMENT, text, ", ".join(f"{key}: {fact}" for key, fact in text.items()))


def progress(step: int, steps: int, *, kept: float | None = None, **facts: float) -> None:
    """Tells the builder's display how far a long cell is (epoch of epochs); without a builder it shows nothing.

    kept: where an earlier run has made this step and kept what came of it, its seconds; they belong to the run's cost.
    """
    if kept is not None:
        kept_seconds.append(float(kept))
    target = os.environ.get(PROGRESS_FILE)
    if target:
        part = Path(f"{target}.part")
        facts = {name: float(fact) for name, fact in facts.items()}
        part.write_text(json.dumps({"step": step, "steps": steps, "time": time.time(), **facts}))
        part.replace(target)


def show(record: dict[str, Any]) -> str:
    """A value's record as a reader sees it: '61.2 %', '0.00389 ± 0.00004', '5,000'."""
    unit = f"\u00a0{record['unit']}" if record["unit"] else ""
    mean, std = record["mean"], record["std"]
    if not std or std < 1e-12 * abs(mean):  # the seeds agree but for rounding
        return f"{show_number(mean)}{unit}"
    exponent = math.floor(math.log10(std))
    if abs(mean) < 1e-4 or abs(mean) >= 1e6:
        return f"{mean:.2e} ± {std:.0e}{unit}"
    # one digit more than the spread's first, so that the last digit shown means something
    decimals = max(0, 1 - exponent)
    return f"{mean:,.{decimals}f} ± {std:,.{decimals}f}{unit}"


def show_number(number: float) -> str:
    """A single number with three significant digits; whole numbers in full, with separators."""
    if float(number).is_integer() and abs(number) < 1e15:
        return f"{int(number):,}"
    if abs(number) < 1e-4 or abs(number) >= 1e6:
        return f"{number:.2e}"
    return f"{number:,.{max(0, 2 - math.floor(math.log10(abs(number))))}f}"


def claim_sentence(record: dict[str, Any]) -> str:
    """The claim's sentence with its numbers in place."""
    text: str = record["text"]
    for side in ("left", "right"):
        if record[side] is not None:
            text = text.replace("{" + side + "}", show(record[side]))
    return text


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"'{name}' is no name for a record: use lower-case letters, digits and underscores")


def _number(sample: Any, name: str) -> float:
    number = sample if isinstance(sample, numbers.Real) else float(sample)
    if not math.isfinite(number):
        raise ValueError(f"value '{name}' is {number}: a value must be a finite number")
    return int(number) if isinstance(number, numbers.Integral) else float(number)


def _as_value(other: Any) -> Value:
    return other if isinstance(other, Value) else Value([other])


def _publish(mime: str, record: dict[str, Any], text: str) -> None:
    from IPython.display import display  # here, so that the engine reads records without loading IPython

    display({mime: record, "text/plain": text}, raw=True)
