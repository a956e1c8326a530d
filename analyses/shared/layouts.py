"""How a figure is laid out: panels in a paper's column or over its page, the finding above them, a short footnote below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpec
from matplotlib.textpath import text_to_path

from jaxsat.results import drawing

WIDTHS = {"column": drawing.COLUMN, "page": drawing.PAGE}
MOST_PANELS, FOOTNOTE_LINES = 6, 2
SLIDE_LETTERS, SLIDE_LINES = 1.2, 1.4  # of a slide, over those of a paper
MARGIN, LEGEND_LINE = 0.02, 0.15  # inches
SIDE = 0.04  # inches left free on either side: labels of ticks are known only after the layout


class Form(Protocol):
    """What the options of an analysis say of the form of its figures."""

    @property
    def figure_width(self) -> str: ...

    @property
    def style(self) -> str: ...


class Sheet(Figure):
    """A figure whose `rows` are room for the title, the panels, and room for the footnote."""

    rows: GridSpec


@contextmanager
def style(options: Form) -> Iterator[None]:
    """Set the style of the figures inside a with block: of a paper, or of a slide with larger letters and thicker lines."""
    changes: dict[Any, Any] = {}
    if options.style == "slide":
        changes["font.size"] = letter_size(options) * drawing.STYLE["font.size"]
        changes |= {key: SLIDE_LINES * drawing.STYLE[key] for key in ("lines.linewidth", "lines.markersize")}
    with drawing.style(), mpl.rc_context(changes):
        yield


def narrow(options: Form) -> bool:
    """Return whether a figure must fit into the column of a paper."""
    return options.figure_width == "column"


def figure_width(options: Form) -> float:
    """Return the width of a figure in inches. A narrow figure of a slide is wider than a column, as its letters are."""
    return WIDTHS[options.figure_width] * (letter_size(options) if narrow(options) else 1.0)


def letter_size(options: Form) -> float:
    """Return the size of letters over that of a paper."""
    return SLIDE_LETTERS if options.style == "slide" else 1.0


def panels(
    options: Form, count: int, tall: float = 1.0, most: int | None = None, below: int = 0
) -> tuple[SubFigure, list[Axes]]:
    """Return a figure with panels: two in a row in a column, at most three in a row on a page.

    Where panels do not fill the rows, the first is wider.

    Args:
        options: say how wide the figure is.
        count: of panels, at most six.
        tall: height of a panel, in units of the usual height.
        most: panels in a row, if not the usual number.
        below: lines of a legend below the panels.
    """
    columns = most or (min(count, 2) if narrow(options) or count == 4 else min(count, 3))
    rows = -(-count // columns)
    figure = empty(options, tall * rows * height(options, columns) + LEGEND_LINE * below)
    grid = figure.add_gridspec(rows, columns)
    left_over = rows * columns - count
    places = [divmod(i + left_over, columns) for i in range(1, count)]
    first = grid[0, : left_over + 1]
    return figure, [figure.add_subplot(first), *(figure.add_subplot(grid[row, at]) for row, at in places)]


def height(options: Form, columns: int) -> float:
    """Return the usual height of a panel, in inches, for this number of panels in a row."""
    return min(0.6 * figure_width(options) / columns + 0.4, 2.8 if columns == 1 else 2.2)


def empty(options: Form, high: float) -> SubFigure:
    """Return a figure of the wanted width without panels, between room for a title above and a footnote below."""
    whole = plt.figure(figsize=(figure_width(options), high), layout="constrained", FigureClass=Sheet)
    assert isinstance(whole, Sheet)
    whole.rows = whole.add_gridspec(3, 1, hspace=0)
    return whole.add_subfigure(whole.rows[1])


def letters(axes: Sequence[Axes]) -> None:
    """Letter panels at their upper left corner, above the axis, where a title leaves room."""
    for i, ax in enumerate(axes):
        place = ax.get_subplotspec()
        cells = len(place.colspan) / place.get_gridspec().ncols if place is not None else 1.0
        ax.set_title(chr(ord("a") + i), loc="left", x=-0.07 / cells, fontweight="bold")


def finish(figure: SubFigure, options: Form, title: str, footnote: Sequence[str]) -> Figure:
    """Write the title above the panels and two lines of footnote below them; return the whole, which grows by them.

    Args:
        figure: with its panels.
        options: a slide has no footnote.
        title: the finding.
        footnote: sentences, the most important first. What does not fit is in the caption beside the figure only.
    """
    whole = figure.figure
    assert isinstance(whole, Sheet)
    width, high = whole.get_size_inches()
    above = _wrapped(title, _points("medium"), width, weight="bold")
    below = [] if options.style == "slide" else _fitting(footnote, _points("small"), width)
    up, down = (
        1.25 * _points(size) / 72 * len(lines) + 2 * MARGIN for size, lines in (("medium", above), ("small", below))
    )
    total = high + up + down
    whole.set_size_inches(width, total)
    whole.rows.set_height_ratios([up, high, down])
    engine: Any = whole.get_layout_engine()
    engine.set(rect=(SIDE / width, 0, 1 - 2 * SIDE / width, 1))
    at: dict[str, Any] = {"x": MARGIN / width, "ha": "left", "linespacing": 1.1}
    whole.text(y=1 - MARGIN / total, s="\n".join(above), va="top", size="medium", weight="bold", **at)
    whole.text(y=MARGIN / total, s="\n".join(below), va="bottom", size="small", color="0.3", **at)
    return whole


def _points(size: str) -> float:
    return font_manager.font_scalings[size] * mpl.rcParams["font.size"]


def _fitting(sentences: Sequence[str], size: float, width: float) -> list[str]:
    """Return as many sentences, from the first on, as fit into the lines of a footnote."""
    lines: list[str] = []
    for count in range(1, len(sentences) + 1):
        wrapped = _wrapped(" ".join(sentences[:count]), size, width)
        if len(wrapped) > FOOTNOTE_LINES:
            break
        lines = wrapped
    return lines


def _wrapped(text: str, size: float, width: float, **font: Any) -> list[str]:
    """Return text in lines that are at most as wide as the figure."""
    properties = font_manager.FontProperties(size=size, **font)

    def wide(words: list[str]) -> float:  # inches
        return text_to_path.get_text_width_height_descent(" ".join(words), properties, ismath=False)[0] / 72

    lines: list[list[str]] = [[]]
    for word in text.replace(" %", "\xa0%").split(" "):
        if lines[-1] and wide([*lines[-1], word]) > 0.97 * width - 2 * MARGIN:  # letters on a screen are a little wider
            lines.append([])
        lines[-1].append(word)
    return [" ".join(line) for line in lines if line]
