"""How a figure is laid out: panels in a paper's column or over its page, the finding above them, a short footnote below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpec
from matplotlib.textpath import text_to_path

from jaxsat.results import plotting

if TYPE_CHECKING:
    from analyses.shared.command import Output

WIDTHS = {"column": plotting.COLUMN, "page": plotting.PAGE}
MOST_PANELS, FOOTNOTE_LINES = 6, 2
SLIDE_LETTERS, SLIDE_LINES = 1.2, 1.4  # of a slide, over those of a paper
MARGIN, LEGEND_LINE = 0.02, 0.15  # inches


class Sheet(Figure):
    """A figure whose `rows` are room for the title, the panels, and room for the footnote."""

    rows: GridSpec


@contextmanager
def style(options: Output) -> Iterator[None]:
    """Set the style of the figures inside a with block: of a paper, or of a slide with larger letters and thicker lines."""
    slide = options.style == "slide"
    larger = {"font.size": SLIDE_LETTERS * plotting.STYLE["font.size"]}
    thicker = {key: SLIDE_LINES * plotting.STYLE[key] for key in ("lines.linewidth", "lines.markersize")}
    with plotting.style(), mpl.rc_context(larger | thicker if slide else {}):
        yield


def narrow(options: Output) -> bool:
    """Return whether a figure must fit into the column of a paper."""
    return options.figure_width == "column"


def panels(
    options: Output, count: int, tall: float = 1.0, most: int | None = None, below: int = 0
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


def height(options: Output, columns: int) -> float:
    """Return the usual height of a panel, in inches, with so many panels in a row."""
    return min(0.6 * WIDTHS[options.figure_width] / columns + 0.4, 2.8 if columns == 1 else 2.2)


def empty(options: Output, high: float) -> SubFigure:
    """Return a figure of the wanted width without panels, between room for a title above and a footnote below."""
    whole = plt.figure(figsize=(WIDTHS[options.figure_width], high), layout="constrained", FigureClass=Sheet)
    assert isinstance(whole, Sheet)
    whole.rows = whole.add_gridspec(3, 1, hspace=0)
    return whole.add_subfigure(whole.rows[1])


def letters(axes: Sequence[Axes]) -> None:
    """Letter panels at their upper left corner, above the axis, where a title leaves room."""
    for i, ax in enumerate(axes):
        place = ax.get_subplotspec()
        cells = len(place.colspan) / place.get_gridspec().ncols if place is not None else 1.0
        ax.set_title(chr(ord("a") + i), loc="left", x=-0.07 / cells, fontweight="bold")


def finish(figure: SubFigure, options: Output, title: str, footnote: Sequence[str]) -> Figure:
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
