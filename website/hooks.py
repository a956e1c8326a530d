"""What MkDocs calls while it builds: each event goes to the module of its subject."""

from __future__ import annotations

import pathlib
import re

from website import formulas, gallery, includes, links, tutorials
from website.reference import Reference

ROOT = pathlib.Path(__file__).parent.parent
OPTIONAL = {"Benchmarks": "benchmarks.md"}  # pages that are made by another command, and may be absent

reference = Reference()


def on_config(config):
    """Add to the navigation the optional pages that are there, beside the page on accuracy."""
    pages = next(entry["Accuracy"] for entry in config.nav if "Accuracy" in entry)
    pages += [{title: page} for title, page in OPTIONAL.items() if (ROOT / "docs" / page).exists()]
    return config


def on_files(files, config):
    """Add the notebook of each tutorial, the figures that are drawn, and the font of formulas."""
    for file in [*tutorials.notebooks(config), *gallery.figures(config), formulas.font(config)]:
        files.append(file)
    return files


def on_page_markdown(markdown, page, config, files):
    """Put what `[[...]]` names into the text, and mark examples with prompts as such."""
    if page.file.src_uri == "gallery.md":
        markdown = gallery.complete(markdown)
    markdown = includes.expand(markdown, page.file.src_uri, reference)
    return re.sub(r"^( *)```python\n(?= *>>> )", r"\1```pycon\n", markdown, flags=re.MULTILINE)


def on_page_content(html, page, config, files):
    """Draw formulas, and link the names of functions and of files."""
    return links.link(formulas.draw(html, page.file.src_uri), page, files, reference)


def on_env(env, config, files):
    """Say which public names have no docstring, and which have no page."""
    reference.check()
    return env
