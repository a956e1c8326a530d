"""Names in code font become links: functions lead to the reference, files to their pages."""

from __future__ import annotations

import html
import re

from mkdocs.utils import get_relative_url

from website.reference import Reference

SKIPPED = r"<(a|pre|h1|autoref|autoref-hook)\b.*?</\1>"
NAME = r"<code>(?P<name>[A-Za-z_][\w.]*)(?P<call>\([^<]*\))?</code>"
EITHER = re.compile(f"{SKIPPED}|{NAME}", re.DOTALL)
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
PAGES["ARCHITECTURE.md"] = "architecture.md"
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
FILE = re.compile(r"<code>([\w/]+\.md)</code>")


def link(page_html: str, page, files, reference: Reference) -> str:
    """Return the HTML of a page with a link at each public name, and at each file that is a page."""
    known = names_of(reference, alone=page.file.src_uri.startswith("reference/"))

    def to_reference(match: re.Match[str]) -> str:
        path = known.get(match["name"] or "")
        if path is None:
            return match[0]
        return f'<autoref identifier="{html.escape(path)}" optional>{match[0]}</autoref>'

    def to_page(match: re.Match[str]) -> str:
        uri = PAGES.get(match[1], match[1].removeprefix("docs/"))
        file = files.get_file_from_path(uri)
        if file is None or file is page.file:
            return match[0]
        return f'<a href="{get_relative_url(file.url, page.file.url)}">{match[0]}</a>'

    return TABLE.sub(_with_breaks, FILE.sub(to_page, EITHER.sub(to_reference, page_html)))


def _with_breaks(table: re.Match[str]) -> str:
    """Return a table in which long names may be broken, after a dot or an underscore only."""
    return re.sub(r"(?<=<code>)[^<]+", lambda name: re.sub(r"(?<=\w[._])(?=\w)", "<wbr>", name[0]), table[0])


def names_of(reference: Reference, alone: bool) -> dict[str, str]:
    """Return where each way to write a public name leads: whole, without `jaxsat.`, and, in docstrings, the last part alone.

    The last part alone leads somewhere only if no two names end in it.
    """
    owners = {path.rpartition(".")[0] for path in reference.paths.values()}
    found = reference.paths | {owner: owner for owner in owners if owner.count(".") == 1}  # modules: their headings
    by_last: dict[str, list[str]] = {}
    for path in reference.paths.values():
        found[path] = found[path.removeprefix("jaxsat.")] = path
        last = path.rpartition(".")[2]
        if "_" in last or not last.islower():
            by_last.setdefault(last, []).append(path)
    single = {last: paths[0] for last, paths in by_last.items() if len(paths) == 1} if alone else {}
    return single | found
