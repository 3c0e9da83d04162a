"""TeX as Typst, for all formulas of a book in one run of pandoc."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from typing import Any

from benchbook.errors import BookError


def converted(formulas: Iterable[tuple[str, bool]], macros: dict[str, Any]) -> list[str]:
    """Each formula (its TeX, and whether it is displayed) as Typst between dollar signs; '' for one that fails.

    `macros` are those of MathJax's configuration: name to body, or to body and number of arguments.
    """
    blocks: list[dict[str, Any]] = []
    for tex, displayed in formulas:
        kind = {"t": "DisplayMath" if displayed else "InlineMath"}
        blocks.append({"t": "Para", "c": [{"t": "Math", "c": [kind, _prepared(tex, macros)]}]})
        blocks.append({"t": "RawBlock", "c": ["typst", "// next"]})
    written = [typst.strip() for typst in _pandoc(blocks).split("// next")[: len(blocks) // 2]]
    return [_polished(typst) if typst.startswith("$") else "" for typst in written]


def _prepared(tex: str, macros: dict[str, Any]) -> str:
    """TeX with the book's own macros defined before it, and what pandoc would lose or garble written differently."""
    left = dict(macros)
    while used := [name for name in left if re.search(rf"\\{name}(?![a-zA-Z])", tex)]:  # also by other macros
        for name in used:
            macro = left.pop(name)
            body, arguments = (macro[0], f"[{macro[1]}]") if isinstance(macro, list) else (macro, "")
            tex = rf"\newcommand{{\{name}}}{arguments}{{{body}}} {tex}"
    tex = re.sub(r"(?<!\\)\\\|(.+?)(?<!\\)\\\|", r"\\lVert \1\\rVert ", tex)  # a norm's bars are no relations
    tex = re.sub(r"\\[bB]igg?[lr](?=\\[lr]vert\b)", "", tex)
    tex = re.sub(r"\\lvert\b(.+?)\\rvert\b", r"\\left|\1\\right|", tex)
    fences = {"": "", "l": "", "r": ""} if r"\\" in tex else {"": "", "l": r"\left", "r": r"\right"}
    tex = re.sub(r"\\[bB]igg?([lr]?)(?![a-zA-Z])", lambda size: fences[size[1]], tex)
    tex = tex.replace(r"\operatorname*{", r"\operatorname{*").replace("{,}", r"\text{,}")
    return re.sub(r"\\begin\{cases\}(.*?)\\end\{cases\}", _columned, tex)


def _columned(cases: re.Match[str]) -> str:
    """Cases with room between their two columns, which pandoc needs to see the cases at all."""
    if "&" in cases[0]:
        return cases[0].replace("&", r"&\quad ")
    return cases[0].replace(r"\\", r"& \\").replace(r"\end", r"& \end")


def _polished(typst: str) -> str:
    """pandoc's Typst with real operators, today's names of signs, and the spaces that it rounds to whole ems."""
    typst = re.sub(r'([a-z]+\(|delim: )?"(\*?)((?:[^"\\]|\\.)*)"', _operator, typst.strip())
    typst = re.sub(r"\b(dot|times|plus|minus)\.circle\b", r"\1.o", typst)
    typst = re.sub(r"\bsect\b", "inter", typst)
    typst = typst.replace("#h(0em)", "thick").replace("#h(-1em)", "#h(-0.167em)")
    return typst.replace(r'") \(', r'")\(').replace(' upright(",") ', '","')


def _operator(text: re.Match[str]) -> str:
    if text[1] in ("upright(", "bold(", "italic(", "sans(", "mono(", "delim: "):
        return text[0]
    return f'{text[1] or ""}op("{text[3]}"{", limits: #true" if text[2] else ""})'


def _pandoc(blocks: list[dict[str, Any]]) -> str:
    """Typst for pandoc's own form of a document."""
    import pypandoc

    document = json.dumps({"pandoc-api-version": [1, 23], "meta": {}, "blocks": blocks})
    command = [pypandoc.get_pandoc_path(), "--from=json", "--to=typst", "--wrap=none", "--quiet"]
    done = subprocess.run(command, input=document, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise BookError(f"PDF: pandoc failed: {' '.join(done.stderr.split())}")
    return done.stdout
