"""Tables beside a figure: Markdown, rounded for reading, and CSV with every digit."""

from __future__ import annotations

import csv
import io
import pathlib
from typing import Any


def write(folder: pathlib.Path, name: str, rows: list[dict[str, Any]], rule: str | None) -> None:
    """Write the rows as NAME.md and NAME.csv, print the Markdown, and say where they are."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if rule:
        text += f"\n\n{rule}"
    print(f"\n{text}\n")
    full = io.StringIO(newline="")
    writer = csv.DictWriter(full, columns)
    writer.writeheader()
    writer.writerows(rows)
    # The Markdown comes first. It names the author of both files, so a run killed in between does not block the next.
    for extension, content in (("md", f"{text}\n\n{_mark(name)}\n"), ("csv", full.getvalue())):
        path = folder / f"{name}.{extension}"
        path.write_text(content, encoding="utf-8", newline="")
        print(path)


def check_replaceable(folder: pathlib.Path, name: str) -> None:
    """Raise if a table would be written over that this analysis did not write. Called before any long work."""
    markdown, table = (folder / f"{name}.{extension}" for extension in ("md", "csv"))
    if markdown.is_file() and markdown.read_text(encoding="utf-8", errors="replace").rstrip().endswith(_mark(name)):
        return
    for path in (markdown, table):
        if path.exists():
            raise ValueError(f"output: {path} exists and was not written by this analysis. Choose another --output.")


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", r"\|").replace("\n", " ")


def _mark(name: str) -> str:
    """Return the last line of a table's Markdown, which names its author."""
    return f"<!-- written by analyses.{name}, and replaced by it; {name}.csv has every digit -->"
