"""Text that stands elsewhere: a line `[[...]]` in a page is replaced by what it names.

`[[README.md: code]]` is the first example of that file, `[[README.md: TITLE]]` the section of that title, `[[CHANGELOG.md]]` the whole
file; `[[reference: WING]]` the public names of a wing; `[[tutorial: NAME]]` a tutorial that has been run; `[[catalogue: NAME]]` a
table that `website/catalogues.py` has written.
"""

from __future__ import annotations

import logging
import pathlib
import re

from website import tutorials
from website.reference import Reference

ROOT = pathlib.Path(__file__).parent.parent
LINE = re.compile(r"^\[\[([\w.]+)(?:: (.+))?\]\]$", re.MULTILINE)
log = logging.getLogger("mkdocs.jaxsat.includes")


def expand(markdown: str, uri: str, reference: Reference) -> str:
    """Return the text of a page with everything that it names."""

    def replaced(match: re.Match[str]) -> str:
        name, part = match.groups()
        if name == "reference":
            return reference.show(part)
        if name == "tutorial":
            return tutorials.markdown_of(part)
        if name == "catalogue":
            return _catalogue(part)
        return _from_docs(part_of(name, part, uri))

    return LINE.sub(replaced, markdown)


def part_of(name: str, part: str | None, uri: str) -> str:
    """Return a file of the project, or the part of it that is named; a warning, and nothing, where it is not there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if part is None:
        return text
    form = r"^```python\n.*?^```$" if part == "code" else rf"^## {re.escape(part)}\n(.*?)(?=^## |\Z)"
    found = re.search(form, text, re.MULTILINE | re.DOTALL)
    if found is None:
        log.warning(f"{uri}: {name} has no '{part}'")
        return ""
    return found[found.lastindex or 0].strip()


def _catalogue(name: str) -> str:
    written = ROOT / "build" / "catalogues" / f"{name}.md"
    if not written.exists():
        log.warning(f"no catalogue of {name}: `make docs` writes it")
        return ""
    return written.read_text(encoding="utf-8")


def _from_docs(text: str) -> str:
    """Return the text with links as seen from docs/."""
    return re.sub(r"\]\(docs/", "](", text)
