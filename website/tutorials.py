"""Tutorials as pages and as notebooks. They are scripts; `website/run_tutorial.py` has run them before."""

from __future__ import annotations

import json
import logging
import pathlib
import re

import jupytext
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
SCRIPTS, RAN = ROOT / "docs" / "tutorials", ROOT / "build" / "tutorials"
log = logging.getLogger("mkdocs.jaxsat.tutorials")


def notebooks(config) -> list[File]:
    """Return a notebook, without outputs, for each tutorial."""
    found = []
    for script in sorted(SCRIPTS.glob("*.py")):
        notebook = jupytext.writes(jupytext.read(script), fmt="ipynb")
        found.append(File.generated(config, f"tutorials/{script.stem}.ipynb", content=notebook))
    return found


def markdown_of(name: str) -> str:
    """Return a tutorial as Markdown: its text, its code, and what the code shows."""
    ran = RAN / f"{name}.json"
    if not ran.exists():
        log.warning(f"the tutorial {name} has not been run: `make docs` does that")
        return ""
    cells = json.loads(ran.read_text(encoding="utf-8"))
    head = f"[Script]({name}.py){{ .md-button download }} [Notebook]({name}.ipynb){{ .md-button download }}"
    title, _, rest = cells[0]["source"].partition("\n")
    return "\n\n".join([title, head, rest.strip(), *(text for cell in cells[1:] for text in _parts(cell))])


def _parts(cell) -> list[str]:
    if cell["kind"] == "text":
        return [cell["source"]]
    parts = [f"```python\n{cell['source']}\n```"]
    if cell["printed"]:
        parts.append(f"```{{ .text .output }}\n{cell['printed'].rstrip()}\n```")
    if cell["html"]:
        parts.append(f'<div class="output">{_one_block(cell["html"])}</div>')
    return parts + [f'<img alt="" src="data:image/png;base64,{data}">' for data in cell["figures"]]


def _one_block(html: str) -> str:
    """Return HTML without empty lines, which would end the block for Markdown."""
    return re.sub(r"\n\s*\n", "\n", html)
