"""The numbers behind the lines of a matplotlib figure, left in the metadata of the output that has its picture.

A picture has only places; the numbers are those that the notebook drew. With them go the names of the legend and the
ids, in the SVG, of every line, so that a page can read values off and switch lines on and off. `import benchbook` in a
notebook is all it takes. Nothing here imports matplotlib, unless a figure is there already.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

LINES = "benchbook-lines"
MOST = 6000  # points of a figure; one with more shows a surface or a cloud, of which nobody reads single values
SCALES = ("linear", "log")


def watch() -> None:
    """Has the running notebook, if there is one, leave the numbers of every figure that it shows."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        formatter = shell.display_formatter.mimebundle_formatter
        formatter.for_type_by_name("matplotlib.figure", "Figure", beside)


def beside(figure: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a figure shows besides its picture, which is nothing, and its metadata: the numbers, if it has any."""
    found = lines_of(figure)
    return {}, {LINES: found} if found else {}


def lines_of(figure: Any) -> dict[str, Any] | None:
    """The legend's names and, for each panel, axes and lines with their numbers; None where nothing can be read off.

    Gives the artists their ids: `entry-0` (and `entry-0-handle`) in the legend, `panel-0`, `panel-0-line-0`.
    """
    entries = _entries(figure)
    colours = {name: _colours(handles) for name, handles in entries.items()}
    panels = [_panel(number, axes, colours) for number, axes in enumerate(figure.axes) if _is_readable(axes)]
    points = [len(line["y"]) for panel in panels for line in panel["lines"]]
    if not any(count > 1 for count in points) or sum(points) > MOST:
        return None
    used = {line["entry"] for panel in panels for line in panel["lines"]}
    return {"entries": [name if name in used else None for name in entries], "panels": panels}


def _entries(figure: Any) -> dict[str, list[Any]]:
    """The legends' names in order, each with its handles."""
    found: dict[str, list[Any]] = {}
    for legend in [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]:
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=False):
            if handle is not None and text.get_text() not in found:
                text.set_gid(f"entry-{len(found)}")
                handle.set_gid(f"entry-{len(found)}-handle")
            found.setdefault(text.get_text(), []).append(handle)
    return found


def _is_readable(axes: Any) -> bool:
    """Whether the places in a panel are numbers."""
    scales = axes.get_xscale() in SCALES and axes.get_yscale() in SCALES and axes.name == "rectilinear"
    return bool(axes.lines and axes.axison and scales and not axes.images and not _names(axes.yaxis))


def _panel(number: int, axes: Any, colours: dict[str, set[str]]) -> dict[str, Any]:
    axes.patch.set_gid(f"panel-{number}")
    lines = []
    for place, line in enumerate(line for line in axes.lines if len(line.get_xdata())):
        line.set_gid(f"panel-{number}-line-{place}")
        label = str(line.get_label())
        entry = label if label in colours else _only(line, colours)
        name = label if not label.startswith("_") else "" if label.startswith("_child") else label[1:]
        lines.append({"id": line.get_gid(), "name": name or entry or "", "entry": entry, **_numbers(axes, line)})
    bands = []
    for place, band in enumerate(axes.collections):
        band.set_gid(f"panel-{number}-band-{place}")
        bands.append({"id": band.get_gid(), "entry": _only(band, colours)})
    return {
        "id": f"panel-{number}",
        "title": axes.get_title(),
        "labels": [_label(axes, side) for side in "xy"],
        "limits": [[float(end) for end in limits] for limits in (axes.get_xlim(), axes.get_ylim())],
        "log": [axes.get_xscale() == "log", axes.get_yscale() == "log"],
        "names": _names(axes.xaxis),
        "lines": lines,
        "bands": bands,
    }


def _numbers(axes: Any, line: Any) -> dict[str, list[float]]:
    """A line's points: `x` and `y`, of one that goes across the panel only a `y`, of one from top to bottom nothing."""
    along, up = line.get_transform().contains_branch_seperately(axes.transData)
    x, y = (list(map(float, line.get_data(orig=False)[side])) for side in (0, 1))
    if along and up:
        points = [(_short(a), _short(b)) for a, b in zip(x, y, strict=True) if math.isfinite(a + b)]
        return {"x": [a for a, _ in points], "y": [b for _, b in points]}
    return {"x": [], "y": [_short(y[0])] if up and len(set(y)) == 1 else []}


def _names(axis: Any) -> dict[str, str]:
    """What the ticks of an axis of names say, by their places; nothing for an axis of numbers."""
    if type(axis.get_major_formatter()).__name__ not in ("FuncFormatter", "FixedFormatter", "StrCategoryFormatter"):
        return {}
    ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
    texts = {f"{_short(float(place)):g}": tick.get_text() for place, tick in ticks}
    return {} if all(map(_is_number, texts.values())) else texts


def _label(axes: Any, side: str) -> str:
    """The label of an axis, where it has none, that of a panel which shares it, or of the whole figure."""
    shared = getattr(axes, f"get_shared_{side}_axes")().get_siblings(axes)
    labels = [getattr(other, f"get_{side}label")() for other in [axes, *shared]]
    return next(filter(None, [*labels, getattr(axes.figure, f"get_sup{side}label")()]), side)


def _only(artist: Any, colours: dict[str, set[str]]) -> str | None:
    """The one entry of the legend that has the colour of an artist; None where there is no such one."""
    mine = _colours([artist])
    found = [name for name, known in colours.items() if mine & known]
    return found[0] if len(found) == 1 else None


def _colours(artists: Iterable[Any]) -> set[str]:
    """The colours of artists, of those without any ink nothing."""
    from matplotlib.colors import to_hex, to_rgba_array  # here, where there is a figure

    found = set()
    for artist in filter(None, artists):
        given = next(
            (getattr(artist, name)() for name in ("get_color", "get_facecolor") if hasattr(artist, name)), "none"
        )
        found |= {to_hex(colour) for colour in to_rgba_array(given) if colour[3]}
    return found


def _is_number(text: str) -> bool:
    try:
        float(text.replace("\N{MINUS SIGN}", "-").replace(",", "").rstrip("% "))
    except ValueError:
        return not text
    return True


def _short(number: float) -> float:
    """Six digits of a number; a whole one as such."""
    short = float(f"{number:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
