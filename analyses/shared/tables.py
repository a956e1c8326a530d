"""Tables beside a figure: Markdown, rounded for reading, and CSV with every digit."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import Any


def markdown(rows: Sequence[dict[str, Any]], rule: str | None) -> str:
    """Return rows as Markdown, with the rule by which they were made below them."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{rule}" if rule else text


def write(folder: pathlib.Path, name: str, author: str, text: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write text as NAME.md and rows as NAME.csv, and say where they are."""
    # The Markdown comes first. It names the author of both files, so a run killed in between does not block the next.
    files = {"md": f"{text}\n\n{_mark(author)}\n"}
    if rows:
        full = io.StringIO(newline="")
        writer = csv.DictWriter(full, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        files["csv"] = full.getvalue()
    for extension, content in files.items():
        path = folder / f"{name}.{extension}"
        path.write_text(content, encoding="utf-8", newline="")
        print(path)


def check_replaceable(folder: pathlib.Path, name: str, author: str) -> None:
    """Raise if a table would be written over that this analysis did not write. Called before any long work."""
    markdown, *tables = (folder / f"{name}{ending}" for ending in (".md", ".csv", "_data.csv"))
    if markdown.is_file() and markdown.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-1:] == [
        _mark(author)
    ]:
        return
    for path in (markdown, *tables):
        if path.exists():
            raise ValueError(f"output: {path} exists and was not written by this analysis. Choose another --output.")


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", r"\|").replace("\n", " ")


def _mark(author: str) -> str:
    """Return the last line of a Markdown file, which names its author."""
    return f"<!-- written by analyses.{author}, and replaced by it -->"
