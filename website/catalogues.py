"""Write the catalogues of activations and of measures as Markdown tables.

python -m website.catalogues build/catalogues
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from jaxsat import activations, measures


def activations_table() -> str:
    """Return a row for each activation: its formula, how it saturates, its largest slope."""
    rows = []
    for name in activations.names():
        phi = activations.get(name)
        rows.append((f"`{name}`", f"`{phi.formula}`", phi.left, phi.right, f"{phi.max_slope:.3g}", phi.reference))
    return _table(("name", "formula", "saturates at the left", "at the right", "largest slope", "source"), rows)


def measures_table() -> str:
    """Return a row for each measured variable: its measure, dimensions and unit."""
    rows = []
    for name in measures.names():
        for variable, labels in measures.get(name).variables.items():
            shown = f"`{name}`" if variable == name else f"`{name}`: `{variable}`"
            rows.append((shown, labels.long_name, ", ".join(labels.dims) or "none", labels.units))
    return _table(("measure", "what it is", "its own dimensions", "unit"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main(folder: str) -> None:
    """Write both tables into a folder."""
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "activations.md").write_text(activations_table(), encoding="utf-8")
    (target / "measures.md").write_text(measures_table(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
