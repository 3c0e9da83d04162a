"""TeX as Typst."""

from __future__ import annotations

import pytest
import typst

from benchbook.formulas import converted

MACROS = {"R": r"\mathbb{R}", "Rn": r"\R^n", "ball": [r"\norm{#1} \in \Rn", 1], "norm": [r"\lVert #1 \rVert", 1]}
FORMULAS = {
    r"\R^n": "$bb(R)^n$",
    r"\Rn": "$bb(R)^n$",
    r"\ball{x}": "$lr(bar.v.double x bar.v.double) in bb(R)^n$",
    r"\norm{x}_2": "$lr(bar.v.double x bar.v.double)_2$",
    r"\|x\|_2": "$lr(bar.v.double x bar.v.double)_2$",
    r"\lvert x \rvert": "$lr(|x|)$",
    r"\operatorname{softmax}(x)": r'$op("softmax")\( x \)$',
    r"\operatorname*{arg\,max}_k": '$op("arg\u2006max", limits: #true)_k$',
    r"a\;b\!c": "$a thick b #h(-0.167em) c$",
    r"1{,}000": '$1","000$',
    r"\text{say } x": '$upright("say ") x$',
    r"\begin{cases} 1 & x \\ 0 \end{cases}": '$cases(delim: "{", 1 & quad x, 0)$',
    r"\begin{cases} 1 \\ 0 \end{cases}": '$cases(delim: "{", 1 & , 0 & )$',
    r"\Bigl( \tfrac12 \Bigr)": r"$(1 / 2)$",
}
COMPILED = [
    r"\frac{|\hat Y \cap Y|}{|\hat Y \cup Y|}",
    r"a \odot b \otimes c \oplus d",
    r"\bigl\lvert \{ i : a_i = 1 \} \bigr\rvert",
    r"\begin{split}\begin{aligned} a &= \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} \\ &= b \end{aligned}\end{split}",
    r"\nabla_\theta \mathcal{L} = \frac{1}{N} \sum_{i=1}^{N} \nabla_\theta \ell\left(f_\theta(x_i), y_i\right)",
    r"\underbrace{e + f}_{\text{both}} \overset{!}{=} \sqrt[3]{x} \xrightarrow{n \to \infty} \hat{\mathbf{y}}",
    r"\begin{align*} \bigl( a &+ b \\ &+ c \bigr) \end{align*}",
    r"\mathtt{conv2d}, \mathrm{ReLU}(x) = \max(0, x), \left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1",
]


@pytest.fixture(scope="module")
def converted_formulas() -> dict[str, str]:
    formulas = [*FORMULAS, *COMPILED]
    return dict(zip(formulas, converted([(tex, tex in COMPILED) for tex in formulas], MACROS), strict=True))


@pytest.mark.parametrize("tex", FORMULAS)
def test_what_pandoc_garbles_is_put_right(converted_formulas, tex):
    """Macros, norms, operators, thin spaces, digit groups, cases and big fences arrive as TeX means them."""
    assert converted_formulas[tex] == FORMULAS[tex]


@pytest.mark.parametrize("tex", [*FORMULAS, *COMPILED])
def test_every_conversion_is_valid_typst(converted_formulas, tex):
    """What is converted compiles."""
    assert converted_formulas[tex].startswith("$")
    assert typst.compile(converted_formulas[tex].encode())


def test_a_formula_that_fails_is_empty_and_spoils_no_other():
    """An unknown command gives '', and the formulas around it keep their places."""
    assert converted([("x", False), (r"\unknown{y}", False), ("z", True)], {}) == ["$x$", "", "$ z $"]
    assert converted([], {}) == []
