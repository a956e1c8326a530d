"""How figures are laid out, whatever they show."""

import types

import pytest
from matplotlib import pyplot as plt

from analyses.shared import layouts, symbols
from jaxsat.results import drawing

PAPER = types.SimpleNamespace(figure_width="column", style="paper")
SLIDE = types.SimpleNamespace(figure_width="page", style="slide")
FINDING = (
    "A finding is a sentence, and where it is as long as this one it is written in several lines above the panels."
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def finished(options, footnote=("32 seeds.",), label="$x$", count=3):
    with layouts.style(options):
        figure, axes = layouts.panels(options, count)
        for ax in axes:
            ax.plot([0, 1])
            ax.set_xlabel(label)
        return layouts.finish(figure, options, FINDING, footnote), axes


def test_a_paper_has_a_title_and_two_lines_of_footnote_at_most():
    whole, _ = finished(PAPER, ("One sentence of some words. " * 4, "This is one that does not fit. " * 4))
    title, footnote = whole.texts
    assert title.get_text().replace("\n", " ") == FINDING
    assert "\n" in title.get_text()
    assert footnote.get_text().count("\n") == 1
    assert "does not fit" not in footnote.get_text()
    assert whole.get_size_inches()[0] == drawing.COLUMN
    seen = whole.get_tightbbox()
    assert seen.x1 < drawing.COLUMN


def test_a_slide_has_larger_letters_and_no_footnote():
    (small, _), (large, _) = finished(PAPER), finished(SLIDE)
    assert large.texts[1].get_text() == ""
    assert large.texts[0].get_fontsize() > 1.1 * small.texts[0].get_fontsize()


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 1), (3, 2), (5, 3), (6, 3)])
def test_panels_fill_their_rows_at_column_width(count, rows):
    whole, axes = finished(PAPER, count=count)
    whole.draw_without_rendering()
    right = [ax.get_position().x1 for ax in axes]
    assert len({round(ax.get_position().y0, 3) for ax in axes}) == rows
    assert sum(x > 0.9 for x in right) == rows  # each row goes to the end


def test_a_symbol_that_is_not_explained_is_refused():
    whole, _ = finished(PAPER, label=r"$\sigma_w$ and $s_1$")
    assert list(symbols.explained(whole)) == [r"\sigma_w", "s_1"]
    whole, _ = finished(PAPER, label=r"$\zeta$")
    with pytest.raises(ValueError, match="every symbol must be explained"):
        symbols.explained(whole)
