"""Formulas as MathML, which browsers draw themselves: no script, no font, no network."""

from __future__ import annotations

import html
import logging
import re

from latex2mathml.converter import convert
from latex2mathml.exceptions import NoAvailableTokensError

log = logging.getLogger("mkdocs.jaxsat.formulas")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def draw(page: str, uri: str) -> str:
    """Return the HTML of a page with MathML for each formula in LaTeX."""

    def drawn(match: re.Match[str]) -> str:
        tag, bracket, latex = match.groups()
        display = "block" if bracket == "[" else "inline"
        try:
            return f'<{tag} class="formula">{convert(html.unescape(latex).strip(), display=display)}</{tag}>'
        except (NoAvailableTokensError, Exception) as error:
            log.warning(f"{uri}: the formula {latex.strip()!r} cannot be read: {type(error).__name__} {error}")
            return match[0]

    return FORMULA.sub(drawn, page)
