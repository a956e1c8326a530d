"""What stands beside a figure, as NAME.md: the finding, a caption for a paper, how it was made, and every number."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analyses.shared import words

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import SubFigure


DEPENDENT = "The intervals that are counted are not independent: numbers of several layers or scales come from the same networks."


class Number(NamedTuple):
    """A number of a figure with the ends of its 95 % interval, and what theory expects; NaN where there is none."""

    what: str
    estimate: float
    low: float = math.nan
    high: float = math.nan
    expected: float = math.nan


@dataclasses.dataclass(frozen=True)
class Caption:
    """What is said of a figure.

    Attributes:
        finding: a sentence made from the data: the title.
        panels: what each panel shows, in the order of the letters.
        marks: what lines, points, bands and colours mean, in all panels.
        setting: sentences on networks, seeds and intervals, the most important first. The footnote has those that fit.
        numbers: what is read off, with intervals.
        theory: what theory says, and how it compares.
        paper: what the figure regenerates, and where it differs.
    """

    finding: str
    panels: Sequence[str]
    marks: str
    setting: Sequence[str]
    numbers: Sequence[Number]
    theory: str
    paper: str


class Drawing(NamedTuple):
    """A figure of an analysis: both functions take options and dataset."""

    draw: Callable[[Any, xarray.Dataset], SubFigure]
    caption: Callable[[Any, xarray.Dataset], Caption]

    @classmethod
    def of_each(
        cls, names: Sequence[str], draw: Callable[..., SubFigure], caption: Callable[..., Caption]
    ) -> dict[str, Drawing]:
        """Return a figure for each name, which both functions take as `name`. The first has the name of the analysis."""
        drawings = [cls(functools.partial(draw, name=name), functools.partial(caption, name=name)) for name in names]
        return dict(zip(["", *names[1:]], drawings, strict=True))


class Made(NamedTuple):
    """How a figure was made."""

    command: str
    width: str
    style: str
    formats: Sequence[str]


def markdown(
    name: str, caption: Caption, made: Made, dataset: xarray.Dataset, symbols: Mapping[str, str], table: str = ""
) -> str:
    """Return the text beside figure `name`. `table` is Markdown that comes below the numbers."""
    parts = [f"# {caption.finding}", *_image(name, made.formats)]
    parts += ["## Caption", _caption(caption, symbols, dataset)]
    parts += ["## How it was made", _made(name, made, dataset)]
    if caption.numbers:
        parts += ["## Numbers", _numbers(caption.numbers)]
    if table:
        parts += ["## Table", table]
    counted = f" {DEPENDENT}" if "intervals of 95 %" in caption.finding else ""
    parts += ["## What theory says", f"{caption.theory}{counted}", "## Where it differs from the paper", caption.paper]
    return "\n\n".join(parts)


def footnote(caption: Caption, dataset: xarray.Dataset) -> list[str]:
    """Return the sentences of a footnote, the most important first."""
    first, *rest = caption.setting
    return [first, words.made(dataset), *rest]


def rows(numbers: Sequence[Number]) -> list[dict[str, Any]]:
    """Return numbers as the rows of a table."""
    names = ("quantity", "measured", "low", "high", "theory")
    return [dict(zip(names, number, strict=True)) for number in numbers]


def _image(name: str, formats: Sequence[str]) -> list[str]:
    return [f"![{name}]({name}.png)"] if "png" in formats else []


def _caption(caption: Caption, symbols: Mapping[str, str], dataset: xarray.Dataset) -> str:
    lettered = [f"({chr(ord('a') + i)}) {text}" for i, text in enumerate(caption.panels)]
    shown = " ".join([*(lettered if len(lettered) > 1 else caption.panels), caption.marks])
    meanings = "; ".join(f"${symbol}$: {meaning}" for symbol, meaning in symbols.items())
    explained = f" Symbols: {meanings}." if meanings else ""
    return f"**{caption.finding}** {shown} {' '.join(caption.setting)}{explained}"


def _made(name: str, made: Made, dataset: xarray.Dataset) -> str:
    attrs = dataset.attrs
    versions = ", ".join(f"{name} {version}" for name, version in json.loads(attrs.get("versions", "{}")).items())
    taken = f", {attrs['seconds']} s" if "seconds" in attrs else ""
    lines = [
        f"Command: `{made.command}`",
        f"Computed: {attrs['created']}, {attrs['device']}, {attrs['dtype']}{taken}",
        f"Versions: {versions or 'not recorded'}",
        f"Data: `{name}.csv` has every digit of the numbers below, `jaxsat export` any dataset as tables",
        f"Drawn: width {made.width}, style {made.style}; the command with `--draw-only` draws it again",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _numbers(numbers: Sequence[Number]) -> str:
    lines = ["| quantity | measured | 95 % interval | theory |", "| --- | --- | --- | --- |"]
    for number in numbers:
        known = math.isfinite(number.low) and math.isfinite(number.high)
        interval = f"[{number.low:.4g}, {number.high:.4g}]" if known else ""
        expected = f"{number.expected:.4g}" if math.isfinite(number.expected) else ""
        measured = f"{number.estimate:.4g}" if not math.isnan(number.estimate) else ""
        quantity = number.what.replace("|", r"\|")  # a norm's bars are no columns
        lines.append(f"| {quantity} | {measured} | {interval} | {expected} |")
    return "\n".join(lines)
