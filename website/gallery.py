"""The gallery: to each figure its question, its command and its dataset; and what `make gallery` has drawn, where it has.

The text of a figure stands in docs/gallery.md, under its name. A figure that is drawn lies in figures/, as NAME.png, with its
finding, caption and numbers in NAME.md beside it.
"""

from __future__ import annotations

import logging
import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
DRAWN = ROOT / "figures"
log = logging.getLogger("mkdocs.jaxsat.gallery")
ROW = re.compile(r"^\| (.+\?) \| `(\w+)` \|$", re.MULTILINE)


def figures(config) -> list[File]:
    """Return the figures that are drawn, as files of the site."""
    found = sorted(DRAWN.glob("*.png"))
    for path in found:
        if not path.with_suffix(".md").exists():
            log.warning(f"figures/{path.name} has no caption: {path.stem}.md is not beside it")
    return [File.generated(config, f"drawn/{path.name}", abs_src_path=str(path)) for path in found]


def complete(markdown: str) -> str:
    """Return the gallery with a section for each analysis of its table."""
    head, *sections = re.split(r"^(?=### )", markdown, flags=re.MULTILINE)
    by_name = {re.match(r"### (\w+)", section)[1]: section.rstrip() for section in sections}  # type: ignore[index]
    questions = {name: question for question, name in ROW.findall(head)}
    head = ROW.sub(r"| \1 | [`\2`](#\2) |", head)
    order = [*questions, *(name for name in by_name if name not in questions)]
    return "\n\n".join([head.rstrip(), *(_section(name, by_name.get(name), questions.get(name)) for name in order)])


def _section(name: str, text: str | None, question: str | None) -> str:
    heading, _, rest = (text or f"### {name}").partition("\n")
    drawn = DRAWN / f"{name}.md"
    parts = [f"{heading} {{ #{name} }}"]
    if question:
        parts.append(f"*{question}*")
    if (DRAWN / f"{name}.png").exists():
        finding = drawn.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") if drawn.exists() else ""
        rest = re.sub(r"^!\[.*\]\(.*\)$", "", rest, flags=re.MULTILINE)
        parts += [f"**{finding}**" if finding else "", f"![{finding or name}](drawn/{name}.png)"]
    parts += [rest.strip(), f"Command: `python -m analyses.{name}`. Dataset: `figures/{name}.zarr`."]
    if drawn.exists():
        parts.append(_folded(drawn.read_text(encoding="utf-8")))
    return "\n\n".join(part for part in parts if part)


def _folded(text: str) -> str:
    """Return what stands beside a figure, without title and image, under a line that unfolds it."""
    body = re.sub(r"\A# .*\n+(?:!\[.*\]\(.*\)\n+)?", "", text)
    body = re.sub(r"^#+ (.*)$", r"**\1**", body, flags=re.MULTILINE)
    return '??? note "Caption, how it was made, and every number"\n\n' + re.sub(
        r"^(?=.)", "    ", body, flags=re.MULTILINE
    )
