"""Run a tutorial, and keep what each of its cells prints, returns and draws.

A tutorial is a script whose cells begin with `# %%`, or with `# %% [markdown]` where they are text in comments.

    python -m website.run_tutorial docs/tutorials/NAME.py build/tutorials/NAME.json
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import pathlib
import re
import sys
from typing import Any

import matplotlib.pyplot as plt


def cells_of(text: str) -> list[tuple[str, str]]:
    """Return the kind, 'text' or 'code', and the content of each cell.

    >>> cells_of("# %% [markdown]\\n# # Title\\n#\\n# Text.\\n\\n# %%\\nx = 1\\n")
    [('text', '# Title\\n\\nText.'), ('code', 'x = 1')]
    """
    found = []
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            found.append(
                ("text", "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().split("\n")))
            )
        else:
            found.append(("code", body.strip()))
    return found


def run(path: pathlib.Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what each cell shows, and the names that the script has made.

    Each cell is a dict: 'kind' and 'source'; of code also 'printed', 'html' (of its last expression, or None) and
    'figures' (PNG in base 64).
    """
    names: dict[str, Any] = {"__name__": path.stem}
    shown = []
    text, place = path.read_text(encoding="utf-8"), 0
    plt.close("all")  # a figure that somebody left open is of no cell
    for kind, source in cells_of(text):
        cell: dict[str, Any] = {"kind": kind, "source": source}
        place = text.index(source, place) if kind == "code" else place
        before = text[:place].count("\n")
        shown.append(cell | (_run_cell(source, str(path), names, before) if kind == "code" else {}))
    return shown, names


def _run_cell(source: str, path: str, names: dict[str, Any], before: int) -> dict[str, Any]:
    tree = ast.increment_lineno(ast.parse(source), before)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, path, "exec"), names)
        if last is not None and not source.rstrip().endswith(";"):
            value = eval(compile(ast.Expression(last.value), path, "eval"), names)
        rich = getattr(value, "_repr_html_", None)
        if value is not None and rich is None and "matplotlib" not in repr(value):
            print(repr(value))
    figures = [_png(plt.figure(number)) for number in plt.get_fignums()]
    plt.close("all")
    return {"printed": printed.getvalue(), "html": rich() if rich else None, "figures": figures}


def _png(figure) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=200)
    return base64.b64encode(out.getvalue()).decode()


def main(path: str, output: str) -> None:
    """Run one tutorial, and write what it shows as JSON."""
    plt.switch_backend("agg")
    shown, _ = run(pathlib.Path(path))
    target = pathlib.Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(shown), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
