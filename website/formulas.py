"""Formulas as MathML, which browsers draw themselves, with a mathematical font that the site brings along. No script."""

from __future__ import annotations

import html
import io
import logging
import re
from importlib import resources

from fontTools import subset
from latex2mathml.converter import convert
from mkdocs.structure.files import File

log = logging.getLogger("mkdocs.jaxsat.formulas")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)

FONT = "fonts/STIXTwoMath-Regular.ttf"  # of the package ziamath; under the SIL Open Font License 1.1
LETTERS = [
    *range(0x20, 0x7F), *range(0xA0, 0x100), *range(0x370, 0x400), *range(0x2010, 0x2070), *range(0x2100, 0x2200),
    *range(0x2200, 0x2300), *range(0x27E6, 0x27F0), *range(0x1D400, 0x1D800),
]  # fmt: skip


def font(config) -> File:
    """Return the font with the letters and signs of formulas only: a tenth of its size."""
    options = subset.Options(layout_features=["*"], flavor="woff2", drop_tables=["DSIG"])
    with resources.files("ziamath").joinpath(FONT).open("rb") as whole:
        loaded = subset.load_font(whole, options)
        maker = subset.Subsetter(options)
        maker.populate(unicodes=LETTERS)
        maker.subset(loaded)
        out = io.BytesIO()
        subset.save_font(loaded, out, options)
    return File.generated(config, "assets/stix-two-math.woff2", content=out.getvalue())


def draw(page: str, uri: str) -> str:
    """Return the HTML of a page with MathML for each formula in LaTeX."""

    def drawn(match: re.Match[str]) -> str:
        tag, bracket, latex = match.groups()
        display = "block" if bracket == "[" else "inline"
        try:
            drawing = convert(html.unescape(latex).strip(), display=display)
        except Exception as error:  # whatever the converter cannot read
            log.warning(f"{uri}: the formula {latex.strip()!r} cannot be read: {type(error).__name__} {error}")
            return match[0]
        if unknown := re.search(r"\\[A-Za-z]+", drawing):
            log.warning(f"{uri}: the formula {latex.strip()!r} has an unknown command, {unknown[0]}")
        return f'<{tag} class="formula">{drawing}</{tag}>'

    return FORMULA.sub(drawn, page)
