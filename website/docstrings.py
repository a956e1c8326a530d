"""Docstrings as the reference shows them: examples as code, and `Returns: in one sentence` as a paragraph."""

from __future__ import annotations

import re

import griffe

EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)", re.MULTILINE)
SENTENCE = re.compile(
    r"^(Returns|Raises|Yields|Cost|References|Accuracy|Example|Note): +(\S.*(?:\n +\S.*)*)", re.MULTILINE
)
ROLE = re.compile(r":(?:func|class|meth|mod|attr):`([^`]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj, **kwargs) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """Return a docstring with its examples in fences.

    >>> rewritten("Return it.\\n\\nReturns: see :func:`other`,\\n    and more.\\n\\n>>> 1 + 1\\n2").splitlines()
    ['Return it.', '', '**Returns**: see `other`, and more.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    text = ROLE.sub(r"`\1`", text)
    text = SENTENCE.sub(lambda match: f"**{match[1]}**: {' '.join(match[2].split())}", text)
    return EXAMPLE.sub(_fenced, text).rstrip()


def _fenced(match: re.Match[str]) -> str:
    lines = match[0].rstrip("\n").split("\n")
    indent = " " * (len(lines[0]) - len(lines[0].lstrip()))
    return "\n".join([f"{indent}```pycon", *lines, f"{indent}```", ""])
