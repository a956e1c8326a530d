"""A report in a few words, and as a small table for a notebook. The whole page is `jaxsat/probing/page.py`."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from jaxsat.probing.finding import Finding
from jaxsat.probing.report_table import table_rows
from jaxsat.probing.sites import Site

MOST_ROWS = 30


def in_numbers(sites: Sequence[Site], findings: Sequence[Finding], loss: float) -> str:
    """Return how many sites and findings there are, and the loss: '3 sites, 1 finding, loss 0.5'."""
    count = len({site.path for site in sites})
    words = [
        f"{count} site{'' if count == 1 else 's'}",
        f"{len(findings)} finding{'' if len(findings) == 1 else 's'}",
        "no loss" if math.isnan(loss) and not findings else f"loss {loss:.4g}",
    ]
    return ", ".join(words)


def summary_of(sites: Sequence[Site], findings: Sequence[Finding], notes: Sequence[str], loss: float) -> str:
    """Return the findings and the first rows of the table as HTML. All text is escaped."""
    heading, *rows = table_rows(sites, findings)
    body = "".join(_row(row, "td") for row in rows[:MOST_ROWS])
    left = len(rows) - MOST_ROWS
    more = f"<p>{left} more rows: print(report), or report.save_html(path)</p>" if left > 0 else ""
    found = "".join(f"<li>{html.escape(str(finding))}</li>" for finding in findings) or "<li>No findings.</li>"
    return (
        f"<div><p>Report: {html.escape(in_numbers(sites, findings, loss))}</p>"
        f'<ul style="white-space: pre-line">{found}</ul>'
        f"{''.join(f'<p>Note: {html.escape(note)}</p>' for note in notes)}"
        f"<table><thead>{_row(heading, 'th')}</thead><tbody>{body}</tbody></table>{more}</div>"
    )


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
